//! DaemonSets, StatefulSets and disruption budgets at work.

use super::{DEPLOYMENTS, PODS, SETS, healthy, images, messages, start, web};
use serde_json::{Value, json};
use wk_platform::TaskGroup;

use crate::runner::fake_api::FakeApi;

const DAEMON_SETS: &str = "apps/v1/daemonsets";
const STATEFUL_SETS: &str = "apps/v1/statefulsets";
const REVISIONS: &str = "apps/v1/controllerrevisions";
const BUDGETS: &str = "policy/v1/poddisruptionbudgets";

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"os": "wasm"}}})
}

fn daemon(image: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": "logs"}},
        "spec": {"nodeSelector": {"os": "wasm"}, "containers": [{"name": "c", "image": image}]},
    });
    json!({
        "metadata": {"name": "logs"},
        "spec": {
            "selector": {"matchLabels": {"app": "logs"}}, "template": template, "revisionHistoryLimit": 1,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        },
    })
}

/// The nodes that the pods ask for, in order.
fn nodes_of_pods(api: &FakeApi) -> Vec<String> {
    const NODE: &str = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    let name = |pod: &Value| pod.pointer(NODE).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut nodes: Vec<String> = api.all(PODS).iter().map(name).collect();
    nodes.sort();
    nodes
}

fn daemon_status(api: &FakeApi, field: &str) -> i64 {
    api.all(DAEMON_SETS)[0]["status"][field].as_i64().unwrap_or_default()
}

