//! An API server in a few lines, for tests of whole controllers: list, watch,
//! get, create, merge patch, delete, with versions, UIDs, generations and finalizers.
//!
//! It keeps any resource, checks nothing, and serves no discovery.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::watch;
use wk_platform::{
    TaskGroup, UserInfo,
    http::{self as wire, HttpService, Request, Response},
    in_process,
};

/// Collection (as `apps/v1/replicasets`), namespace, name.
type Name = (String, String, String);
/// Gives a new object of a collection what a kubelet or another part would.
type Birth = Box<dyn Fn(&str, &mut Value) + Send + Sync>;

struct State {
    revision: u64,
    objects: BTreeMap<Name, Value>,
    log: Vec<(u64, &'static str, Name, Value)>,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    birth: Arc<Birth>,
}

/// A request's path, taken apart.
struct Target {
    collection: String,
    namespace: String,
    name: String,
}

impl Target {
    fn of(path: &str) -> Self {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next() {
            Some("apis") => format!("{}/", parts.next().unwrap_or_default()),
            _ => String::new(),
        };
        let version = parts.next().unwrap_or_default();
        let mut rest: Vec<&str> = parts.collect();
        let namespace = match rest.as_slice() {
            ["namespaces", namespace, _, ..] if *namespace != "status" => (*namespace).to_owned(),
            _ => String::new(),
        };
        if !namespace.is_empty() {
            rest.drain(..2);
        }
        let collection = format!("{group}{version}/{}", rest.first().copied().unwrap_or_default());
        Self { collection, namespace, name: rest.get(1).copied().unwrap_or_default().to_owned() }
    }

    fn key(&self) -> Name {
        (self.collection.clone(), self.namespace.clone(), self.name.clone())
    }

