//! Controllers at work on a fake API server, in virtual time.

use crate::{Config, ControllerSet, NODE_GRACE, runner::fake_api::FakeApi};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use wk_platform::{Clock, Entropy, TaskGroup};

mod jobs;
mod sets;

const DEPLOYMENTS: &str = "apps/v1/deployments";
const SETS: &str = "apps/v1/replicasets";
const PODS: &str = "v1/pods";

/// Pods are born running and ready.
fn healthy(collection: &str, object: &mut Value) {
    if collection == PODS {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"});
        object["status"] = json!({"phase": "Running", "podIP": "10.244.0.9", "conditions": [ready]});
    }
}

/// Starts `controllers` on a new server.
fn start(controllers: &str, tasks: &TaskGroup) -> FakeApi {
    let api = FakeApi::new(healthy);
    let config = Config {
        client: api.client(tasks),
        clock: Clock::virtual_from(Timestamp::from_second(1_700_000_000).expect("valid")),
        entropy: Entropy::seeded(1),
        enabled: ControllerSet::parse(controllers).expect("known controllers"),
        root_ca_pem: Some("pem".to_owned()),
        node_grace: NODE_GRACE,
        pod_cidr: "10.244.0.0/16".parse().ok(),
    };
    crate::run(config, tasks.clone());
    api
}

