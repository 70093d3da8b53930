//! `serviceaccounts/{name}/token`: a signed token for an account (upstream:
//! `registry/core/serviceaccount/storage.TokenREST`).

use crate::{
    admission,
    http::{
        body::{self, Expected},
        reply::Reply,
        status::{ApiError, Target},
    },
    object,
    patch::managed_fields,
    registry::{
        Resource,
        core::{node, pod, secret},
    },
    schema::FieldError,
    service_account_tokens::{Claims, ISSUER},
    verbs::{Call, admit, metadata, options::WriteOptions},
};
use bytes::Bytes;
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};

const EXPECTED: Expected<'static> = Expected {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenRequest",
    definition: "io.k8s.api.authentication.v1.TokenRequest",
};

/// How long a token is valid when the caller does not say.
const DEFAULT_SECONDS: i64 = 3600;
/// Shorter ones are refused.
const SECONDS_MIN: i64 = 600;
/// Longer ones are refused.
const SECONDS_MAX: i64 = 1 << 32;

/// `POST serviceaccounts/{name}/token`
///
/// # Errors
/// 400, 404, 422.
pub async fn create(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers)?;
    let mut request = body::decode(EXPECTED, &call.headers, &body, options.validation)?.object;
    let seconds = seconds(&request)?;
    let account = call.server.storage.get(call.row, call.namespace(), &call.info.name).await?.decode(call.row)?;
    let bound = bound(call, &request, &account).await?;
    let (reference, first) = (&request["spec"]["boundObjectRef"], bound.first().map(|(_, object)| object));
    admission::admit_token(&call.user, reference, first)
        .map_err(|refusal| admit::refused(call, &call.info.name, refusal))?;
    object::map_mut(&mut request, "spec").insert("expirationSeconds".to_owned(), seconds.into());
    let now = call.server.clock.now_seconds();
    let (definition, version) = (EXPECTED.definition, "authentication.k8s.io/v1");
    managed_fields::track_update(definition, version, None, &mut request, &options.field_manager, Some("token"), now);
    let expires = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
    let token = call.server.tokens.sign(&Claims {
        namespace: call.namespace(),
        account: &account,
        audiences: &audiences(&request),
        bound: &bound,
        now,
        expires,
        id: call.server.entropy.uid(),
    })?;
    complete(call, &mut request, &metadata::time(now));
    request["status"] = json!({"token": token, "expirationTimestamp": metadata::time(expires)});
    Ok(Reply::value(request).with_code(StatusCode::CREATED))
}

/// The object that the token is to be bound to, and the node of a pod.
async fn bound(call: &Call, request: &Value, account: &Value) -> Result<Vec<(&'static str, Value)>, ApiError> {
    let Some(reference) = object::at(request, "spec.boundObjectRef").filter(|bound| bound.is_object()) else {
        return Ok(Vec::new());
    };
    let (version, kind) = (object::str_at(reference, "apiVersion"), object::str_at(reference, "kind"));
    let (row, claim): (&'static Resource, _) = match (version, kind) {
        ("v1", "Pod") => (&pod::RESOURCE, "pod"),
        ("v1", "Secret") => (&secret::RESOURCE, "secret"),
        ("v1", "Node") => (&node::RESOURCE, "node"),
        _ => {
            let why = format!("cannot bind token to object of type {}", object_kind(version, kind));
            return Err(ApiError::BadRequest(why));
        }
    };
    let name = object::str_at(reference, "name");
    let object = call.server.storage.get(row, call.namespace(), name).await?.decode(row)?;
    let (wanted, found) = (object::str_at(reference, "uid"), object::uid(&object));
    if !wanted.is_empty() && wanted != found {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return Err(ApiError::Conflict(Target::object(row, name), why));
    }
    let account = object::name(account);
    if claim == "pod" && object::str_at(&object, "spec.serviceAccountName") != account {
        let why = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        );
        return Err(ApiError::BadRequest(why));
    }
    let node_name = object::str_at(&object, "spec.nodeName").to_owned();
    let mut all = vec![(claim, object)];
    if claim == "pod" && !node_name.is_empty() {
        let node = call.server.storage.get(&node::RESOURCE, "", &node_name).await;
        let node = node.ok().and_then(|node| node.decode(&node::RESOURCE).ok());
        all.push(("node", node.unwrap_or_else(|| json!({"metadata": {"name": node_name}}))));
    }
    Ok(all)
}

/// Go's `%s` of a `GroupVersionKind`.
fn object_kind(version: &str, kind: &str) -> String {
    format!("{version}, Kind={kind}")
}

fn complete(call: &Call, request: &mut Value, now: &str) {
    let metadata = object::metadata_mut(request);
    metadata.insert("name".to_owned(), call.info.name.as_str().into());
    metadata.insert("namespace".to_owned(), call.namespace().into());
    metadata.insert("creationTimestamp".to_owned(), now.into());
    let spec = object::map_mut(request, "spec");
    if spec.get("audiences").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("audiences".to_owned(), json!([ISSUER]));
    }
    spec.entry("boundObjectRef").or_insert(Value::Null);
}

fn audiences(request: &Value) -> Vec<String> {
    let asked = object::list_at(request, "spec.audiences").iter().filter_map(Value::as_str);
    let asked: Vec<String> = asked.map(str::to_owned).collect();
    if asked.is_empty() { vec![ISSUER.to_owned()] } else { asked }
}

fn seconds(request: &Value) -> Result<i64, ApiError> {
    let seconds = object::at(request, "spec.expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_SECONDS);
    let detail = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let target = Target { group: EXPECTED.group.to_owned(), resource: EXPECTED.kind.to_owned(), name: String::new() };
    Err(ApiError::Invalid(target, vec![FieldError::invalid("spec.expirationSeconds", seconds, detail)]))
}
