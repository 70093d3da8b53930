//! LimitRanges and ResourceQuotas, through the whole server.

use super::Cluster;
use serde_json::{Value, json};
use std::time::Duration;

const JSON: &str = "application/json";
const NAMESPACE: &str = "/api/v1/namespaces/default";

impl Cluster {
    pub(super) async fn post(&self, plural: &str, object: Value) -> (u16, Value) {
        self.send("POST", &format!("{NAMESPACE}/{plural}"), JSON, object).await
    }

    async fn account(&self) {
        assert_eq!(self.post("serviceaccounts", json!({"metadata": {"name": "default"}})).await.0, 201);
    }

    /// Waits until the quota says so.
    async fn until_used(&self, quota: &str, resource: &str, used: &str) {
        let mut seen = Value::Null;
        for _ in 0..500 {
            seen = self.send("GET", &format!("{NAMESPACE}/resourcequotas/{quota}"), "", Value::Null).await.1;
            if seen["status"]["used"][resource] == used {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {resource}={used}: {seen}");
    }
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1", "resources": resources}]}})
}

fn message((code, answer): (u16, Value)) -> (u16, String) {
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn containers_get_what_the_namespace_says_and_no_more() {
    let cluster = Cluster::start().await;
    cluster.account().await;
    let limit = json!({"type": "Container", "default": {"cpu": "500m", "memory": "64Mi"},
                       "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}, "min": {"cpu": "50m"}});
    let range = json!({"metadata": {"name": "lr"}, "spec": {"limits": [limit]}});
    assert_eq!(cluster.post("limitranges", range).await.0, 201);
    let (code, made) = cluster.post("pods", pod("a", json!({}))).await;
    assert_eq!(code, 201, "{made}");
    let expected = json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}});
    assert_eq!(made["spec"]["containers"][0]["resources"], expected);
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    );
    let refused = |name: &str, why: &str| (403, format!("pods \"{name}\" is forbidden: {why}"));
    let greedy = pod("b", json!({"limits": {"cpu": "2"}}));
    let why = "maximum cpu usage per Container is 1, but limit is 2";
    assert_eq!(message(cluster.post("pods", greedy).await), refused("b", why));
    let tiny = pod("c", json!({"requests": {"cpu": "10m"}, "limits": {"cpu": "20m"}}));
    let why = "minimum cpu usage per Container is 50m, but request is 10m";
    assert_eq!(message(cluster.post("pods", tiny).await), refused("c", why));
}

#[tokio::test]
async fn all_containers_of_a_pod_count_together() {
    let cluster = Cluster::start().await;
    cluster.account().await;
    let limits = json!([{"type": "Pod", "max": {"cpu": "1"}, "maxLimitRequestRatio": {"memory": "2"}}]);
    let range = json!({"metadata": {"name": "lr"}, "spec": {"limits": limits}});
    assert_eq!(cluster.post("limitranges", range).await.0, 201);
    let container = |name: &str| {
        json!({"name": name, "image": "i:1",
               "resources": {"requests": {"memory": "1Mi"}, "limits": {"cpu": "600m", "memory": "4Mi"}}})
    };
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [container("x"), container("y")]}});
    let why = "pods \"a\" is forbidden: [maximum cpu usage per Pod is 1, but limit is 1200m, memory max limit to request \
               ratio per Pod is 2, but provided ratio is 4.000000]";
    assert_eq!(message(cluster.post("pods", pod).await), (403, why.to_owned()));
}

