//! The cluster's own certificates: an authority, the API server's serving
//! certificate and an administrator's client certificate, made at first start,
//! kept in a directory and renewed in time. Called once by the composition root;
//! requests see only what [`crate::http::authenticate`] reads of a client's
//! certificate.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use wk_platform::{Clock, identity::SYSTEM_MASTERS};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long the authority lives. Nothing renews it: every client trusts it.
const CA_LIFETIME: Duration = Duration::from_secs(10 * YEAR_SECONDS);

/// How long other certificates live; as kubeadm's.
const LEAF_LIFETIME: Duration = Duration::from_secs(YEAR_SECONDS);

/// A certificate that ends within this time is renewed at the next start.
const RENEWAL_MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Clocks of clients may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

const YEAR_SECONDS: u64 = 365 * 24 * 3600;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("certificate file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be made or read.
    #[error("{what}: {source}")]
    Certificate {
        /// Which.
        what: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// What is in a file is no certificate or key.
    #[error("{path} holds no {what}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// TLS refuses what was made.
    #[error("tls configuration: {0}")]
    Tls(#[source] rustls::Error),
    /// TLS has nothing to check client certificates with.
    #[error("client certificate verifier: {0}")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The kubeconfig cannot be written as YAML.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[source] serde_yaml::Error),
}

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// The certificates of a cluster.
pub struct Pki {
    ca: Pair,
    admin: Pair,
    tls: Arc<ServerConfig>,
}

impl Pki {
    /// Reads the certificates in `directory`; makes those that are missing, end
    /// soon, or do not fit. The serving certificate is for `names` (DNS names and
    /// addresses), `localhost` and the loopback addresses.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(directory: &Path, names: &[String], clock: &Clock) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(file_error(directory))?;
        let now = clock.now();
        let ca = authority(directory, now)?;
        let issuer = issuer(&ca)?;
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names: BTreeSet<String> = names.iter().cloned().chain(local).filter(|name| !name.is_empty()).collect();
        let leaf = |file, subject: &Subject| leaf(directory, file, subject, &ca, &issuer, now);
        let serving = leaf("apiserver", &Subject { name: "kube-apiserver", organization: "", names })?;
        let admin_subject = Subject { name: "kubernetes-admin", organization: SYSTEM_MASTERS, names: BTreeSet::new() };
        let admin = leaf("admin", &admin_subject)?;
        let tls = Arc::new(server_config(&ca, &serving)?);
        Ok(Self { ca, admin, tls })
    }

    /// The authority's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca.certificate
    }

    /// For the listener: HTTP/2 and HTTP/1.1; a client certificate is checked
    /// when there is one.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.tls.clone()
    }

    /// A kubeconfig for `server` with the administrator's certificate inside.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub fn kubeconfig(&self, server: &str) -> Result<String, Error> {
        let data = |pem: &str| STANDARD.encode(pem);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "wk",
            "clusters": [{
                "name": "wk",
                "cluster": {"server": server, "certificate-authority-data": data(&self.ca.certificate)},
            }],
            "users": [{
                "name": "wk-admin",
                "user": {
                    "client-certificate-data": data(&self.admin.certificate),
                    "client-key-data": data(&self.admin.key),
                },
            }],
            "contexts": [{"name": "wk", "context": {"cluster": "wk", "user": "wk-admin"}}],
        });
        serde_yaml::to_string(&config).map_err(Error::Kubeconfig)
    }
}

/// Who a certificate is for.
struct Subject {
    name: &'static str,
    /// Empty for none.
    organization: &'static str,
    /// For a server; empty for a client.
    names: BTreeSet<String>,
}

fn authority(directory: &Path, now: Timestamp) -> Result<Pair, Error> {
    if let Some(pair) = read(directory, "ca")? {
        return Ok(pair);
    }
    let what = "certificate authority";
    let mut params = CertificateParams::new(Vec::new()).map_err(certificate_error(what))?;
    params.distinguished_name.push(DnType::CommonName, "wk-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, now, CA_LIFETIME);
    let key = new_key(what)?;
    let certificate = params.self_signed(&key).map_err(certificate_error(what))?;
    write(directory, "ca", &certificate, &key)
}

fn issuer(ca: &Pair) -> Result<Issuer<'static, KeyPair>, Error> {
    let what = "certificate authority";
    let key = KeyPair::from_pem(&ca.key).map_err(certificate_error(what))?;
    Issuer::from_ca_cert_pem(&ca.certificate, key).map_err(certificate_error(what))
}

fn leaf(
    directory: &Path,
    file: &'static str,
    subject: &Subject,
    ca: &Pair,
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<Pair, Error> {
    if let Some(pair) = read(directory, file)?
        && is_current(&pair, subject, ca, now)
    {
        return Ok(pair);
    }
    let names: Vec<String> = subject.names.iter().cloned().collect();
    let mut params = CertificateParams::new(names).map_err(certificate_error(file))?;
    params.distinguished_name.push(DnType::CommonName, subject.name);
    if !subject.organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, subject.organization);
    }
    let usage = if subject.names.is_empty() {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    };
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, LEAF_LIFETIME);
    let key = new_key(file)?;
    let certificate = params.signed_by(&key, issuer).map_err(certificate_error(file))?;
    write(directory, file, &certificate, &key)
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + lifetime;
}

