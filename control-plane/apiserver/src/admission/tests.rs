use super::*;
use crate::object;
use crate::registry::{self, core};
use expect_test::{Expect, expect};
use serde_json::json;
use std::collections::HashMap;

/// Objects by resource, namespace and name.
#[derive(Default)]
struct Objects(HashMap<(&'static str, String, String), Arc<Value>>);

impl Objects {
    fn with(mut self, resource: &'static Resource, namespace: &str, object: Value) -> Self {
        let key = (resource.plural, namespace.to_owned(), object::name(&object).to_owned());
        self.0.insert(key, Arc::new(object));
        self
    }
}

#[async_trait]
impl Lookup for Objects {
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&(resource.plural, namespace.to_owned(), name.to_owned())).cloned()
    }

    async fn list(&self, resource: &'static Resource, _namespace: &str) -> Vec<Arc<Value>> {
        let of_resource = self.0.iter().filter(|((plural, ..), _)| *plural == resource.plural);
        of_resource.map(|(_, object)| object.clone()).collect()
    }
}

fn cluster() -> Objects {
    let account = json!({"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "pull"}]});
    Objects::default()
        .with(&core::namespace::RESOURCE, "", json!({"metadata": {"name": "ns"}, "status": {"phase": "Active"}}))
        .with(&core::namespace::RESOURCE, "", json!({"metadata": {"name": "old"}, "status": {"phase": "Terminating"}}))
        .with(&core::service_account::RESOURCE, "ns", account)
}

async fn create(plural: &str, namespace: &str, mut object: Value) -> Result<Value, Refusal> {
    let user = UserInfo::admin();
    let request = AdmissionRequest {
        operation: Operation::Create,
        resource: registry::find("", "v1", plural).unwrap(),
        subresource: "",
        namespace,
        name: "",
        user: &user,
    };
    admit(&request, &mut object, None, &cluster(), &Entropy::seeded(7)).await?;
    Ok(object)
}

async fn check_refusal(plural: &str, namespace: &str, object: Value, expected: Expect) {
    expected.assert_eq(&create(plural, namespace, object).await.unwrap_err().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_account_token_priority_and_tolerations() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    let pod = create("pods", "ns", pod).await.unwrap();
    let volume = pod["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with(API_ACCESS_PREFIX) && volume.len() == API_ACCESS_PREFIX.len() + 5);
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!((&pod["spec"]["priority"], pod["spec"]["tolerations"].as_array().unwrap().len()), (&json!(0), 2));
}

#[tokio::test(start_paused = true)]
async fn own_tolerations_and_mounts_are_kept() {
    let mount = json!({"name": "mine", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    let pod = json!({"spec": {"tolerations": [{"operator": "Exists"}], "containers": [{"volumeMounts": [mount]}]}});
    let pod = create("pods", "ns", pod).await.unwrap();
    assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 1);
    assert_eq!(pod["spec"].get("volumes"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named() {
    let account = json!({"spec": {"serviceAccountName": "ghost"}});
    check_refusal(
        "pods",
        "ns",
        account,
        expect![[r#"error looking up service account ns/ghost: serviceaccount "ghost" not found"#]],
    )
    .await;
    let class = json!({"spec": {"priorityClassName": "ghost"}});
    check_refusal("pods", "ns", class, expect!["no PriorityClass with name ghost was found"]).await;
    let runtime = json!({"spec": {"runtimeClassName": "ghost"}});
    check_refusal("pods", "ns", runtime, expect![[r#"pod rejected: RuntimeClass "ghost" not found"#]]).await;
    check_refusal("configmaps", "nowhere", json!({}), expect![[r#"namespaces "nowhere" not found"#]]).await;
    check_refusal(
        "configmaps",
        "old",
        json!({}),
        expect!["unable to create new content in namespace old because it is being terminated"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn system_classes_exist_and_numbers_are_not_taken_from_users() {
    let pod = create("pods", "ns", json!({"spec": {"priorityClassName": "system-node-critical"}})).await.unwrap();
    assert_eq!(pod["spec"]["priority"], 2_000_001_000);
    assert!(create("pods", "ns", json!({"spec": {"priority": 5}})).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_new_node_is_tainted_once() {
    let node = create("nodes", "", json!({"metadata": {"name": "n"}})).await.unwrap();
    assert_eq!(node["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));
    assert_eq!(create("nodes", "", node.clone()).await.unwrap(), node);
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_class_gets_the_newest_default() {
    let class = |name: &str, created: &str, default: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": default});
        json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}})
    };
    let row = &registry::storage::storage_class::RESOURCE;
    let classes = Objects::default()
        .with(row, "", class("old", "2024-01-01T00:00:00Z", "true"))
        .with(row, "", class("new", "2025-01-01T00:00:00Z", "true"))
        .with(row, "", class("other", "2026-01-01T00:00:00Z", "false"));
    for (claim, expected) in [
        (json!({"spec": {}}), json!("new")),
        (json!({"spec": {"storageClassName": ""}}), json!("")),
        (json!({"spec": {"storageClassName": "old"}}), json!("old")),
    ] {
        let mut claim = claim;
        default_storage_class::admit(&mut claim, &classes).await;
        assert_eq!(claim["spec"]["storageClassName"], expected);
    }
}
