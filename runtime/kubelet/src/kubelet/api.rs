//! A small API server in memory for tests: create, get, list, watch, patch and
//! delete of any object by path. It knows just enough of Kubernetes for a
//! kubelet: resource versions, status patches merged by condition type,
//! graceful deletion of pods, field selectors by name and node.

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc};
use tokio::sync::broadcast;
use tokio_stream_of::changes;
use wk_platform::http::Body as Answer;

#[derive(Clone)]
pub(crate) struct FakeApi(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changes: broadcast::Sender<Change>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    /// What went, each with its last version: a watch from before tells of it.
    removed: Vec<Change>,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Change {
    collection: String,
    type_: &'static str,
    object: Value,
}

impl Change {
    fn of(path: &str, type_: &'static str, object: Value) -> Self {
        Self { collection: path.split('/').next().unwrap_or_default().to_owned(), type_, object }
    }
}

impl FakeApi {
    pub fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changes: broadcast::channel(4096).0 }))
    }

    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let serve = move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.serve(request).await) }
        };
        kube::Client::new(tower::service_fn(serve), "default")
    }

    /// The object at a path such as `pods/default/web`.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.state.lock().objects.get(path).cloned()
    }

    /// All objects of a resource.
    pub fn all(&self, resource: &str) -> Vec<Value> {
        let state = self.0.state.lock();
        let inside = state.objects.iter().filter(|(path, _)| path.split('/').next() == Some(resource));
        inside.map(|(_, object)| object.clone()).collect()
    }

    /// `PATCH pods/default/web status` and so on, in order.
    pub fn requests(&self) -> Vec<String> {
        self.0.state.lock().requests.clone()
    }

    /// Completes at the first time from now on at which `is_so`.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut changes = self.0.changes.subscribe();
        let wait = async {
            while !is_so(self) {
                let _ = changes.recv().await; // a lag is a reason to look, too
            }
        };
        let patience = std::time::Duration::from_secs(3600);
        let late = tokio::time::timeout(patience, wait).await.is_err();
        assert!(!late, "never {what}: {:#?}", self.0.state.lock().objects);
    }

    /// Creates or replaces an object as some other client.
    pub fn put(&self, path: &str, object: Value) {
        let type_ = if self.get(path).is_some() { "MODIFIED" } else { "ADDED" };
        self.store(path, object, type_);
    }

    /// Deletes a pod as kubectl does.
    pub fn delete_pod(&self, path: &str, grace_seconds: i64) {
        let Some(mut pod) = self.get(path) else { return };
        if grace_seconds == 0 {
            return self.remove(path);
        }
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace_seconds);
        self.store(path, pod, "MODIFIED");
    }

    /// Removes an object at once.
    pub fn remove(&self, path: &str) {
        let mut state = self.0.state.lock();
        let Some(mut object) = state.objects.remove(path) else { return };
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let change = Change::of(path, "DELETED", object);
        state.removed.push(change.clone());
        let _ = self.0.changes.send(change);
    }

    fn store(&self, path: &str, mut object: Value, type_: &'static str) -> Value {
        let mut state = self.0.state.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.objects.insert(path.to_owned(), object.clone());
        let _ = self.0.changes.send(Change::of(path, type_, object.clone()));
        object
    }

    async fn serve(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let target = Target::of(parts.uri.path());
        let query = parts.uri.query().unwrap_or_default();
        self.0.state.lock().requests.push(format!("{} {}{}", parts.method, target.path(), target.suffix()));
        match (parts.method, &target.name) {
            (Method::GET, None) if query.contains("watch=") => self.watch(&target, query),
            (Method::GET, None) => self.list(&target, query),
            (Method::GET, Some(_)) => {
                self.get(&target.path()).map_or_else(not_found, |object| answer(StatusCode::OK, &object))
            }
            (Method::POST, None) => self.create(&target, body),
            (Method::POST, Some(_)) => not_found(),
            (Method::PATCH, Some(_)) => self.patch(&target, body),
            (Method::DELETE, Some(_)) => self.delete(&target, &body),
            (method, _) => panic!("the kubelet should not {method} {}", target.path()),
        }
    }

    fn create(&self, target: &Target, mut object: Value) -> Response<Answer> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let path = Target { name: Some(name), ..target.clone() }.path();
        if self.get(&path).is_some() {
            return status(StatusCode::CONFLICT, "AlreadyExists");
        }
        object["metadata"]["uid"] = json!(format!("uid-of-{path}"));
        answer(StatusCode::CREATED, &self.store(&path, object, "ADDED"))
    }

    fn patch(&self, target: &Target, mut patch: Value) -> Response<Answer> {
        let Some(mut object) = self.get(&target.path()) else { return not_found() };
        let uid = patch["metadata"]["uid"].take();
        if !uid.is_null() && uid != object["metadata"]["uid"] {
            return status(StatusCode::CONFLICT, "Conflict");
        }
        if let Some(metadata) = patch["metadata"].as_object_mut() {
            metadata.remove("uid");
        }
        merge(&mut object, &patch);
        answer(StatusCode::OK, &self.store(&target.path(), object, "MODIFIED"))
    }

    fn delete(&self, target: &Target, options: &Value) -> Response<Answer> {
        let Some(object) = self.get(&target.path()) else { return not_found() };
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return status(StatusCode::CONFLICT, "Conflict");
        }
        assert_eq!(options["gracePeriodSeconds"], 0, "the kubelet deletes for good");
        self.remove(&target.path());
        answer(StatusCode::OK, &object)
    }

    fn list(&self, target: &Target, query: &str) -> Response<Answer> {
        let state = self.0.state.lock();
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(path, object)| target.has(path) && selects(query, object))
            .map(|(_, object)| object.clone())
            .collect();
        answer(StatusCode::OK, &json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items}))
    }

    fn watch(&self, target: &Target, query: &str) -> Response<Answer> {
        let from: u64 =
            parameter(query, "resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default();
        let (target, query) = (target.clone(), query.to_owned());
        let (mut missed, coming) = {
            // Under the lock, as changes are told under it: none is lost or told twice.
            let state = self.0.state.lock();
            let changed = state.objects.iter().map(|(path, object)| Change::of(path, "MODIFIED", object.clone()));
            let missed = changed.chain(state.removed.iter().cloned()).filter(|change| version(&change.object) > from);
            (missed.collect::<Vec<_>>(), self.0.changes.subscribe())
        };
        missed.sort_by_key(|change| version(&change.object));
        let fits = move |change: &Change| {
            change.collection == target.resource
                && target
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| change.object["metadata"]["namespace"] == **namespace)
                && selects(&query, &change.object)
        };
        let all = futures::stream::iter(missed).chain(changes(coming));
        let lines = all.filter(move |change| std::future::ready(fits(change))).map(|change| {
            let line = json!({"type": change.type_, "object": change.object});
            Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(format!("{line}\n"))))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

mod tokio_stream_of {
    use futures::Stream;
    use tokio::sync::broadcast;

    /// A receiver as a stream, which ends with its sender.
    pub fn changes<T: Clone + Send + 'static>(receiver: broadcast::Receiver<T>) -> impl Stream<Item = T> + Send {
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.ok().map(|change| (change, receiver))
        })
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// `/api/v1/namespaces/default/pods/web/status` in its parts.
#[derive(Clone)]
struct Target {
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

impl Target {
    fn of(path: &str) -> Self {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let part = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        Self { resource: rest[0].to_owned(), namespace, name: part(1), subresource: part(2) }
    }

