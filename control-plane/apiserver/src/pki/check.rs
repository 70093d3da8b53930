//! Whether a certificate is what was written, and still good: parsed, its
//! signature verified, its key compared. Called by [`super`] at each start, since
//! a disk can lose or change any byte; pure.

use super::{Pair, RENEWAL_MARGIN, Subject};
use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::collections::BTreeSet;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Whether the text is a certificate that signed itself.
pub(super) fn is_whole_authority(text: &str) -> bool {
    with(text, |certificate| is_signed_by(certificate, certificate)).unwrap_or(false)
}

/// Whether the certificate is for this key.
pub(super) fn is_for_key(text: &str, key: &KeyPair) -> bool {
    with(text, |certificate| *certificate.public_key().subject_public_key.data == *key.der_bytes()).unwrap_or(false)
}

/// Whether a stored certificate is of this authority, lasts, and is for the names.
pub(super) fn is_current(pair: &Pair, subject: &Subject, ca: &str, now: Timestamp) -> bool {
    let Ok(key) = KeyPair::from_pem(&pair.key) else { return false };
    let current = with(&pair.certificate, |leaf| {
        let signed = with(ca, |ca| {
            leaf.issuer() == ca.subject() && authority_key(leaf) == subject_key(ca) && is_signed_by(leaf, ca)
        });
        signed == Some(true) && lasts(leaf, now) && names_of(leaf) == subject.names
    });
    current == Some(true) && is_for_key(&pair.certificate, &key)
}

/// What `read` says of a certificate in PEM; `None` when it is none.
fn with<T>(text: &str, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(read(&certificate))
}

fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let key = &issuer.public_key().subject_public_key.data;
    let (signed, signature) = (certificate.tbs_certificate.as_ref(), &certificate.signature_value.data);
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    // The name of the algorithm is there twice, once where no signature covers it.
    certificate.signature_algorithm == certificate.tbs_certificate.signature
        && algorithms.iter().any(|algorithm| algorithm.verify_signature(key, signed, signature).is_ok())
}

fn lasts(leaf: &X509Certificate<'_>, now: Timestamp) -> bool {
    let renewal = i64::try_from(RENEWAL_MARGIN.as_secs()).unwrap_or(i64::MAX);
    leaf.validity().not_after.timestamp() > now.as_second().saturating_add(renewal)
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
