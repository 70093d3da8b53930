//! The server as its clients see it, over the memory store, in process.

mod access;
mod bounds;
mod hostile;

use crate::{ApiServer, Config};
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;
use wk_platform::{Clock, Entropy, TaskGroup, UserInfo, http::full, in_process};
use wk_store::memory::MemoryStore;

/// A server and the task group that keeps it running.
struct Cluster {
    server: ApiServer,
    tasks: TaskGroup,
}

impl Cluster {
    async fn start() -> Self {
        let tasks = TaskGroup::new();
        let config = Config {
            store: Arc::new(MemoryStore::new()),
            clock: Clock::system(),
            entropy: Entropy::seeded(7),
            service_cidr: "10.96.0.0/16".parse().expect("a network"),
            node_ports: 30000..=32767,
            advertise: "127.0.0.1:6443".parse().expect("an address"),
            tasks: tasks.clone(),
        };
        Self { server: ApiServer::start(config).await.expect("starts"), tasks }
    }

    fn client(&self) -> Client {
        in_process::client(self.server.service(), UserInfo::admin(), self.tasks.clone())
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client(), "default")
    }

    /// A request without a client library.
    async fn send(&self, method: &str, path: &str, content_type: &str, body: Value) -> (u16, Value) {
        self.send_as(UserInfo::admin(), method, path, content_type, body).await
    }

    /// The same by another user.
    async fn send_as(&self, user: UserInfo, method: &str, path: &str, content_type: &str, body: Value) -> (u16, Value) {
        let request = http::Request::builder().extension(user).header("content-type", content_type);
        self.request(request.method(method).uri(path), body).await
    }

    async fn request(&self, request: http::request::Builder, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.header("user-agent", "test/1.0").body(full(body)).expect("a valid request");
        let response = self.server.service().oneshot(request).await.expect("infallible");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    let object = json!({"metadata": {"name": name}, "data": {"key": value}});
    serde_json::from_value(object).expect("a config map")
}

#[tokio::test]
async fn an_object_lives_and_dies() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let created = maps.create(&PostParams::default(), &config_map("a", "1")).await.expect("creates");
    assert!(created.uid().is_some() && created.resource_version().is_some());
    assert_eq!(maps.get("a").await.expect("gets").data, created.data);

    let mut changed = created.clone();
    changed.data = config_map("a", "2").data;
    let replaced = maps.replace("a", &PostParams::default(), &changed).await.expect("replaces");
    assert_ne!(replaced.resource_version(), created.resource_version());
    let stale = maps.replace("a", &PostParams::default(), &changed).await.expect_err("is stale");
    assert!(stale.to_string().contains("the object has been modified"), "{stale}");

    let merge = Patch::Merge(json!({"data": {"other": "3"}}));
    let patched = maps.patch("a", &PatchParams::default(), &merge).await.expect("patches");
    assert_eq!(patched.data.map(|data| data.len()), Some(2));

    maps.delete("a", &DeleteParams::default()).await.expect("deletes");
    assert!(maps.get_opt("a").await.expect("reads").is_none());
}

#[tokio::test]
async fn patches_that_change_nothing_write_nothing() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let created = maps.create(&PostParams::default(), &config_map("a", "1")).await.expect("creates");
    let same = Patch::Merge(json!({"data": {"key": "1"}}));
    let patched = maps.patch("a", &PatchParams::default(), &same).await.expect("patches");
    assert_eq!(patched.resource_version(), created.resource_version());
}

#[tokio::test]
async fn a_watch_tells_changes_and_selector_transitions() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let from = maps.list(&ListParams::default()).await.expect("lists").metadata.resource_version.expect("a version");
    let watched = WatchParams::default().labels("wanted=yes");
    let mut events = maps.watch(&watched, &from).await.expect("watches").boxed();

    maps.create(&PostParams::default(), &config_map("a", "1")).await.expect("creates");
    for wanted in ["yes", "no"] {
        let label = Patch::Merge(json!({"metadata": {"labels": {"wanted": wanted}}}));
        maps.patch("a", &PatchParams::default(), &label).await.expect("patches");
    }
    let first = events.try_next().await.expect("an event");
    assert!(matches!(first, Some(WatchEvent::Added(map)) if map.name_any() == "a"));
    let second = events.try_next().await.expect("an event");
    let Some(WatchEvent::Deleted(map)) = second else { panic!("the object has left the selection: {second:?}") };
    assert_eq!(map.labels().get("wanted").map(String::as_str), Some("yes"));
    assert_eq!(maps.get("a").await.expect("gets").resource_version(), map.resource_version());
}

#[tokio::test]
async fn lists_are_paged_at_one_moment() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &config_map(name, "1")).await.expect("creates");
    }
    let first = maps.list(&ListParams::default().limit(2)).await.expect("lists");
    let names: Vec<String> = first.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(
        (names.as_slice(), first.metadata.remaining_item_count),
        (&["a".to_owned(), "b".to_owned()][..], Some(1))
    );
    maps.delete("c", &DeleteParams::default()).await.expect("deletes");
    let token = first.metadata.continue_.expect("there is more");
    let rest = maps.list(&ListParams::default().limit(2).continue_token(&token)).await.expect("lists");
    assert_eq!(rest.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["c"]);
}

