//! Tokens of service accounts: signed JSON web tokens (ES256) with upstream's
//! claims. The key is made once and kept in the store beside the objects. Called
//! by the `token` subresource to sign. [`bearer`] says who a token speaks for,
//! [`discovery`] lets others verify them.

pub mod bearer;
pub mod discovery;

use crate::{http::status::ApiError, object};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use rustls_pki_types::{SignatureVerificationAlgorithm, alg_id};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wk_store::{Durability, Error, Expected, Key, Store};

/// Who issues the tokens, and for whom when nobody is named.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Where the key is kept: outside of all resources.
const KEY: &str = "/wk/service-account-key";

/// Bytes of each of the two numbers of a P-256 signature.
const SCALAR_BYTES: usize = 32;

/// Signs and verifies tokens.
pub struct TokenAuthority {
    key: KeyPair,
    /// Names the key in the head of each token.
    key_id: String,
}

/// What a token is for.
pub struct Claims<'a> {
    /// The account's namespace.
    pub namespace: &'a str,
    /// The account.
    pub account: &'a Value,
    /// Who may accept it; never empty.
    pub audiences: &'a [String],
    /// The objects that it lives and dies with: their kinds in lower case
    /// (`pod`), and the objects. A pod's node comes along for information.
    pub bound: &'a [(&'static str, Value)],
    /// Since when.
    pub now: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// Names the token.
    pub id: String,
}

impl TokenAuthority {
    /// The key in the store; a new one the first time.
    ///
    /// # Errors
    /// The store's, or when the key is damaged.
    pub async fn open(store: &Arc<dyn Store>) -> Result<Self, ApiError> {
        let damaged = |error: rcgen::Error| ApiError::Internal(format!("service account key: {error}"));
        let pem = match store.get(&Key::from(KEY)).await? {
            Some(entry) => String::from_utf8_lossy(&entry.value).into_owned(),
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(damaged)?;
                keep(store, key.serialize_pem()).await?
            }
        };
        let key = KeyPair::from_pem(&pem).map_err(damaged)?;
        // Upstream: the hash of the public key in its usual form.
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(key.subject_public_key_info()));
        Ok(Self { key, key_id })
    }

    /// A token.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when it cannot be signed.
    pub fn sign(&self, claims: &Claims<'_>) -> Result<String, ApiError> {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&payload(claims)));
        let failed = || ApiError::Internal("sign a service account token".to_owned());
        let der = self.key.sign(signed.as_bytes()).map_err(|_| failed())?;
        let signature = URL_SAFE_NO_PAD.encode(raw_signature(&der).ok_or_else(failed)?);
        Ok(format!("{signed}.{signature}"))
    }

    /// The claims of a token that this cluster has signed; whether they hold now is
    /// not asked.
    pub fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let der = der_signature(&URL_SAFE_NO_PAD.decode(signature).ok()?)?;
        algorithm()?.verify_signature(self.key.der_bytes(), signed.as_bytes(), &der).ok()?;
        let (_, payload) = signed.split_once('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (claims["iss"] == ISSUER).then_some(claims)
    }
}

/// Puts the key that is in use into what will replace everything stored.
///
/// # Errors
/// The store's.
pub async fn keep_key(store: &Arc<dyn Store>, values: &mut Vec<(Key, Bytes)>) -> Result<(), ApiError> {
    let key = Key::from(KEY);
    values.retain(|(other, _)| *other != key);
    values.extend(store.get(&key).await?.map(|entry| (key, entry.value)));
    Ok(())
}

/// Stores a new key, unless another server was faster; the one that is kept.
async fn keep(store: &Arc<dyn Store>, pem: String) -> Result<String, ApiError> {
    match store.put(Key::from(KEY), pem.clone().into(), Expected::Absent, Durability::Durable).await {
        Ok(_) => Ok(pem),
        Err(Error::Conflict { found: Some(entry), .. }) => Ok(String::from_utf8_lossy(&entry.value).into_owned()),
        Err(error) => Err(error.into()),
    }
}

