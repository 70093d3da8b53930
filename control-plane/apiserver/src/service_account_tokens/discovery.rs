//! What others need to verify this cluster's tokens by themselves
//! (upstream: `pkg/serviceaccount/openidmetadata.go`). Served by discovery.

use super::{ISSUER, SCALAR_BYTES, TokenAuthority};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::PublicKeyData;
use serde_json::{Value, json};
use std::net::SocketAddr;

impl TokenAuthority {
    /// `/.well-known/openid-configuration`
    pub fn configuration(&self, advertise: SocketAddr) -> Value {
        json!({
            "issuer": ISSUER,
            "jwks_uri": format!("https://{advertise}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `/openid/v1/jwks`: the public key as a set of one.
    pub fn key_set(&self) -> Value {
        // A byte that says "not compressed", then the two coordinates.
        let point = self.key.der_bytes();
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(SCALAR_BYTES).unwrap_or_default();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256", "x": text(x), "y": text(y),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use wk_store::{Store, memory::MemoryStore};

    #[tokio::test]
    async fn the_key_is_two_coordinates() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let set = TokenAuthority::open(&store).await.expect("a key").key_set();
        for coordinate in ["x", "y"] {
            let text = set["keys"][0][coordinate].as_str().expect("text");
            assert_eq!(URL_SAFE_NO_PAD.decode(text).expect("base64").len(), SCALAR_BYTES);
        }
    }
}
