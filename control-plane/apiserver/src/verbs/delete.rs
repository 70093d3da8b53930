//! Deleting: at once, after a grace period, or when the last finalizer is gone
//! (upstream: `registry/generic/registry.Store.Delete`, `rest.BeforeDelete`).

use super::{
    Call, admit,
    filter::Filter,
    list, metadata,
    options::{DeleteOptions, Propagation},
};
use crate::{
    http::{
        body,
        negotiate::{self, Format},
        reply::{Content, List, Reply},
        status::{ApiError, Target},
    },
    object,
    registry::Resource,
    schema::FieldValidation,
    storage::{Done, Encoded, Update, Updated},
};
use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Kinds whose deletion answers with the object rather than a Status
/// (upstream: `ReturnDeletedObject`).
const ANSWER_WITH_OBJECT: &[&str] = &[
    "Pod",
    "Service",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "PodTemplate",
    "ResourceQuota",
    "StorageClass",
    "CSINode",
    "CSIDriver",
    "VolumeAttachment",
];

/// `DELETE …/{name}`
///
/// # Errors
/// 400, 403, 404, 409, 422.
pub async fn delete(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = read_options(call, &body)?;
    let deleted = delete_object(call, &call.info.name, &options).await?;
    let gone = deleted.done == Done::Deleted || options.dry_run && deleted.gone;
    if gone && !ANSWER_WITH_OBJECT.contains(&call.row.kind) {
        return Ok(Reply::value(success(call.row, &deleted.object.decode(call.row)?)));
    }
    Ok(Reply::object(call.row, deleted.object))
}

/// `DELETE …/{resource}`: every object that matches; answers with them.
///
/// # Errors
/// 400, 403, 422, and the first failure but 404.
pub async fn delete_collection(call: &Call, body: Bytes) -> Result<Reply, ApiError> {
    let options = read_options(call, &body)?;
    let filter = Filter::parse(call.row, &call.query, "")?;
    call.server.caches.wait_until_fresh().await?;
    let (objects, revision) = list::matching(call, &filter).await?;
    for object in &objects {
        match delete_in(call, &object.namespace, &object.name, &options).await {
            Ok(_) | Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let items = objects.iter().map(|object| object.encoded.clone()).collect();
    let list = List { items, revision: revision.0, next: String::new(), remaining: None };
    Ok(Reply::new(StatusCode::OK, Content::List(call.row, list)))
}

fn read_options(call: &Call, body: &Bytes) -> Result<DeleteOptions, ApiError> {
    if body.is_empty() {
        return DeleteOptions::parse(&call.query, None);
    }
    let expected = body::Expected {
        group: "",
        version: "v1",
        kind: "DeleteOptions",
        definition: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    };
    let value = match negotiate::body_format(&call.headers)? {
        Format::Json => serde_json::from_slice(body).map_err(|error| ApiError::BadRequest(error.to_string()))?,
        _ => body::decode(expected, &call.headers, body, FieldValidation::Ignore)?.object,
    };
    DeleteOptions::parse(&call.query, Some(&value))
}

/// What came of a deletion.
pub struct Deleted {
    /// The object as it was last, or as it is now.
    pub object: Encoded,
    /// What was written.
    pub done: Done,
    /// Whether it is gone, or would be but for a dry run.
    pub gone: bool,
}

/// Deletes an object in the call's namespace.
///
/// # Errors
/// 403, 404, 409.
pub async fn delete_object(call: &Call, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    delete_in(call, call.namespace(), name, options).await
}

async fn delete_in(call: &Call, namespace: &str, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    admit::admit_delete(call, name).await?;
    let (row, now) = (call.row, call.server.clock.now_seconds());
    let mut gone = false;
    let mark = |old: Value| {
        check_preconditions(row, &old, options)?;
        let step = next_step(row, old, options, now);
        gone = step.is_last();
        Ok(if options.dry_run { Update::Keep(step.into_object()) } else { step.into_update() })
    };
    let mut deleted = call.server.storage.update(row, namespace, name, mark).await?;
    if gone && deleted.done != Done::Deleted && !options.dry_run {
        deleted = call.server.storage.update(row, namespace, name, |old| Ok(Update::Delete(old))).await?;
    }
    let Updated { object, done } = deleted;
    if done == Done::Deleted {
        call.server.allocators.release(row, &object.decode(row)?);
    }
    Ok(Deleted { object, done, gone })
}

fn check_preconditions(row: &Resource, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let conflict = |why: String| Err(ApiError::Conflict(kind_only(row, old), why));
    let (uid, version) = (object::uid(old), object::metadata_str(old, "resourceVersion"));
    match (&options.uid, &options.resource_version) {
        (Some(wanted), _) if wanted != uid => conflict(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        )),
        (_, Some(wanted)) if wanted != version => conflict(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        )),
        _ => Ok(()),
    }
}

/// Upstream names the kind without its group here.
fn kind_only(row: &Resource, object: &Value) -> Target {
    Target { group: row.group.to_owned(), ..Target::kind(row, object::name(object)) }
}

