//! The cluster's own certificates: an authority, the API server's serving
//! certificate and an administrator's client certificate, made at first start,
//! kept in a directory and renewed in time. Called once by the composition root;
//! requests see only what [`crate::http::authenticate`] reads of a client's
//! certificate.
//!
//! ```text
//!  ca.key         every client trusts it: damaged or gone, the start is refused
//!  ca.crt         damaged or gone, it is made anew from the key, and trusted as before
//!  apiserver.*    damaged, gone, ending or for other names: made anew
//!  admin.*        likewise
//! ```
//!
//! `check` says whether a file is what was written, `files` reads and writes.

mod check;
mod files;
#[cfg(test)]
mod tests;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tracing::warn;
use wk_platform::{Clock, identity::SYSTEM_MASTERS};

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
    /// The authority's key cannot be made anew.
    #[error(
        "{path} is {state}, and every client of this cluster trusts that key: put it back from a backup, or remove \
         {} to begin with a new authority, which needs new kubeconfigs everywhere",
        path.parent().unwrap_or(path).display()
    )]
    AuthorityKey {
        /// Which file.
        path: PathBuf,
        /// `missing` or `damaged`.
        state: &'static str,
    },
    /// What was made or checked just now is no PEM.
    #[error("read a certificate: {0}")]
    Pem(#[source] pem::Error),
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

/// What signs all others.
struct Authority {
    /// In PEM.
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The certificates of a cluster.
pub struct Pki {
    ca: Authority,
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
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names: BTreeSet<String> = names.iter().cloned().chain(local).filter(|name| !name.is_empty()).collect();
        let leaf = |file, subject: &Subject| leaf(directory, file, subject, &ca, now);
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

/// The authority. Its key is what clients trust; its certificate follows from it.
fn authority(directory: &Path, now: Timestamp) -> Result<Authority, Error> {
    let what = "certificate authority";
    let (certificate, key) = (files::read(directory, "ca.crt")?, files::read(directory, "ca.key")?);
    let bad_key = |state| Error::AuthorityKey { path: directory.join("ca.key"), state };
    let key = match (&certificate, key) {
        (None, None) => {
            let key = new_key(what)?;
            files::write(directory, "ca.key", &key.serialize_pem())?;
            key
        }
        (Some(_), None) => return Err(bad_key("missing")),
        (_, Some(text)) => KeyPair::from_pem(&text).map_err(|_| bad_key("damaged"))?,
    };
    let certificate = match certificate {
        Some(text) if check::is_whole_authority(&text) => {
            // Of the two, the certificate is proven: its signature fits.
            if !check::is_for_key(&text, &key) {
                return Err(bad_key("damaged"));
            }
            text
        }
        found => {
            if found.is_some() {
                warn!(path = %directory.join("ca.crt").display(), "a damaged certificate was made anew from its key");
            }
            let text = authority_params(now)?.self_signed(&key).map_err(certificate_error(what))?.pem();
            files::write(directory, "ca.crt", &text)?;
            text
        }
    };
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(Error::Pem)?;
    let issuer = Issuer::from_ca_cert_der(&der, key).map_err(certificate_error(what))?;
    Ok(Authority { certificate, issuer })
}

fn authority_params(now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new()).map_err(certificate_error("certificate authority"))?;
    params.distinguished_name.push(DnType::CommonName, "wk-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, now, CA_LIFETIME);
    Ok(params)
}

fn leaf(
    directory: &Path,
    file: &'static str,
    subject: &Subject,
    ca: &Authority,
    now: Timestamp,
) -> Result<Pair, Error> {
    if let Some(pair) = files::read_pair(directory, file)?
        && check::is_current(&pair, subject, &ca.certificate, now)
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
    let certificate = params.signed_by(&key, &ca.issuer).map_err(certificate_error(file))?;
    files::write_pair(directory, file, Pair { certificate: certificate.pem(), key: key.serialize_pem() })
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

fn server_config(ca: &Authority, serving: &Pair) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(Error::Pem);
    let authority = der(&ca.certificate)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(Error::Tls)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(Error::Verifier)?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes()).map_err(Error::Pem)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![der(&serving.certificate)?, authority], key)
        .map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::File { path, source }
}

fn certificate_error(what: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
    move |source| Error::Certificate { what, source }
}