fn revision_numbers(api: &FakeApi) -> Vec<i64> {
    let mut numbers: Vec<i64> = api.all(REVISIONS).iter().filter_map(|known| known["revision"].as_i64()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(start_paused = true)]
async fn a_daemon_runs_on_every_node_and_rolls() {
    let tasks = TaskGroup::new();
    let api = start("daemonset", &tasks);
    ["a", "b", "c"].iter().for_each(|name| api.create("v1/nodes", "", node(name)));
    api.create(DAEMON_SETS, "default", daemon("v1"));
    api.until("three daemons", |api| daemon_status(api, "numberAvailable") == 3).await;
    assert_eq!(nodes_of_pods(&api), ["a", "b", "c"]);

    // A new node gets one; a node that no longer fits loses its own.
    api.create("v1/nodes", "", node("d"));
    api.until("a fourth", |api| nodes_of_pods(api) == ["a", "b", "c", "d"]).await;
    api.change("v1/nodes", "", "d", &json!({"metadata": {"labels": {"os": "other"}}}));
    api.until("three again", |api| nodes_of_pods(api) == ["a", "b", "c"]).await;
    // A cordon changes nothing, and a daemon deleted there comes back.
    let cordon = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
    api.change("v1/nodes", "", "a", &json!({"spec": {"unschedulable": true, "taints": cordon}}));
    let victim = api.all(PODS)[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    api.delete(PODS, "default", &victim);
    api.until("it again", |api| nodes_of_pods(api) == ["a", "b", "c"]).await;

    for image in ["v2", "v3"] {
        api.change(DAEMON_SETS, "default", "logs", &daemon(image));
        api.until("a rolled daemon", |api| {
            images(api) == [image; 3] && daemon_status(api, "updatedNumberScheduled") == 3
        })
        .await;
    }
    api.until("a trimmed history", |api| revision_numbers(api) == [2, 3]).await;

    // Undone as kubectl does it: the data of the earlier revision is a patch.
    let earlier = api.all(REVISIONS).into_iter().find(|known| known["revision"] == 2).expect("revision 2");
    let mut template = earlier["data"]["spec"]["template"].clone();
    assert_eq!(template["$patch"], "replace");
    template.as_object_mut().expect("a template").remove("$patch");
    api.change(DAEMON_SETS, "default", "logs", &json!({"spec": {"template": template}}));
    api.until("v2 again", |api| images(api) == ["v2"; 3] && revision_numbers(api) == [3, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_daemon_is_replaced_later_and_later() {
    let tasks = TaskGroup::new();
    let api = start("daemonset", &tasks);
    api.create("v1/nodes", "", node("a"));
    api.create(DAEMON_SETS, "default", daemon("v1"));
    let name = |api: &FakeApi| api.all(PODS).first().map(|pod| pod["metadata"]["name"].clone());
    let mut pauses = Vec::new();
    for _ in 0..4 {
        api.until("a daemon", |api| name(api).is_some()).await;
        let failed = name(&api).expect("seen above");
        let since = tokio::time::Instant::now();
        api.change(PODS, "default", failed.as_str().unwrap_or_default(), &json!({"status": {"phase": "Failed"}}));
        api.until("another", |api| name(api).is_some_and(|name| name != failed)).await;
        pauses.push(since.elapsed().as_secs());
    }
    assert_eq!(pauses, [0, 1, 2, 4]);
    api.until("an event", |api| !messages(api, "FailedDaemonPod").is_empty()).await;
    assert!(messages(&api, "FailedDaemonPod")[0].ends_with("on node a, will try to kill it"));
}

fn stateful(image: &str) -> Value {
    let mut set = web(image);
    set["metadata"]["name"] = json!("db");
    set["spec"]["serviceName"] = json!("db");
    set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    set
}

fn pod_names(api: &FakeApi) -> Vec<String> {
    api.all(PODS).iter().map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_keeps_its_names() {
    let tasks = TaskGroup::new();
    let api = start("statefulset", &tasks);
    api.create(STATEFUL_SETS, "default", stateful("v1"));
    let is_done = |api: &FakeApi, replicas: i64| {
        let set = &api.all(STATEFUL_SETS)[0];
        set["status"]["availableReplicas"] == replicas
            && set["status"]["observedGeneration"] == set["metadata"]["generation"]
    };
    api.until("three", |api| pod_names(api) == ["db-0", "db-1", "db-2"] && is_done(api, 3)).await;
    api.delete(PODS, "default", "db-1");
    api.until("db-1 again", |api| pod_names(api) == ["db-0", "db-1", "db-2"] && is_done(api, 3)).await;
    api.change(STATEFUL_SETS, "default", "db", &stateful("v2"));
    api.until("v2", |api| images(api) == ["v2"; 3]).await;
    api.until("a new current revision", |api| {
        let status = &api.all(STATEFUL_SETS)[0]["status"];
        status["currentRevision"] == status["updateRevision"] && status["updatedReplicas"] == 3
    })
    .await;
    api.change(STATEFUL_SETS, "default", "db", &json!({"spec": {"replicas": 1}}));
    api.until("one", |api| pod_names(api) == ["db-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_that_wants_storage_is_told_and_gets_nothing() {
    let tasks = TaskGroup::new();
    let api = start("statefulset", &tasks);
    let mut set = stateful("v1");
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    api.create(STATEFUL_SETS, "default", set);
    api.until("an event", |api| !messages(api, "FailedCreate").is_empty()).await;
    assert!(messages(&api, "FailedCreate")[0].contains("makes no volumes for PersistentVolumeClaims"));
    assert!(pod_names(&api).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_budget_follows_its_pods_and_their_owner() {
    let tasks = TaskGroup::new();
    let api = start("deployment,replicaset,disruption", &tasks);
    let selector = json!({"matchLabels": {"app": "web"}});
    let budget = json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": 1, "selector": selector}});
    api.create(BUDGETS, "default", budget);
    api.create(DEPLOYMENTS, "default", web("v1"));
    let numbers = |api: &FakeApi| {
        let status = &api.all(BUDGETS)[0]["status"];
        ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"].map(|field| status[field].as_i64())
    };
    api.until("one may go", |api| numbers(api) == [Some(1), Some(3), Some(2), Some(3)]).await;
    let condition = api.all(BUDGETS)[0]["status"]["conditions"][0].clone();
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("DisruptionAllowed"), &json!("SufficientPods")));

    // As an eviction leaves it: counted, and the pod not yet gone.
    let pod = pod_names(&api)[0].clone();
    let evicted = json!({"disruptionsAllowed": 0, "disruptedPods": {pod.clone(): "2023-11-14T22:13:20Z"}});
    api.change(BUDGETS, "default", "web", &json!({"status": evicted}));
    api.until("none may go", |api| numbers(api) == [Some(0), Some(2), Some(2), Some(3)]).await;
    // The pod does not go: after two minutes it is healthy again.
    let since = tokio::time::Instant::now();
    api.until("one may go again", |api| numbers(api)[0] == Some(1)).await;
    assert!((119..=122).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    assert!(api.all(BUDGETS)[0]["status"]["disruptedPods"].is_null());

    let sets = api.all(SETS).len();
    api.change(DEPLOYMENTS, "default", "web", &json!({"spec": {"replicas": 5}}));
    api.until("a larger owner", |api| numbers(api) == [Some(1), Some(5), Some(4), Some(5)]).await;
    assert_eq!(api.all(SETS).len(), sets);
}

#[test]
fn pods_are_born_healthy_here() {
    let mut pod = json!({});
    healthy(PODS, &mut pod);
    assert_eq!(pod["status"]["phase"], "Running");
}
