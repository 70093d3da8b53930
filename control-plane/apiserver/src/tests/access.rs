//! Who may do what, through the whole server: roles, bindings, tokens, reviews.

use super::Cluster;
use http::Request;
use serde_json::{Value, json};
use wk_platform::UserInfo;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn jane() -> UserInfo {
    UserInfo::new("jane", &[])
}

impl Cluster {
    async fn get_as(&self, user: UserInfo, path: &str) -> (u16, Value) {
        self.send_as(user, "GET", path, "", Value::Null).await
    }

    async fn make(&self, path: &str, object: Value) -> Value {
        let (code, answer) = self.send("POST", path, JSON, object).await;
        assert_eq!(code, 201, "{answer}");
        answer
    }

    /// A role in `default` and its binding to a subject.
    async fn grant(&self, name: &str, rule: Value, subject: Value) {
        let role = json!({"metadata": {"name": name}, "rules": [rule]});
        self.make(&format!("{RBAC}/namespaces/default/roles"), role).await;
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        let binding = json!({"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]});
        self.make(&format!("{RBAC}/namespaces/default/rolebindings"), binding).await;
    }

    /// A request with a bearer token and nothing else.
    async fn with_token(&self, token: &str, method: &str, path: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        self.request(request, Value::Null).await
    }

    async fn token(&self, account: &str, spec: Value) -> String {
        let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
        let answer = self.make(&path, json!({"spec": spec})).await;
        answer["status"]["token"].as_str().expect("a token").to_owned()
    }
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name})
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_binding_holds_as_soon_as_it_is_written_and_ends_with_it() {
    let cluster = Cluster::start().await;
    let (code, answer) = cluster.get_as(jane(), PODS).await;
    let refused = "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \
                   \"default\"";
    assert_eq!((code, message(&answer)), (403, refused));
    let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
    cluster.grant("reader", rule, user("jane")).await;
    assert_eq!(cluster.get_as(jane(), PODS).await.0, 200);
    assert_eq!(cluster.get_as(jane(), "/api/v1/pods").await.0, 403, "not in all namespaces");
    assert_eq!(cluster.get_as(jane(), MAPS).await.0, 403);
    let role = format!("{RBAC}/namespaces/default/roles/reader");
    assert_eq!(cluster.send("DELETE", &role, "", Value::Null).await.0, 200);
    let (code, answer) = cluster.get_as(jane(), PODS).await;
    let because = format!("{refused}: RBAC: role.rbac.authorization.k8s.io \"reader\" not found");
    assert_eq!((code, message(&answer)), (403, because.as_str()));
}

#[tokio::test]
async fn names_and_subresources_are_told_apart() {
    let cluster = Cluster::start().await;
    let rule =
        json!({"verbs": ["get", "watch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]});
    cluster.grant("one", rule, user("jane")).await;
    assert_eq!(cluster.get_as(jane(), &format!("{MAPS}/a")).await.0, 404, "allowed, but not there");
    assert_eq!(cluster.get_as(jane(), &format!("{MAPS}/b")).await.0, 403);
    assert_eq!(cluster.get_as(jane(), MAPS).await.0, 403);
    let scale = json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]});
    cluster.grant("scale", scale, user("jane")).await;
    let deployment = "/apis/apps/v1/namespaces/default/deployments/web";
    assert_eq!(cluster.get_as(jane(), &format!("{deployment}/scale")).await.0, 404);
    assert_eq!(cluster.get_as(jane(), deployment).await.0, 403);
}

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let cluster = Cluster::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(cluster.get_as(UserInfo::anonymous(), path).await.0, 200, "{path}");
    }
    for path in ["/api", "/apis", "/metrics", "/readyz/ping", PODS, "/openid/v1/jwks"] {
        assert_eq!(cluster.get_as(UserInfo::anonymous(), path).await.0, 403, "{path}");
    }
    for path in ["/api", "/apis/apps/v1", "/openapi/v2", "/openapi/v3"] {
        assert_eq!(cluster.get_as(jane(), path).await.0, 200, "{path}");
    }
    assert_eq!(cluster.with_token("wrong", "GET", "/version").await.0, 401, "a bad token is worse than none");
}