fn web(image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "progressDeadlineSeconds": 600, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn images(api: &FakeApi) -> Vec<String> {
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    api.all(PODS).iter().map(image).collect()
}

fn is_complete(api: &FakeApi) -> bool {
    api.all(DEPLOYMENTS).iter().any(|deployment| {
        let status = &deployment["status"];
        status["observedGeneration"] == deployment["metadata"]["generation"]
            && [&status["updatedReplicas"], &status["replicas"], &status["availableReplicas"]]
                .iter()
                .all(|count| **count == json!(3))
    })
}

fn messages(api: &FakeApi, reason: &str) -> Vec<String> {
    let events = api.all("v1/events");
    let chosen = events.iter().filter(|event| event["reason"] == reason);
    chosen.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_makes_pods_replaces_them_and_rolls() {
    let tasks = TaskGroup::new();
    let api = start("deployment,replicaset", &tasks);
    api.create(DEPLOYMENTS, "default", web("v1"));
    api.until("three pods", |api| is_complete(api) && images(api) == ["v1", "v1", "v1"]).await;
    let set = api.all(SETS)[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    api.until("an event", |api| !messages(api, "ScalingReplicaSet").is_empty()).await;
    assert_eq!(messages(&api, "ScalingReplicaSet"), [format!("Scaled up replica set {set} from 0 to 3")]);

    let victim = api.all(PODS)[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    api.delete(PODS, "default", &victim);
    api.until("a new pod", |api| images(api).len() == 3).await;

    api.change(DEPLOYMENTS, "default", "web", &web("v2"));
    api.until("a rolled deployment", |api| is_complete(api) && images(api) == ["v2", "v2", "v2"]).await;
    let annotations = api.all(DEPLOYMENTS)[0]["metadata"]["annotations"].clone();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "2");
    let reason = |type_: &str| {
        let conditions = api.all(DEPLOYMENTS)[0]["status"]["conditions"].clone();
        let found = conditions.as_array().into_iter().flatten().find(|condition| condition["type"] == type_).cloned();
        found.unwrap_or_default()["reason"].clone()
    };
    assert_eq!(
        (reason("Available"), reason("Progressing")),
        (json!("MinimumReplicasAvailable"), json!("NewReplicaSetAvailable"))
    );
}

#[tokio::test(start_paused = true)]
async fn relabelled_pods_are_replaced_and_adopted_again() {
    let tasks = TaskGroup::new();
    let api = start("replicaset", &tasks);
    let mut set = web("v1");
    set["spec"]["replicas"] = json!(2);
    api.create(SETS, "default", set);
    api.until("two pods", |api| images(api).len() == 2).await;
    let name = api.all(PODS)[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let owners = |api: &FakeApi| {
        let pods = api.all(PODS);
        pods.iter().filter(|pod| pod["metadata"]["ownerReferences"].is_array()).count()
    };
    api.change(PODS, "default", &name, &json!({"metadata": {"labels": {"app": "other"}}}));
    api.until("a third pod", |api| images(api).len() == 3 && owners(api) == 2).await;
    api.change(PODS, "default", &name, &json!({"metadata": {"labels": {"app": "web"}}}));
    api.until("one less", |api| images(api).len() == 2 && owners(api) == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_gets_its_account_and_certificate() {
    let tasks = TaskGroup::new();
    let api = start("serviceaccount,root-ca-certificate-publisher", &tasks);
    api.create("v1/namespaces", "", json!({"metadata": {"name": "shop"}}));
    api.until("both", |api| api.all("v1/serviceaccounts").len() == 1 && api.all("v1/configmaps").len() == 1).await;
    api.delete("v1/configmaps", "shop", "kube-root-ca.crt");
    api.until("it again", |api| api.all("v1/configmaps").len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_finds_its_pods() {
    let tasks = TaskGroup::new();
    let api = start("endpoints,endpointslice", &tasks);
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    api.create("v1/services", "default", service);
    let slices = "discovery.k8s.io/v1/endpointslices";
    api.until("an empty slice", |api| api.all(slices).len() == 1).await;
    let pod = json!({"metadata": {"name": "a", "labels": {"app": "web"}}, "spec": {"containers": []}});
    api.create(PODS, "default", pod);
    api.until("an endpoint", |api| {
        let addresses = |slice: &Value| slice["endpoints"][0]["addresses"][0] == "10.244.0.9";
        api.all(slices).iter().any(addresses) && api.all(slices).len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_loses_its_pods_to_others() {
    let tasks = TaskGroup::new();
    let api = start("node-lifecycle,taint-eviction", &tasks);
    let node = |name: &str| {
        let ready = json!({"type": "Ready", "status": "True"});
        json!({"metadata": {"name": name}, "status": {"conditions": [ready]}})
    };
    api.create("v1/nodes", "", node("lost"));
    api.create("v1/nodes", "", node("fine"));
    let toleration = json!({"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let spec = json!({"nodeName": "lost", "containers": [], "tolerations": [toleration]});
    api.create(PODS, "default", json!({"metadata": {"name": "a"}, "spec": spec}));
    let renewals = api.clone();
    tasks.spawn("leases", wk_platform::tasks::OnError::Log, async move {
        let lease = |second: u64| json!({"spec": {"renewTime": format!("2024-01-01T00:00:00.{second:06}Z")}});
        let mut first = lease(0);
        first["metadata"] = json!({"name": "fine"});
        renewals.create("coordination.k8s.io/v1/leases", "kube-node-lease", first);
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(10));
        for second in 1.. {
            ticks.tick().await;
            renewals.change("coordination.k8s.io/v1/leases", "kube-node-lease", "fine", &lease(second));
        }
        Ok::<_, std::convert::Infallible>(())
    });
    let started = tokio::time::Instant::now();
    api.until("no pod", |api| images(api).is_empty()).await;
    let seconds = started.elapsed().as_secs();
    assert!((345..355).contains(&seconds), "50 s of silence and 300 s of patience, not {seconds} s");
    let taints = |name: usize| api.all("v1/nodes")[name]["spec"]["taints"].as_array().map(Vec::len);
    assert_eq!((taints(0), taints(1)), (None, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_node_is_well_again_in_time_stays_and_says_so() {
    let tasks = TaskGroup::new();
    let api = start("taint-eviction", &tasks);
    let taint = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]);
    api.create("v1/nodes", "", json!({"metadata": {"name": "n"}, "spec": {"taints": taint}}));
    let toleration = json!({"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let spec = json!({"nodeName": "n", "containers": [], "tolerations": [toleration]});
    api.create(PODS, "default", json!({"metadata": {"name": "a"}, "spec": spec}));
    // The pod's time is set by now, and not over.
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    api.change("v1/nodes", "", "n", &json!({"spec": {"taints": null}}));
    api.until("an event", |api| !messages(api, "TaintManagerEviction").is_empty()).await;
    tokio::time::sleep(std::time::Duration::from_secs(1000)).await;
    assert_eq!(messages(&api, "TaintManagerEviction"), ["Cancelling deletion of Pod default/a"]);
    assert_eq!(api.all(PODS).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_role_is_put_together_from_others_as_they_come() {
    let tasks = TaskGroup::new();
    let api = start("clusterrole-aggregation", &tasks);
    let roles = "rbac.authorization.k8s.io/v1/clusterroles";
    let selector = json!({"matchLabels": {"part": "yes"}});
    let whole =
        json!({"metadata": {"name": "whole"}, "aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": []});
    api.create(roles, "", whole);
    let rules = |api: &FakeApi| {
        let all = api.all(roles);
        let whole = all.iter().find(|role| role["metadata"]["name"] == "whole");
        whole.and_then(|role| role["rules"].as_array()).map_or(0, Vec::len)
    };
    for name in ["a", "b"] {
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": [name]});
        api.create(roles, "", json!({"metadata": {"name": name, "labels": {"part": "yes"}}, "rules": [rule]}));
    }
    api.until("the rules of both", |api| rules(api) == 2).await;
    api.change(roles, "", "a", &json!({"metadata": {"labels": {"part": "no"}}}));
    api.until("those of one", |api| rules(api) == 1).await;
}