    fn path(&self) -> String {
        let parts = [Some(&self.resource), self.namespace.as_ref(), self.name.as_ref()];
        parts.into_iter().flatten().cloned().collect::<Vec<_>>().join("/")
    }

    fn suffix(&self) -> String {
        self.subresource.as_ref().map(|name| format!(" {name}")).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        parts.next() == Some(self.resource.as_str())
            && self.namespace.as_deref().is_none_or(|namespace| parts.next() == Some(namespace))
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn selects(query: &str, object: &Value) -> bool {
    let Some(selector) = parameter(query, "fieldSelector") else { return true };
    let selector = selector.replace("%3D", "=");
    let (field, wanted) = selector.split_once('=').expect("a selector of one field");
    let value = match field {
        "metadata.name" => &object["metadata"]["name"],
        "spec.nodeName" => &object["spec"]["nodeName"],
        other => panic!("no field {other}"),
    };
    value == wanted
}

/// Merges as the API server does: objects by field, lists of conditions and
/// addresses by key, other lists whole, null deletes.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else { return };
    for (name, value) in fields {
        let known = &mut object[name];
        match (name.as_str(), value) {
            (_, Value::Null) => drop(object.as_object_mut().and_then(|object| object.remove(name))),
            ("conditions", Value::Array(list)) => merge_list(known, list, "type"),
            ("podIPs" | "hostIPs", Value::Array(list)) => merge_list(known, list, "ip"),
            (_, Value::Object(_)) => {
                if !known.is_object() {
                    *known = json!({});
                }
                merge(known, value);
            }
            _ => *known = value.clone(),
        }
    }
}

fn merge_list(known: &mut Value, list: &[Value], key: &str) {
    let mut merged = known.as_array().cloned().unwrap_or_default();
    for element in list {
        merged.retain(|old| element["$patch"] != "delete" || old[key] != element[key]);
        match merged.iter_mut().find(|old| old[key] == element[key]) {
            Some(old) => merge(old, element),
            None if element["$patch"] == "delete" => {}
            None => merged.push(element.clone()),
        }
    }
    *known = Value::Array(merged);
}

fn answer(code: StatusCode, object: &Value) -> Response<Answer> {
    let mut response = Response::new(wk_platform::http::full(object.to_string()));
    *response.status_mut() = code;
    response
}

fn status(code: StatusCode, reason: &str) -> Response<Answer> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16()});
    answer(code, &body)
}

fn not_found() -> Response<Answer> {
    status(StatusCode::NOT_FOUND, "NotFound")
}
