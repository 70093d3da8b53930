//! Who is asking: an in-process identity, a client certificate, or nobody; and
//! impersonation. Called by the router first.

use super::status::ApiError;
use http::{HeaderMap, header::AUTHORIZATION, request};
use wk_platform::{UserInfo, serve::PeerCertificate};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The user of a request. An in-process caller's [`UserInfo`] is in the
/// extensions; over TLS it is the certificate's common name and organisations,
/// or who `verify` says that a bearer token speaks for.
///
/// # Errors
/// 401 for a token that is not valid or an unreadable certificate.
pub fn authenticate(
    parts: &request::Parts,
    verify: impl FnOnce(&str) -> Option<UserInfo>,
) -> Result<UserInfo, ApiError> {
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(user.clone());
    }
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        return token.and_then(verify).ok_or(ApiError::Unauthorized);
    }
    match parts.extensions.get::<PeerCertificate>() {
        Some(peer) => from_certificate(&peer.0).ok_or(ApiError::Unauthorized),
        None => Ok(UserInfo::anonymous()),
    }
}

fn from_certificate(der: &[u8]) -> Option<UserInfo> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
    Some(UserInfo::new(name, &groups))
}

/// The user that the headers ask to be instead, if any
/// (upstream: `endpoints/filters/impersonation.go`).
///
/// # Errors
/// 400 when groups are given without a user.
pub fn impersonated(headers: &HeaderMap) -> Result<Option<UserInfo>, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let groups: Vec<&str> =
        headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok()).collect();
    match (text("impersonate-user"), groups.is_empty()) {
        ("", true) => Ok(None),
        ("", false) => Err(ApiError::Untyped(
            "requested [{Group  }] without impersonating a user".replace("  ", &format!(" {} ", groups.join(" "))),
        )),
        (name, _) => {
            let mut user = UserInfo::new(name, &groups);
            user.uid = text("impersonate-uid").to_owned();
            add_service_account_groups(&mut user);
            Ok(Some(user))
        }
    }
}

/// A service account is in the groups of all and of its namespace's.
fn add_service_account_groups(user: &mut UserInfo) {
    let Some((namespace, _)) = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
    else {
        return;
    };
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    user.groups.extend(groups);
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
        assert_eq!(authenticate(&parts(|request| request.extension(user.clone())), |_| None).ok(), Some(user));
    }

    #[test]
    fn strangers_are_anonymous_and_bad_tokens_are_refused() {
        assert_eq!(authenticate(&parts(|request| request), |_| None).ok(), Some(UserInfo::anonymous()));
        let token = parts(|request| request.header(AUTHORIZATION, "Bearer wrong"));
        assert!(matches!(authenticate(&token, |_| None), Err(ApiError::Unauthorized)));
    }

    #[test]
    fn impersonated_service_accounts_are_in_their_groups() {
        let request = parts(|request| request.header("Impersonate-User", "system:serviceaccount:x:y"));
        let user = impersonated(&request.headers).ok().flatten().expect("a user is named");
        assert!(user.groups.contains(&"system:serviceaccounts:x".to_owned()));
    }
}