#[tokio::test]
async fn parts_of_the_cluster_do_their_work_and_no_more() {
    let cluster = Cluster::start().await;
    let scheduler = || UserInfo::new("system:kube-scheduler", &[]);
    assert_eq!(cluster.get_as(scheduler(), "/api/v1/pods").await.0, 200);
    assert_eq!(cluster.get_as(scheduler(), "/api/v1/secrets").await.0, 403);
    let proxy = || UserInfo::new("system:kube-proxy", &[]);
    assert_eq!(cluster.get_as(proxy(), "/apis/discovery.k8s.io/v1/endpointslices").await.0, 200);
    assert_eq!(cluster.get_as(proxy(), "/api/v1/secrets").await.0, 403);
    let node = || UserInfo::node("n1");
    assert_eq!(cluster.get_as(node(), "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.0, 200);
    assert_eq!(cluster.get_as(node(), "/api/v1/secrets").await.0, 403);
    let secret = "/api/v1/namespaces/default/secrets";
    assert_eq!(cluster.get_as(node(), &format!("{secret}?fieldSelector=metadata.name%3Ds")).await.0, 200);
    let controllers = || UserInfo::new("system:kube-controller-manager", &[]);
    let set = json!({"metadata": {"name": "s"}, "type": "Opaque"});
    assert_eq!(cluster.send_as(controllers(), "POST", secret, JSON, set).await.0, 201);
    let role =
        json!({"metadata": {"name": "all"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    let roles = format!("{RBAC}/clusterroles");
    assert_eq!(cluster.send_as(controllers(), "POST", &roles, JSON, role).await.0, 403);
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let cluster = Cluster::start().await;
    let rule = json!({"verbs": ["create", "update", "patch"], "apiGroups": ["rbac.authorization.k8s.io"],
                      "resources": ["roles", "rolebindings"]});
    cluster.grant("maker", rule, user("jane")).await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let role = |resource: &str| {
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]);
        json!({"metadata": {"name": "x"}, "rules": rules})
    };
    let (code, answer) = cluster.send_as(jane(), "POST", &roles, JSON, role("secrets")).await;
    let why = "roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) is \
               attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], \
               Verbs:[\"get\"]}";
    assert_eq!((code, message(&answer)), (403, why));
    let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    cluster.grant("has", pods, user("jane")).await;
    assert_eq!(cluster.send_as(jane(), "POST", &roles, JSON, role("pods")).await.0, 201);
    let more = role("secrets");
    assert_eq!(cluster.send_as(jane(), "PATCH", &format!("{roles}/x"), MERGE, more).await.0, 403, "nor by a patch");

    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let binding = |role: &str| {
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
        json!({"metadata": {"name": role}, "roleRef": reference, "subjects": [user("jane")]})
    };
    assert_eq!(cluster.send_as(jane(), "POST", &bindings, JSON, binding("cluster-admin")).await.0, 403);
    let (code, answer) = cluster.send_as(jane(), "POST", &bindings, JSON, binding("nowhere")).await;
    let missing = "clusterrole.rbac.authorization.k8s.io \"nowhere\" not found";
    assert_eq!((code, message(&answer)), (404, missing));
    let bind = json!({"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
                      "resourceNames": ["view"]});
    cluster.grant("binder", bind, user("jane")).await;
    assert_eq!(cluster.send_as(jane(), "POST", &bindings, JSON, binding("view")).await.0, 201);
    assert_eq!(cluster.send_as(jane(), "POST", &bindings, JSON, binding("edit")).await.0, 403);
}

#[tokio::test]
async fn one_acts_for_another_only_when_allowed() {
    let cluster = Cluster::start().await;
    let act = |user: UserInfo, as_whom: &'static str| {
        let request = Request::builder().uri(MAPS).extension(user).header("impersonate-user", as_whom);
        cluster.request(request, Value::Null)
    };
    let (code, answer) = act(UserInfo::admin(), "jane").await;
    assert_eq!(code, 403, "an administrator as jane may as much as jane: {answer}");
    assert!(message(&answer).contains("User \"jane\" cannot list"), "{answer}");
    let (code, answer) = act(jane(), "kubernetes-admin").await;
    let why = "users \"kubernetes-admin\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \
               \"\" at the cluster scope";
    assert_eq!((code, message(&answer)), (403, why));
    let rule = json!({"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]});
    cluster.grant("lister", rule, user("jane")).await;
    assert_eq!(act(UserInfo::admin(), "jane").await.0, 200);
}

#[tokio::test]
async fn a_token_lives_as_long_as_what_it_is_bound_to() {
    let cluster = Cluster::start().await;
    cluster.make("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i:v1"}]}});
    let uid = cluster.make(PODS, pod).await["metadata"]["uid"].clone();
    let bound = json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": uid}});
    let (of_pod, of_account) = (cluster.token("default", bound).await, cluster.token("default", json!({})).await);
    let elsewhere = cluster.token("default", json!({"audiences": ["vault"]})).await;
    for token in [&of_pod, &of_account] {
        assert_eq!(cluster.with_token(token, "GET", "/api").await.0, 200, "discovery is for everybody");
        assert_eq!(cluster.with_token(token, "GET", "/openid/v1/jwks").await.0, 200);
        let (code, answer) = cluster.with_token(token, "GET", PODS).await;
        assert_eq!(code, 403);
        assert!(message(&answer).contains("User \"system:serviceaccount:default:default\" cannot list"), "{answer}");
    }
    assert_eq!(cluster.with_token(&elsewhere, "GET", "/api").await.0, 401, "for somebody else");
    let account = json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"});
    cluster.grant("lister", json!({"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}), account).await;
    assert_eq!(cluster.with_token(&of_pod, "GET", PODS).await.0, 200);

    let now = json!({"gracePeriodSeconds": 0});
    assert_eq!(cluster.send("DELETE", &format!("{PODS}/web"), JSON, now).await.0, 200);
    let gone = async || cluster.with_token(&of_pod, "GET", PODS).await.0;
    // The cache may be an instant behind.
    cluster.server.server.caches.wait_until_fresh().await.expect("catches up");
    assert_eq!(gone().await, 401);
    assert_eq!(cluster.with_token(&of_account, "GET", PODS).await.0, 200);
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    assert_eq!(cluster.send("DELETE", account, "", Value::Null).await.0, 200);
    cluster.server.server.caches.wait_until_fresh().await.expect("catches up");
    assert_eq!(cluster.with_token(&of_account, "GET", PODS).await.0, 401);
}

#[tokio::test]
async fn reviews_answer_what_requests_would() {
    let cluster = Cluster::start().await;
    let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]});
    cluster.grant("logs", rule.clone(), user("jane")).await;
    let asked = |sub: &str| json!({"namespace": "default", "verb": "get", "resource": "pods", "subresource": sub});
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let ask = async |user: UserInfo, sub: &str| {
        let review = json!({"spec": {"resourceAttributes": asked(sub)}});
        let (code, answer) = cluster.send_as(user, "POST", own, JSON, review).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"].clone()
    };
    let because = "RBAC: allowed by RoleBinding \"logs/default\" of Role \"logs\" to User \"jane\"";
    assert_eq!(ask(jane(), "log").await, json!({"allowed": true, "reason": because}));
    assert_eq!(ask(jane(), "").await, json!({"allowed": false}));
    assert_eq!(ask(UserInfo::admin(), "").await, json!({"allowed": true}));

    let about = json!({"spec": {"user": "jane", "resourceAttributes": asked("log")}});
    let others = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(cluster.send("POST", others, JSON, about.clone()).await.1["status"]["allowed"], json!(true));
    assert_eq!(cluster.send_as(jane(), "POST", others, JSON, about).await.0, 403, "about others only by permission");
    let (code, answer) = cluster.send("POST", others, JSON, json!({"spec": {"user": "jane"}})).await;
    assert_eq!(code, 422, "{answer}");

    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let list = json!({"spec": {"namespace": "default"}});
    let (_, answer) = cluster.send_as(jane(), "POST", rules, JSON, list).await;
    let found = answer["status"]["resourceRules"].as_array().expect("rules");
    assert!(found.contains(&rule), "{answer}");
    assert_eq!(answer["status"]["incomplete"], json!(false));

    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, answer) = cluster.send_as(jane(), "POST", who, JSON, json!({})).await;
    assert_eq!(answer["status"]["userInfo"], json!({"username": "jane", "groups": ["system:authenticated"]}));
}