#[tokio::test]
async fn a_quota_counts_refuses_and_gives_back() {
    let cluster = Cluster::start().await;
    cluster.account().await;
    let hard = json!({"pods": "2", "count/configmaps": "1", "requests.cpu": "1"});
    let quota = json!({"metadata": {"name": "rq"}, "spec": {"hard": hard}});
    assert_eq!(cluster.post("resourcequotas", quota).await.0, 201);
    cluster.until_used("rq", "pods", "0").await;

    let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
    let why = "pods \"a\" is forbidden: failed quota: rq: must specify requests.cpu for: c";
    assert_eq!(message(cluster.post("pods", pod("a", json!({}))).await), (403, why.to_owned()));
    let why = "pods \"b\" is forbidden: exceeded quota: rq, requested: requests.cpu=2, used: requests.cpu=0, limited: \
               requests.cpu=1";
    assert_eq!(message(cluster.post("pods", pod("b", cpu("2"))).await), (403, why.to_owned()));
    assert_eq!(cluster.post("pods", pod("c", cpu("700m"))).await.0, 201);
    // Written down with the claim, not only by the next count.
    let why = "pods \"d\" is forbidden: exceeded quota: rq, requested: requests.cpu=400m, used: requests.cpu=700m, \
               limited: requests.cpu=1";
    assert_eq!(message(cluster.post("pods", pod("d", cpu("400m"))).await), (403, why.to_owned()));
    let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
    let request = http::Request::get(format!("{NAMESPACE}/resourcequotas")).extension(wk_platform::UserInfo::admin());
    let (_, table) = cluster.request(request.header("accept", table), Value::Null).await;
    assert_eq!(table["rows"][0]["cells"][2], "count/configmaps: 0/1, pods: 1/2, requests.cpu: 700m/1");

    let gone = format!("{NAMESPACE}/pods/c?gracePeriodSeconds=0");
    assert_eq!(cluster.send("DELETE", &gone, "", Value::Null).await.0, 200);
    cluster.until_used("rq", "requests.cpu", "0").await;
    assert_eq!(cluster.post("pods", pod("d", cpu("400m"))).await.0, 201);
}

#[tokio::test]
async fn of_many_at_once_as_many_get_in_as_there_is_room() {
    let cluster = Cluster::start().await;
    let quota = json!({"metadata": {"name": "rq"}, "spec": {"hard": {"configmaps": "3", "services.nodeports": "1"}}});
    assert_eq!(cluster.post("resourcequotas", quota).await.0, 201);
    cluster.until_used("rq", "configmaps", "0").await;
    let created = futures::future::join_all((0..12).map(|index| {
        let map = json!({"metadata": {"name": format!("m-{index}")}});
        cluster.post("configmaps", map)
    }));
    let codes: Vec<u16> = created.await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 3, "{codes:?}");
    assert!(codes.iter().all(|code| [201, 403].contains(code)), "{codes:?}");
    // A refused object, and one that is only tried, take nothing.
    let invalid = json!({"metadata": {"name": "Not_A_Name"}});
    assert_eq!(cluster.post("configmaps", invalid).await.0, 422);
    cluster.until_used("rq", "configmaps", "3").await;

    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}, {"name": "b", "port": 81}]}});
    let service = |kind: &str| {
        let mut service = service.clone();
        service["spec"]["ports"][0]["name"] = "a".into();
        service["spec"]["type"] = kind.into();
        service
    };
    assert_eq!(cluster.post("services", service("ClusterIP")).await.0, 201);
    let patch = json!({"spec": {"type": "NodePort"}});
    let path = format!("{NAMESPACE}/services/s");
    let (code, why) = message(cluster.send("PATCH", &path, "application/merge-patch+json", patch).await);
    assert!(code == 403 && why.contains("requested: services.nodeports=2, used: services.nodeports=0"), "{why}");
}

#[tokio::test]
async fn scoped_quotas_are_about_the_pods_they_name() {
    let cluster = Cluster::start().await;
    cluster.account().await;
    let spec = json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]});
    assert_eq!(cluster.post("resourcequotas", json!({"metadata": {"name": "rq"}, "spec": spec})).await.0, 201);
    cluster.until_used("rq", "pods", "0").await;
    assert_eq!(cluster.post("pods", pod("asks", json!({"requests": {"cpu": "1m"}}))).await.0, 201);
    let (code, why) = message(cluster.post("pods", pod("none", json!({}))).await);
    assert!(
        code == 403 && why.contains("exceeded quota: rq, requested: pods=1, used: pods=0, limited: pods=0"),
        "{why}"
    );
}