fn new_key(what: &'static str) -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(certificate_error(what))
}

/// Whether a stored certificate is of this authority, lasts, and is for the names.
fn is_current(pair: &Pair, subject: &Subject, ca: &Pair, now: Timestamp) -> bool {
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    let (Some(leaf), Some(ca)) = (read(&pair.certificate), read(&ca.certificate)) else { return false };
    let (Ok((_, leaf)), Ok((_, ca))) = (X509Certificate::from_der(&leaf), X509Certificate::from_der(&ca)) else {
        return false;
    };
    let renewal = i64::try_from(RENEWAL_MARGIN.as_secs()).unwrap_or(i64::MAX);
    let lasts = leaf.validity().not_after.timestamp() > now.as_second().saturating_add(renewal);
    lasts
        && leaf.issuer() == ca.subject()
        && authority_key(&leaf) == subject_key(&ca)
        && names_of(&leaf) == subject.names
}

fn authority_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    use x509_parser::extensions::ParsedExtension;
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|key| key.0.to_vec())
        }
        _ => None,
    })
}

fn subject_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    use x509_parser::extensions::ParsedExtension;
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
        _ => None,
    })
}

fn names_of(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return BTreeSet::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| std::net::Ipv6Addr::from(sixteen).to_string())
}

fn server_config(ca: &Pair, serving: &Pair) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let der = |pem: &str, what| {
        let content = |_| Error::Content { path: PathBuf::from(what), what: "certificate" };
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(content)
    };
    let authority = der(&ca.certificate, "ca.crt")?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(Error::Tls)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(Error::Verifier)?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes())
        .map_err(|_| Error::Content { path: PathBuf::from("apiserver.key"), what: "private key" })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![der(&serving.certificate, "apiserver.crt")?, authority], key)
        .map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads a pair; `None` unless both files are there.
fn read(directory: &Path, name: &str) -> Result<Option<Pair>, Error> {
    let text = |extension: &str| {
        let path = directory.join(format!("{name}.{extension}"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { path, source }),
        }
    };
    Ok(match (text("crt")?, text("key")?) {
        (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
        _ => None,
    })
}

/// Writes a pair, the key first: a certificate on disk has its key there too.
fn write(directory: &Path, name: &str, certificate: &Certificate, key: &KeyPair) -> Result<Pair, Error> {
    let pair = Pair { certificate: certificate.pem(), key: key.serialize_pem() };
    replace(&directory.join(format!("{name}.key")), &pair.key)?;
    replace(&directory.join(format!("{name}.crt")), &pair.certificate)?;
    Ok(pair)
}

/// Replaces a file as a whole, readable by its owner only.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(file_error(path))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::File { path, source }
}

fn certificate_error(what: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
    move |source| Error::Certificate { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(directory: &Path, names: &[&str], clock: &Clock) -> Pki {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Pki::open(directory, &names, clock).expect("certificates")
    }

    fn serving(directory: &Path) -> String {
        fs::read_to_string(directory.join("apiserver.crt")).expect("written")
    }

    #[test]
    fn certificates_are_kept_until_the_names_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, clock) = (directory.path(), Clock::system());
        let first = open(path, &["kubernetes", "10.96.0.1"], &clock);
        let before = serving(path);
        let second = open(path, &["10.96.0.1", "kubernetes"], &clock);
        assert_eq!((first.ca_pem(), &before), (second.ca_pem(), &serving(path)));
        open(path, &["other"], &clock);
        assert_ne!(before, serving(path));
        let mode = fs::metadata(path.join("admin.key")).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_are_renewed_before_they_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let start = Timestamp::from_second(1_700_000_000).expect("valid");
        let first = open(directory.path(), &[], &Clock::virtual_from(start));
        let before = serving(directory.path());
        let later = Timestamp::from_second(1_700_000_000 + 340 * 24 * 3600).expect("valid");
        let second = open(directory.path(), &[], &Clock::virtual_from(later));
        assert_ne!(before, serving(directory.path()));
        assert_eq!(first.ca_pem(), second.ca_pem());
    }

    #[test]
    fn the_kubeconfig_is_complete() {
        let directory = tempfile::tempdir().expect("a directory");
        let pki = open(directory.path(), &[], &Clock::system());
        let text = pki.kubeconfig("https://127.0.0.1:6443").expect("yaml");
        let config: kube::config::Kubeconfig = serde_yaml::from_str(&text).expect("a kubeconfig");
        assert_eq!(config.current_context.as_deref(), Some("wk"));
        assert!(config.auth_infos[0].auth_info.as_ref().is_some_and(|user| user.client_certificate_data.is_some()));
    }
}
