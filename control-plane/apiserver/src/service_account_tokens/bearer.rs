//! Who a token speaks for: its times and audiences, and whether what it is bound
//! to is still there (upstream: `pkg/serviceaccount/claims.go`). Called by
//! authentication and by TokenReview.

use super::ISSUER;
use crate::{
    Server,
    http::authenticate::CREDENTIAL_ID,
    object,
    registry::{
        Resource,
        core::{node, pod, secret, service_account},
    },
    storage,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::sync::Arc;
use wk_platform::UserInfo;

/// How far clocks may be apart (upstream: `jwt.DefaultLeeway`); a pod's token
/// works so much longer than the pod, for its last words.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

const INVALID: &str = "invalid bearer token";

/// The account that the token speaks for and the audiences that it is good for,
/// of `audiences`; without any, of the API server's own.
///
/// # Errors
/// Upstream's words for what is wrong with it.
pub async fn authenticate(
    server: &Arc<Server>,
    token: &str,
    audiences: &[String],
) -> Result<(UserInfo, Vec<String>), String> {
    let because = |why: String| format!("[{INVALID}, {why}]");
    let claims = server.tokens.claims(token).ok_or(INVALID)?;
    let own = [ISSUER.to_owned()];
    let wanted = if audiences.is_empty() { &own[..] } else { audiences };
    let shared = shared_audiences(&claims, wanted).map_err(because)?;
    check_times(&claims, server.clock.now()).map_err(because)?;
    check_bound(server, &claims).await.map_err(because)?;
    user(&claims).map(|user| (user, shared)).ok_or_else(|| INVALID.to_owned())
}

fn shared_audiences(claims: &Value, wanted: &[String]) -> Result<Vec<String>, String> {
    let said: Vec<&str> = object::list_at(claims, "aud").iter().filter_map(Value::as_str).collect();
    let shared: Vec<String> = wanted.iter().filter(|audience| said.contains(&audience.as_str())).cloned().collect();
    if shared.is_empty() {
        return Err(format!("token audiences {said:?} is invalid for the target audiences {wanted:?}"));
    }
    Ok(shared)
}

fn check_times(claims: &Value, now: Timestamp) -> Result<(), String> {
    let at = |claim: &str| claims[claim].as_i64().unwrap_or_default();
    if now.as_second() >= at("exp") {
        return Err("service account token has expired".to_owned());
    }
    if now.as_second() + LEEWAY.as_secs() < at("nbf") {
        return Err("service account token is not valid yet".to_owned());
    }
    Ok(())
}

/// The account must be the one that asked, and the pod or secret be there.
async fn check_bound(server: &Arc<Server>, claims: &Value) -> Result<(), String> {
    let kubernetes = &claims["kubernetes.io"];
    let namespace = object::str_at(kubernetes, "namespace");
    let all: [(&str, &'static Resource); 4] = [
        ("serviceaccount", &service_account::RESOURCE),
        ("pod", &pod::RESOURCE),
        ("secret", &secret::RESOURCE),
        ("node", &node::RESOURCE),
    ];
    // The node of a pod is said for information; only a token for nothing else is bound to it.
    let of_pod = !kubernetes["pod"].is_null();
    for (kind, row) in all {
        let reference = &kubernetes[kind];
        if reference.is_null() || kind == "node" && of_pod {
            continue;
        }
        let name = object::str_at(reference, "name");
        let live = read(server, row, namespace, name).await;
        check_live(kind, namespace, reference, live.as_ref(), server.clock.now())?;
    }
    Ok(())
}

/// From the cache, which may not have the newest, or the store.
async fn read(server: &Arc<Server>, row: &'static Resource, namespace: &str, name: &str) -> Option<Value> {
    let cache = server.caches.of(row).await.ok()?;
    if let Some(found) = cache.get(&storage::key(row, namespace, name)) {
        return found.encoded.decode(row).ok();
    }
    server.storage.get(row, namespace, name).await.ok()?.decode(row).ok()
}

fn check_live(
    kind: &str,
    namespace: &str,
    reference: &Value,
    live: Option<&Value>,
    now: Timestamp,
) -> Result<(), String> {
    let name = object::str_at(reference, "name");
    let what = match kind {
        "serviceaccount" => format!("service account {namespace}/{name}"),
        _ => format!("{kind} {namespace}/{name}"),
    };
    let Some(live) = live else {
        let plural = format!("{kind}s");
        return Err(match kind {
            "serviceaccount" => format!("{plural} {name:?} not found"),
            _ => "service account token has been invalidated".to_owned(),
        });
    };
    let (found, said) = (object::uid(live), object::str_at(reference, "uid"));
    if found != said {
        return Err(format!("{what} UID ({found}) does not match claim ({said})"));
    }
    let deleted = object::metadata_str(live, "deletionTimestamp").parse::<Timestamp>();
    if deleted.is_ok_and(|deleted| deleted < now.checked_sub(LEEWAY).unwrap_or(now)) {
        return Err(format!("{what} has been deleted"));
    }
    Ok(())
}

fn user(claims: &Value) -> Option<UserInfo> {
    let kubernetes = &claims["kubernetes.io"];
    let namespace = kubernetes["namespace"].as_str()?;
    let of_namespace = format!("system:serviceaccounts:{namespace}");
    let mut user = UserInfo::new(claims["sub"].as_str()?, &["system:serviceaccounts", &of_namespace]);
    object::str_at(kubernetes, "serviceaccount.uid").clone_into(&mut user.uid);
    let id = object::str_at(claims, "jti");
    if !id.is_empty() {
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
    }
    for kind in ["pod", "node"] {
        for field in ["name", "uid"] {
            let said = object::str_at(&kubernetes[kind], field);
            if !said.is_empty() {
                user.extra.insert(format!("authentication.kubernetes.io/{kind}-{field}"), vec![said.to_owned()]);
            }
        }
    }
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    #[test]
    fn a_token_is_good_for_its_audience_and_its_time() {
        let claims = json!({"aud": ["vault", "api"], "exp": 2000, "nbf": 1000});
        assert_eq!(shared_audiences(&claims, &["api".to_owned()]), Ok(vec!["api".to_owned()]));
        assert!(shared_audiences(&claims, &["other".to_owned()]).is_err());
        assert_eq!(check_times(&claims, at(1999)), Ok(()));
        assert_eq!(check_times(&claims, at(2000)), Err("service account token has expired".to_owned()));
        assert!(check_times(&claims, at(900)).is_err() && check_times(&claims, at(950)).is_ok());
    }

    #[test]
    fn what_a_token_is_bound_to_must_be_the_same_and_there() {
        let reference = json!({"name": "p", "uid": "1"});
        let check = |live: Option<Value>| check_live("pod", "ns", &reference, live.as_ref(), at(1_000_000));
        let deleted = |seconds: i64| json!({"metadata": {"uid": "1", "deletionTimestamp": at(seconds).to_string()}});
        assert_eq!(check(Some(json!({"metadata": {"uid": "1"}}))), Ok(()));
        assert_eq!(check(Some(deleted(1_000_000 - 30))), Ok(()));
        assert!(check(Some(deleted(1_000_000 - 61))).is_err());
        assert!(check(Some(json!({"metadata": {"uid": "2"}}))).is_err());
        assert!(check(None).is_err());
    }

    #[test]
    fn the_user_knows_its_pod() {
        let claims = json!({
            "sub": "system:serviceaccount:ns:a", "jti": "7",
            "kubernetes.io": {"namespace": "ns", "serviceaccount": {"uid": "u"}, "pod": {"name": "p", "uid": "1"}},
        });
        let user = user(&claims).expect("a user");
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert_eq!((user.uid.as_str(), &user.extra[CREDENTIAL_ID]), ("u", &vec!["JTI=7".to_owned()]));
    }
}