#[tokio::test]
async fn a_token_can_be_asked_about() {
    let cluster = Cluster::start().await;
    cluster.make("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "bot"}})).await;
    let token = cluster.token("bot", json!({"audiences": ["vault", "other"]})).await;
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let ask = async |spec: Value| cluster.make(path, json!({"spec": spec})).await["status"].clone();
    let known = ask(json!({"token": token, "audiences": ["vault"]})).await;
    assert_eq!(known["authenticated"], json!(true));
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:bot");
    assert_eq!(known["audiences"], json!(["vault"]));
    let wrong = ask(json!({"token": token})).await;
    assert!(wrong["authenticated"].is_null() && wrong["error"].as_str().is_some_and(|why| why.contains("audiences")));
    assert_eq!(ask(json!({"token": "bad"})).await, json!({"user": {}, "error": "invalid bearer token"}));
}

#[tokio::test]
async fn every_cluster_has_the_roles_and_a_second_start_writes_nothing() {
    let cluster = Cluster::start().await;
    for (path, least) in [("clusterroles", 60), ("clusterrolebindings", 40), ("roles", 7), ("rolebindings", 7)] {
        let (_, list) = cluster.send("GET", &format!("{RBAC}/{path}"), "", Value::Null).await;
        let count = list["items"].as_array().map_or(0, Vec::len);
        assert!(count >= least, "{count} {path}");
    }
    let (_, edit) = cluster.send("GET", &format!("{RBAC}/clusterroles/edit"), "", Value::Null).await;
    assert!(edit["rules"].as_array().is_some_and(|rules| rules.len() > 20));
    assert_eq!(edit["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    let server = &cluster.server.server;
    let before = server.storage.store().revision();
    crate::bootstrap::run(server, "10.96.0.0/16".parse().expect("a network")).await.expect("runs");
    assert_eq!(server.storage.store().revision(), before);
}

#[tokio::test]
async fn a_node_writes_only_what_is_its_own() {
    let cluster = Cluster::start().await;
    cluster.make("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    for node in ["n1", "n2"] {
        cluster.make("/api/v1/nodes", json!({"metadata": {"name": node}})).await;
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i:v1"}]});
        cluster.make(PODS, json!({"metadata": {"name": format!("on-{node}")}, "spec": spec})).await;
    }
    let send = async |method: &str, path: &str, body: Value| {
        let media = if method == "PATCH" { MERGE } else { JSON };
        let (code, answer) = cluster.send_as(UserInfo::node("n1"), method, path, media, body).await;
        (code, message(&answer).to_owned())
    };
    let status = json!({"status": {"phase": "Running"}});
    assert_eq!(send("PATCH", &format!("{PODS}/on-n1/status"), status.clone()).await.0, 200);
    let refused = |target: &str, why: &str| (403, format!("{target} is forbidden: {why}"));
    assert_eq!(
        send("PATCH", &format!("{PODS}/on-n2/status"), status).await,
        refused(r#"pods "on-n2""#, r#"node "n1" can only update pod status for pods with spec.nodeName set to itself"#)
    );
    let label = json!({"metadata": {"labels": {"app": "stolen"}}});
    assert_eq!(
        send("PATCH", &format!("{PODS}/on-n1/status"), label).await,
        refused(r#"pods "on-n1""#, r#"node "n1" cannot update labels through pod status"#)
    );
    assert_eq!(
        send("DELETE", &format!("{PODS}/on-n2"), Value::Null).await,
        refused(r#"pods "on-n2""#, r#"node "n1" can only delete pods with spec.nodeName set to itself"#)
    );
    let eviction = json!({"metadata": {"name": "on-n2"}});
    let why = "node n1 can only evict pods with spec.nodeName set to itself";
    assert_eq!(send("POST", &format!("{PODS}/on-n2/eviction"), eviction).await, refused(r#"pods "on-n2""#, why));
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i:v1"}]}});
    let why = r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#;
    assert_eq!(send("POST", PODS, pod).await, refused(r#"pods "x""#, why));
    for (body, why) in [
        (
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            r#"node "n1" is not allowed to modify taints"#,
        ),
        (
            json!({"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b"}}}),
            "is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
    ] {
        assert_eq!(send("PATCH", "/api/v1/nodes/n1", body).await, refused(r#"nodes "n1""#, why));
    }
    // A body may name another than the path.
    assert_eq!(
        send("POST", "/api/v1/nodes", json!({"metadata": {"name": "n3"}})).await,
        refused(r#"nodes "n3""#, r#"node "n1" is not allowed to modify node "n3""#)
    );
    let lease = json!({"metadata": {"name": "n2"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let why = "can only access node lease with the same name as the requesting node";
    assert_eq!(send("POST", leases, lease).await, refused(r#"leases.coordination.k8s.io "n2""#, why));
    assert_eq!(send("POST", leases, json!({"metadata": {"name": "n1"}})).await.0, 201);
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods_only() {
    let cluster = Cluster::start().await;
    cluster.make("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let mut uids = Vec::new();
    for node in ["n1", "n2"] {
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i:v1"}]});
        let pod = cluster.make(PODS, json!({"metadata": {"name": format!("on-{node}")}, "spec": spec})).await;
        uids.push(pod["metadata"]["uid"].clone());
    }
    let ask = async |bound: Value| {
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let (code, answer) = cluster.send_as(UserInfo::node("n1"), "POST", path, JSON, json!({"spec": bound})).await;
        (code, message(&answer).trim_start_matches(r#"serviceaccounts "default" is forbidden: "#).to_owned())
    };
    let pod = |name: &str, uid: &Value| json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}});
    assert_eq!(ask(pod("on-n1", &uids[0])).await.0, 201);
    assert_eq!(ask(json!({})).await, (403, "node requested token not bound to a pod".to_owned()));
    let anonymous = json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "on-n1"}});
    assert_eq!(ask(anonymous).await, (403, "node requested token with a pod binding without a uid".to_owned()));
    let elsewhere = "node requested token bound to a pod scheduled on a different node".to_owned();
    assert_eq!(ask(pod("on-n2", &uids[1])).await, (403, elsewhere));
}