    fn covers(&self, name: &Name) -> bool {
        self.collection == name.0 && (self.namespace.is_empty() || self.namespace == name.1)
    }
}

impl FakeApi {
    /// An empty server; `birth` completes new objects.
    pub fn new(birth: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> Self {
        let state = State { revision: 1, objects: BTreeMap::new(), log: Vec::new() };
        let (state, changed) = (Arc::new(Mutex::new(state)), Arc::new(watch::Sender::new(1)));
        Self { state, changed, birth: Arc::new(Box::new(birth)) }
    }

    /// A client of it.
    pub fn client(&self, tasks: &TaskGroup) -> Client {
        let api = self.clone();
        let service = HttpService::new(tower::service_fn(move |request: Request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.serve(request).await) }
        }));
        in_process::client(service, UserInfo::admin(), tasks.clone())
    }

    /// Every object of a collection.
    pub fn all(&self, collection: &str) -> Vec<Value> {
        let state = self.state.lock();
        state.objects.iter().filter(|(name, _)| name.0 == collection).map(|(_, object)| object.clone()).collect()
    }

    /// Waits until `condition` holds.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !condition(self) {
                changed.changed().await.expect("the server lives");
            }
        };
        if tokio::time::timeout(Duration::from_secs(600), wait).await.is_err() {
            panic!("never came: {what}; last: {:#?}", self.state.lock().objects);
        }
    }

    /// Creates an object, as a user would.
    pub fn create(&self, collection: &str, namespace: &str, object: Value) {
        let target = Target { collection: collection.into(), namespace: namespace.into(), name: String::new() };
        self.post(&target, object);
    }

    /// Changes an object, as a user would.
    pub fn change(&self, collection: &str, namespace: &str, name: &str, patch: &Value) {
        self.patch(&Target { collection: collection.into(), namespace: namespace.into(), name: name.into() }, patch);
    }

    /// Deletes an object, as a user would.
    pub fn delete(&self, collection: &str, namespace: &str, name: &str) {
        self.remove(&Target { collection: collection.into(), namespace: namespace.into(), name: name.into() });
    }

    async fn serve(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let (target, query) = (Target::of(head.uri.path()), head.uri.query().unwrap_or_default());
        let body = || serde_json::from_slice(&body).unwrap_or(Value::Null);
        match head.method.as_str() {
            "GET" if query.contains("watch=true") => self.watch(target, query),
            "GET" if target.name.is_empty() => self.list(&target),
            "GET" => self.answer(&target),
            "POST" => self.post(&target, body()),
            "PATCH" => self.patch(&target, &body()),
            "DELETE" => self.remove(&target),
            _ => status(405, "MethodNotAllowed"),
        }
    }

    fn list(&self, target: &Target) -> Response {
        let state = self.state.lock();
        let items: Vec<&Value> =
            state.objects.iter().filter(|(name, _)| target.covers(name)).map(|(_, object)| object).collect();
        ok(&json!({
            "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": state.revision.to_string()}, "items": items,
        }))
    }

    fn watch(&self, target: Target, query: &str) -> Response {
        let after = query.split('&').find_map(|part| part.strip_prefix("resourceVersion="));
        let after: u64 = after.and_then(|revision| revision.parse().ok()).unwrap_or_default();
        let (api, changed) = (self.clone(), self.changed.subscribe());
        let events = stream::unfold((api, changed, after), move |(api, mut changed, after)| {
            let key = (target.collection.clone(), target.namespace.clone());
            async move {
                let target = Target { collection: key.0, namespace: key.1, name: String::new() };
                loop {
                    changed.borrow_and_update();
                    if let Some((at, line)) = api.next_event(&target, after) {
                        return Some((line, (api, changed, at)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        let frames = events.map(|line| Ok(http_body::Frame::data(line)));
        Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
    }

    fn next_event(&self, target: &Target, after: u64) -> Option<(u64, Bytes)> {
        let state = self.state.lock();
        let (at, kind, _, object) = state.log.iter().find(|(at, _, name, _)| *at > after && target.covers(name))?;
        Some((*at, format!("{}\n", json!({"type": kind, "object": object})).into()))
    }

    fn answer(&self, target: &Target) -> Response {
        self.state.lock().objects.get(&target.key()).map_or_else(|| status(404, "NotFound"), ok)
    }

    fn post(&self, target: &Target, mut object: Value) -> Response {
        let mut state = self.state.lock();
        let revision = state.revision + 1;
        if object["metadata"]["name"].is_null() {
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
            object["metadata"]["name"] = json!(format!("{prefix}{revision:05}"));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (target.collection.clone(), target.namespace.clone(), name);
        if state.objects.contains_key(&key) {
            return status(409, "AlreadyExists");
        }
        let meta = &mut object["metadata"];
        if !key.1.is_empty() {
            meta["namespace"] = json!(key.1);
        }
        (meta["uid"], meta["generation"]) = (json!(format!("uid-{revision}")), json!(1));
        (self.birth)(&target.collection, &mut object);
        self.store(&mut state, "ADDED", key, object)
    }

    fn patch(&self, target: &Target, patch: &Value) -> Response {
        let mut state = self.state.lock();
        let Some(old) = state.objects.get(&target.key()).cloned() else { return status(404, "NotFound") };
        let expected = &patch["metadata"]["resourceVersion"];
        if !expected.is_null() && *expected != old["metadata"]["resourceVersion"] {
            return status(409, "Conflict");
        }
        let mut new = old.clone();
        merge(&mut new, patch);
        if new["spec"] != old["spec"] {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or_default() + 1);
        }
        if new == old {
            return ok(&old);
        }
        if is_deleting(&new) && !has_finalizers(&new) {
            return self.erase(&mut state, target.key(), new);
        }
        self.store(&mut state, "MODIFIED", target.key(), new)
    }

    fn remove(&self, target: &Target) -> Response {
        let mut state = self.state.lock();
        let Some(mut object) = state.objects.get(&target.key()).cloned() else { return status(404, "NotFound") };
        if has_finalizers(&object) {
            object["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:13:20Z");
            return self.store(&mut state, "MODIFIED", target.key(), object);
        }
        self.erase(&mut state, target.key(), object)
    }

    fn erase(&self, state: &mut State, name: Name, object: Value) -> Response {
        let answer = self.store(state, "DELETED", name.clone(), object);
        state.objects.remove(&name);
        answer
    }

    fn store(&self, state: &mut State, kind: &'static str, name: Name, mut object: Value) -> Response {
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        state.log.push((state.revision, kind, name.clone(), object.clone()));
        let answer = ok(&object);
        state.objects.insert(name, object);
        self.changed.send_replace(state.revision);
        answer
    }
}

fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

fn ok(object: &Value) -> Response {
    Response::new(wire::full(object.to_string()))
}

fn status(code: u16, reason: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason,
    });
    let mut response = ok(&body);
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a status code");
    response
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().expect("made an object above").remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}