#[tokio::test]
async fn an_old_revision_is_an_error_event() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    maps.list(&ListParams::default()).await.expect("fills the cache");
    let mut events = maps.watch(&WatchParams::default(), "1").await.expect("watches").boxed();
    let event = events.try_next().await.expect("an event");
    assert!(matches!(&event, Some(WatchEvent::Error(status)) if status.code == 410), "{event:?}");
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/x"]}});
    assert_eq!(cluster.send("POST", path, "application/json", object).await.0, 201);
    let one = format!("{path}/a");
    let (code, held) = cluster.send("DELETE", &one, "", Value::Null).await;
    assert_eq!((code, &held["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(0)));
    let release = json!({"metadata": {"finalizers": null}});
    assert_eq!(cluster.send("PATCH", &one, "application/merge-patch+json", release).await.0, 200);
    assert_eq!(cluster.send("GET", &one, "", Value::Null).await.0, 404);
}

#[tokio::test]
async fn every_cluster_has_its_first_objects() {
    let cluster = Cluster::start().await;
    let (code, service) = cluster.send("GET", "/api/v1/namespaces/default/services/kubernetes", "", Value::Null).await;
    assert_eq!((code, service["spec"]["clusterIP"].as_str()), (200, Some("10.96.0.1")));
    let (_, namespaces) = cluster.send("GET", "/api/v1/namespaces", "", Value::Null).await;
    assert_eq!(namespaces["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_restore_while_serving_ends_watches_and_shows_what_was_saved() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let (kept, lost) = (config_map("kept", "then"), config_map("lost", "1"));
    let kept = maps.create(&PostParams::default(), &kept).await.expect("creates");
    let store = cluster.server.store();
    let mut file = Vec::new();
    wk_store::snapshot::save(store.as_ref(), &mut file).await.expect("memory takes all");
    let merge = Patch::Merge(json!({"data": {"key": "now"}}));
    let later = maps.patch("kept", &PatchParams::default(), &merge).await.expect("patches");
    let lost = maps.create(&PostParams::default(), &lost).await.expect("creates");
    let version = lost.resource_version().expect("stored");
    let mut watch = maps.watch(&WatchParams::default(), &version).await.expect("watches").boxed();

    cluster.server.restore(wk_store::snapshot::load(file.as_slice()).expect("whole")).await.expect("restores");
    match watch.next().await {
        Some(Ok(WatchEvent::Error(status))) => assert_eq!(status.code, 410),
        other => panic!("a watch from before ends with 410, not {other:?}"),
    }
    let list = maps.list(&ListParams::default()).await.expect("lists");
    let names: Vec<_> = list.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["kept"]);
    let number = |version: Option<String>| version.expect("stored").parse::<u64>().expect("a number");
    let restored = &list.items[0];
    assert_eq!((restored.uid(), &restored.data), (kept.uid(), &kept.data));
    assert!(number(restored.resource_version()) > number(Some(version)));
    assert!(maps.replace("kept", &PostParams::default(), &later).await.is_err(), "made from what is gone");
    maps.create(&PostParams::default(), &config_map("lost", "2")).await.expect("the name is free");
}

#[tokio::test]
async fn a_pod_is_bound_by_the_old_way_too() {
    let cluster = Cluster::start().await;
    let make = async |plural: &str, object: Value| {
        let path = format!("/api/v1/namespaces/default/{plural}");
        let (code, answer) = cluster.send("POST", &path, "application/json", object).await;
        assert_eq!(code, 201, "{answer}");
        answer
    };
    make("serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    make("pods", json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i:v1"}]}})).await;
    let answer = make("bindings", json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}})).await;
    assert_eq!(answer["status"], "Success");
    let (_, pod) = cluster.send("GET", "/api/v1/namespaces/default/pods/a", "", Value::Null).await;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(cluster.send("GET", "/api/v1/namespaces/default/bindings", "", Value::Null).await.0, 405);
}

#[tokio::test]
async fn writers_own_what_their_writes_cause() {
    let cluster = Cluster::start().await;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:v1"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let path = "/apis/apps/v1/namespaces/default/daemonsets";
    let (code, set) =
        cluster.send("POST", path, "application/json", json!({"metadata": {"name": "d"}, "spec": spec})).await;
    assert_eq!((code, &set["metadata"]["annotations"]["deprecated.daemonset.template.generation"]), (201, &json!("1")));
    let owned = &set["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:annotations"];
    assert_eq!(*owned, json!({".": {}, "f:deprecated.daemonset.template.generation": {}}));

    let body = json!({"metadata": {"name": "default"}, "spec": {"finalizers": ["kubernetes", "example.com/x"]}});
    let (code, answer) = cluster.send("PUT", "/api/v1/namespaces/default/finalize", "application/json", body).await;
    assert_eq!(code, 200, "{answer}");
    let managers = answer["metadata"]["managedFields"].as_array().expect("managers");
    let of_finalize = managers.iter().find(|entry| entry["subresource"] == "finalize").expect("who finalizes");
    assert_eq!(of_finalize["fieldsV1"], json!({"f:spec": {"f:finalizers": {}}}));
}