fn payload(claims: &Claims<'_>) -> Value {
    let Claims { namespace, account, audiences, bound, now, expires, id } = claims;
    let name = object::name(account);
    let mut kubernetes = json!({
        "namespace": namespace,
        "serviceaccount": {"name": name, "uid": object::uid(account)},
    });
    for (kind, bound) in *bound {
        kubernetes[*kind] = json!({"name": object::name(bound), "uid": object::uid(bound)});
    }
    json!({
        "iss": ISSUER, "aud": audiences, "sub": format!("system:serviceaccount:{namespace}:{name}"), "jti": id,
        "iat": now.as_second(), "nbf": now.as_second(), "exp": expires.as_second(), "kubernetes.io": kubernetes,
    })
}

fn algorithm() -> Option<&'static dyn SignatureVerificationAlgorithm> {
    let all = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let fits = |algorithm: &&&'static dyn SignatureVerificationAlgorithm| {
        algorithm.signature_alg_id() == alg_id::ECDSA_SHA256 && algorithm.public_key_alg_id() == alg_id::ECDSA_P256
    };
    all.iter().find(fits).copied()
}

/// The two numbers of a DER signature, side by side as JOSE has them.
fn raw_signature(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, length, rest @ ..] = der else { return None };
    let rest = rest.get(..usize::from(*length))?;
    let (first, rest) = integer(rest)?;
    let (second, _) = integer(rest)?;
    let mut raw = vec![0; 2 * SCALAR_BYTES];
    raw[SCALAR_BYTES - first.len()..SCALAR_BYTES].copy_from_slice(first);
    raw[2 * SCALAR_BYTES - second.len()..].copy_from_slice(second);
    Some(raw)
}

/// A DER integer without leading zeros, and what follows it.
fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[zeros..];
    (digits.len() <= SCALAR_BYTES).then_some((digits, rest))
}

/// The inverse of [`raw_signature`].
fn der_signature(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 2 * SCALAR_BYTES {
        return None;
    }
    let mut body = Vec::with_capacity(2 * SCALAR_BYTES + 8);
    for number in raw.chunks(SCALAR_BYTES) {
        let zeros = number.iter().take_while(|digit| **digit == 0).count().min(SCALAR_BYTES - 1);
        let digits = &number[zeros..];
        // A leading one bit would make it negative.
        let pad = digits.first().is_some_and(|digit| digit & 0x80 != 0);
        body.extend([0x02, u8::try_from(digits.len() + usize::from(pad)).ok()?]);
        body.extend(pad.then_some(0));
        body.extend_from_slice(digits);
    }
    let mut der = vec![0x30, u8::try_from(body.len()).ok()?];
    der.append(&mut body);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_store::memory::MemoryStore;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    fn token(authority: &TokenAuthority) -> String {
        let account = json!({"metadata": {"name": "a", "uid": "u"}});
        let claims = Claims {
            namespace: "ns",
            account: &account,
            audiences: &[ISSUER.to_owned()],
            bound: &[],
            now: at(1_000),
            expires: at(2_000),
            id: "id".to_owned(),
        };
        authority.sign(&claims).expect("signs")
    }

    #[tokio::test]
    async fn a_token_is_known_again() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let authority = TokenAuthority::open(&store).await.expect("a key");
        // Many, because the length of a signature varies.
        for _ in 0..64 {
            let claims = authority.claims(&token(&authority)).expect("valid");
            assert_eq!(
                (claims["sub"].as_str(), claims["exp"].as_i64()),
                (Some("system:serviceaccount:ns:a"), Some(2_000))
            );
        }
        let again = TokenAuthority::open(&store).await.expect("the same key");
        assert!(again.claims(&token(&authority)).is_some());
    }

    #[tokio::test]
    async fn foreign_and_changed_tokens_are_refused() {
        let (one, other): (Arc<dyn Store>, Arc<dyn Store>) =
            (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
        let authority = TokenAuthority::open(&one).await.expect("a key");
        let stranger = TokenAuthority::open(&other).await.expect("a key");
        assert!(authority.claims(&token(&stranger)).is_none());
        let good = token(&authority);
        let (head, rest) = good.split_once('.').expect("three parts");
        let (_, signature) = rest.split_once('.').expect("three parts");
        let forged = URL_SAFE_NO_PAD.encode(json!({"iss": ISSUER, "sub": "system:admin"}).to_string());
        for text in ["", "a.b.c", "wrong", &format!("{head}.{forged}.{signature}")] {
            assert!(authority.claims(text).is_none());
        }
    }
}
