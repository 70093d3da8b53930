//! Certificates over the life of a directory: kept, renewed, damaged.

use super::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

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

/// All files by name.
fn files_of(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    paths.map(|path| (name(&path), fs::read(&path).expect("readable"))).collect()
}

fn reopened(directory: &Path) -> Result<Pki, String> {
    Pki::open(directory, &["kubernetes".to_owned()], &Clock::system()).map_err(|error| error.to_string())
}

/// A TLS handshake between a client that trusts `ca` and has the administrator's
/// certificate of `kubeconfig`, and this server.
fn handshake(ca: &str, admin: &Pair, server: &Pki) -> Result<(), String> {
    let text = |error: rustls::Error| error.to_string();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(der(ca)).map_err(text)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(admin.key.as_bytes()).expect("a key");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_root_certificates(roots).with_client_auth_cert(vec![der(&admin.certificate)], key)
        })
        .map_err(text)?;
    let name = "localhost".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).map_err(text)?;
    let mut server = rustls::ServerConnection::new(server.server_config()).map_err(text)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory");
        server.read_tls(&mut bytes.as_slice()).expect("memory");
        server.process_new_packets().map_err(text)?;
        bytes.clear();
        server.write_tls(&mut bytes).expect("memory");
        client.read_tls(&mut bytes.as_slice()).expect("memory");
        client.process_new_packets().map_err(text)?;
    }
    Ok(())
}

#[test]
fn what_can_be_made_anew_is_and_old_clients_go_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let first = reopened(path).expect("new");
    let whole = files_of(path);
    assert_eq!(handshake(first.ca_pem(), &first.admin, &first), Ok(()));
    for name in ["ca.crt", "apiserver.crt", "apiserver.key", "admin.crt", "admin.key"] {
        let length = whole[name].len();
        let broken = [Some(vec![]), Some(whole[name][..length / 2].to_vec()), Some(b"\xff\0".to_vec()), None];
        for content in broken {
            match &content {
                Some(bytes) => fs::write(path.join(name), bytes).expect("writable"),
                None => fs::remove_file(path.join(name)).expect("removable"),
            }
            let second = reopened(path).unwrap_or_else(|error| panic!("{name} {content:?}: {error}"));
            // A client from before, whatever it knows, and one from after.
            assert_eq!(handshake(first.ca_pem(), &first.admin, &second), Ok(()), "{name} {content:?}");
            assert_eq!(handshake(second.ca_pem(), &second.admin, &second), Ok(()), "{name} {content:?}");
            for (name, bytes) in &whole {
                fs::write(path.join(name), bytes).expect("writable");
            }
        }
    }
}

#[test]
fn a_lost_or_damaged_key_of_the_authority_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    reopened(path).expect("new");
    let key = fs::read(path.join("ca.key")).expect("written");
    let other = new_key("another").expect("a key").serialize_pem();
    for content in [Some(vec![]), Some(key[..key.len() / 2].to_vec()), Some(other.into_bytes()), None] {
        match &content {
            Some(bytes) => fs::write(path.join("ca.key"), bytes).expect("writable"),
            None => fs::remove_file(path.join("ca.key")).expect("removable"),
        }
        let Err(error) = reopened(path) else { panic!("{content:?} was accepted") };
        let state = if content.is_some() { "damaged" } else { "missing" };
        assert!(error.contains(&format!("ca.key is {state}")) && error.contains("backup"), "{error}");
    }
    fs::write(path.join("ca.key"), key).expect("writable");
    reopened(path).expect("put back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_makes_a_server_that_clients_refuse(file in 0..6_usize, at in 0.0..1.0_f64, bit in 0..8_u8) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let first = reopened(path).expect("new");
        let (name, mut bytes) = files_of(path).into_iter().nth(file).expect("six files");
        let index = (bytes.len() as f64 * at) as usize;
        bytes[index] ^= 1 << bit;
        fs::write(path.join(&name), bytes).expect("writable");
        match reopened(path) {
            Ok(second) => {
                prop_assert_eq!(handshake(first.ca_pem(), &first.admin, &second), Ok(()), "{} at {}", &name, index);
                prop_assert_eq!(handshake(second.ca_pem(), &second.admin, &second), Ok(()), "{} at {}", &name, index);
            }
            Err(error) => prop_assert!(name == "ca.key" && error.contains("ca.key is damaged"), "{}", error),
        }
    }
}