/// The next state of an object that somebody deletes.
enum Step {
    /// It goes away now.
    Remove(Value),
    /// It is marked, and then goes away.
    MarkAndRemove(Value),
    /// It is marked and waits.
    Mark(Value),
}

impl Step {
    fn is_last(&self) -> bool {
        !matches!(self, Self::Mark(_))
    }

    fn into_object(self) -> Value {
        match self {
            Self::Remove(object) | Self::MarkAndRemove(object) | Self::Mark(object) => object,
        }
    }

    fn into_update(self) -> Update {
        match self {
            Self::Remove(object) => Update::Delete(object),
            Self::MarkAndRemove(object) | Self::Mark(object) => Update::Write(object),
        }
    }
}

fn next_step(row: &Resource, mut object: Value, options: &DeleteOptions, now: Timestamp) -> Step {
    if row.kind == "Namespace" && !object::list_at(&object, "spec.finalizers").is_empty() {
        mark_namespace(&mut object, now);
        return Step::Mark(object);
    }
    set_propagation(&mut object, options.propagation);
    let waits = !object::list_at(&object, "metadata.finalizers").is_empty();
    let grace = row.strategy.grace_period_seconds(&object, options.grace_period_seconds);
    match (grace, waits) {
        (None, false) => Step::Remove(object),
        (None, true) => {
            mark(&mut object, 0, now);
            Step::Mark(object)
        }
        (Some(seconds), _) => {
            mark(&mut object, seconds, now);
            let left = object::metadata(&object).get("deletionGracePeriodSeconds").and_then(Value::as_i64);
            if left == Some(0) && !waits { Step::MarkAndRemove(object) } else { Step::Mark(object) }
        }
    }
}

/// Sets when the object goes; a later deletion can only make it sooner.
fn mark(object: &mut Value, seconds: i64, now: Timestamp) {
    if !metadata::is_deleting(object) {
        metadata::next_generation(object);
        set_deletion(object, seconds, now);
        return;
    }
    let metadata = object::metadata(object);
    let left = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let planned = object::metadata_str(object, "deletionTimestamp").parse::<Timestamp>().unwrap_or(now);
    if seconds < left {
        let asked = planned.checked_sub(SignedDuration::from_secs(left)).unwrap_or(now);
        set_deletion(object, seconds, asked);
    }
}

fn set_deletion(object: &mut Value, seconds: i64, asked: Timestamp) {
    let when = asked.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(asked);
    let metadata = object::metadata_mut(object);
    metadata.insert("deletionTimestamp".to_owned(), metadata::time(when).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
}

/// A namespace is emptied by its controller before it goes.
fn mark_namespace(object: &mut Value, now: Timestamp) {
    if !metadata::is_deleting(object) {
        object::metadata_mut(object).insert("deletionTimestamp".to_owned(), metadata::time(now).into());
    }
    object::map_mut(object, "status").insert("phase".to_owned(), "Terminating".into());
}

/// The garbage collector learns the policy from finalizers.
fn set_propagation(object: &mut Value, policy: Option<Propagation>) {
    let Some(policy) = policy else { return };
    let wanted = match policy {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let metadata = object::metadata_mut(object);
    let mut finalizers: Vec<Value> = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    finalizers.retain(|finalizer| {
        Some(finalizer) == wanted.map(Value::from).as_ref() || *finalizer != ORPHAN && *finalizer != FOREGROUND
    });
    if let Some(wanted) = wanted
        && !finalizers.contains(&wanted.into())
    {
        finalizers.push(wanted.into());
    }
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

fn success(row: &Resource, object: &Value) -> Value {
    let mut details = json!({"name": object::name(object), "kind": row.plural, "uid": object::uid(object)});
    if !row.group.is_empty() {
        details["group"] = row.group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finalizers(before: Value, policy: Option<Propagation>) -> Value {
        let mut object = json!({"metadata": {"finalizers": before}});
        set_propagation(&mut object, policy);
        object["metadata"]["finalizers"].clone()
    }

    #[test]
    fn the_policy_becomes_a_finalizer() {
        assert_eq!(finalizers(json!(["a/b"]), Some(Propagation::Foreground)), json!(["a/b", FOREGROUND]));
        assert_eq!(finalizers(json!([ORPHAN]), Some(Propagation::Background)), Value::Null);
        assert_eq!(finalizers(json!([ORPHAN, "a/b"]), Some(Propagation::Foreground)), json!(["a/b", FOREGROUND]));
        assert_eq!(finalizers(json!([ORPHAN]), None), json!([ORPHAN]));
    }

    #[test]
    fn a_second_deletion_can_only_be_sooner() {
        let now = Timestamp::from_second(1_000).expect("valid");
        let mut pod = json!({"metadata": {}});
        mark(&mut pod, 30, now);
        assert_eq!(pod["metadata"]["deletionTimestamp"], "1970-01-01T00:17:10Z");
        mark(&mut pod, 60, now);
        assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 30);
        mark(&mut pod, 5, now);
        assert_eq!(pod["metadata"]["deletionTimestamp"], "1970-01-01T00:16:45Z");
    }
}
