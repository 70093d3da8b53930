//! Who is asking: an in-process identity, a client certificate, the bearer of a
//! service account's token, or nobody. Called by the router first.

use super::status::ApiError;
use crate::{Server, service_account_tokens};
use http::{header::AUTHORIZATION, request};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tracing::debug;
use wk_platform::{UserInfo, serve::PeerCertificate};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What an authenticator says about the credential in `UserInfo::extra`.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user of a request. An in-process caller's [`UserInfo`] is in the
/// extensions; over TLS it is the certificate's common name and organisations,
/// or the account that a bearer token speaks for.
///
/// # Errors
/// 401 for a token that is not valid or an unreadable certificate.
pub async fn authenticate(server: &Arc<Server>, parts: &request::Parts) -> Result<UserInfo, ApiError> {
    if let Some(user) = stated(parts)? {
        return Ok(user);
    }
    match bearer(parts)? {
        Some(token) => match service_account_tokens::bearer::authenticate(server, token, &[]).await {
            Ok((user, _)) => Ok(user),
            Err(why) => {
                debug!(error = why, "refused a token");
                Err(ApiError::Unauthorized)
            }
        },
        None => Ok(UserInfo::anonymous()),
    }
}

/// Who the connection says it is.
fn stated(parts: &request::Parts) -> Result<Option<UserInfo>, ApiError> {
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(Some(user.clone()));
    }
    let certificate = parts.extensions.get::<PeerCertificate>();
    certificate.map(|peer| from_certificate(&peer.0).ok_or(ApiError::Unauthorized)).transpose()
}

/// The token, if one is sent; other ways to authenticate are nobody's.
fn bearer(parts: &request::Parts) -> Result<Option<&str>, ApiError> {
    let Some(value) = parts.headers.get(AUTHORIZATION) else { return Ok(None) };
    let words = value.to_str().ok().and_then(|text| text.trim().split_once(' '));
    match words {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("bearer") => Ok(None),
        _ => Err(ApiError::Unauthorized),
    }
}

fn from_certificate(der: &[u8]) -> Option<UserInfo> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
    let mut user = UserInfo::new(name, &groups);
    let id = format!("X509SHA256={}", hex::encode(Sha256::digest(der)));
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![id]);
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(configure: impl FnOnce(http::request::Builder) -> http::request::Builder) -> request::Parts {
        configure(http::Request::builder()).body(()).expect("a valid request").into_parts().0
    }

    #[test]
    fn in_process_callers_say_who_they_are() {
        let user = UserInfo::node("n1");
        assert_eq!(stated(&parts(|request| request.extension(user.clone()))).ok().flatten(), Some(user));
        assert_eq!(stated(&parts(|request| request)).ok().flatten(), None);
    }

    #[test]
    fn only_bearers_are_known() {
        let sent = |value: &str| parts(|request| request.header(AUTHORIZATION, value));
        assert_eq!(bearer(&sent("bearer abc")).ok().flatten(), Some("abc"));
        assert_eq!(bearer(&parts(|request| request)).ok().flatten(), None);
        assert!(matches!(bearer(&sent("Basic YTpi")), Err(ApiError::Unauthorized)));
        assert!(matches!(bearer(&sent("nonsense")), Err(ApiError::Unauthorized)));
    }
}
