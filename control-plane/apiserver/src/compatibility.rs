//! `COMPATIBILITY.md`, generated from the registry so that it cannot promise
//! what is not served. Test only; nothing at run time calls it. What the
//! registry does not know (who acts on a kind) is data here, checked against it.

use crate::registry::{self, Resource, Scope};
use expect_test::expect_file;

/// Who acts on a kind's objects, beyond the API server keeping them.
enum Behaviour {
    /// Something here does what the object says.
    Acts(&'static str),
    /// It is a record that others read; nothing needs to act on it.
    Record(&'static str),
    /// It is a question; nothing is kept.
    Answered(&'static str),
    /// It is checked and kept, and nothing happens.
    StoredOnly,
}
use Behaviour::{Acts, Answered, Record, StoredOnly};

/// One entry per row of the registry.
const BEHAVIOUR: &[(&str, Behaviour)] = &[
    ("bindings", Answered("what `pods/binding` does")),
    ("configmaps", Record("mounted and read by the kubelet")),
    ("endpoints", Record("written by endpoints-controller")),
    ("events", Record("written by every component")),
    ("limitranges", Acts("LimitRanger")),
    ("namespaces", Acts("namespace-controller, NamespaceLifecycle")),
    ("nodes", Acts("kubelet, node-lifecycle-controller, node-ipam-controller, taint-eviction-controller")),
    ("persistentvolumeclaims", StoredOnly),
    ("persistentvolumes", StoredOnly),
    ("pods", Acts("scheduler, kubelet, pod-garbage-collector-controller")),
    ("podtemplates", StoredOnly),
    ("resourcequotas", Acts("ResourceQuota, resourcequota-controller (in the API server)")),
    ("secrets", Record("mounted and read by the kubelet")),
    ("serviceaccounts", Acts("serviceaccount-controller, tokens")),
    ("services", Acts("service proxy, DNS, endpoints-controller, endpointslice-controller")),
    ("controllerrevisions.apps", Record("written by daemonset-controller, statefulset-controller")),
    ("daemonsets.apps", Acts("daemonset-controller")),
    ("deployments.apps", Acts("deployment-controller")),
    ("replicasets.apps", Acts("replicaset-controller")),
    ("statefulsets.apps", Acts("statefulset-controller; without volumeClaimTemplates")),
    ("selfsubjectreviews.authentication.k8s.io", Answered("`kubectl auth whoami`")),
    ("tokenreviews.authentication.k8s.io", Answered("tokens of service accounts")),
    ("localsubjectaccessreviews.authorization.k8s.io", Answered("")),
    ("selfsubjectaccessreviews.authorization.k8s.io", Answered("`kubectl auth can-i`")),
    ("selfsubjectrulesreviews.authorization.k8s.io", Answered("`kubectl auth can-i --list`")),
    ("subjectaccessreviews.authorization.k8s.io", Answered("")),
    ("horizontalpodautoscalers.autoscaling", StoredOnly),
    ("cronjobs.batch", Acts("cronjob-controller")),
    (
        "jobs.batch",
        Acts("job-controller, ttl-after-finished-controller; without backoffLimitPerIndex and successPolicy"),
    ),
    ("ingressclasses.networking.k8s.io", StoredOnly),
    ("ingresses.networking.k8s.io", StoredOnly),
    ("networkpolicies.networking.k8s.io", StoredOnly),
    ("poddisruptionbudgets.policy", Acts("disruption-controller, eviction")),
    ("clusterrolebindings.rbac.authorization.k8s.io", Acts("RBAC authorizer")),
    ("clusterroles.rbac.authorization.k8s.io", Acts("RBAC authorizer, clusterrole-aggregation-controller")),
    ("rolebindings.rbac.authorization.k8s.io", Acts("RBAC authorizer")),
    ("roles.rbac.authorization.k8s.io", Acts("RBAC authorizer")),
    ("storageclasses.storage.k8s.io", StoredOnly),
    ("priorityclasses.scheduling.k8s.io", Acts("Priority")),
    ("leases.coordination.k8s.io", Record("heartbeats of nodes")),
    ("runtimeclasses.node.k8s.io", Acts("RuntimeClass")),
    ("endpointslices.discovery.k8s.io", Record("written by endpointslice-controller, read by the service proxy")),
];

/// What upstream serves by default and this server does not, with its name as
/// the registry would have it.
const NOT_SERVED: &[(&str, &str)] = &[
    ("componentstatuses", "deprecated"),
    ("replicationcontrollers", "use ReplicaSets"),
    ("apiservices.apiregistration.k8s.io", "no aggregation"),
    ("customresourcedefinitions.apiextensions.k8s.io", "no custom resources"),
    ("mutatingwebhookconfigurations.admissionregistration.k8s.io", "no webhooks"),
    ("validatingwebhookconfigurations.admissionregistration.k8s.io", "no webhooks"),
    ("validatingadmissionpolicies.admissionregistration.k8s.io", "no CEL"),
    ("validatingadmissionpolicybindings.admissionregistration.k8s.io", "no CEL"),
    ("certificatesigningrequests.certificates.k8s.io", ""),
    ("events.events.k8s.io", "the core group's events are served"),
    ("flowschemas.flowcontrol.apiserver.k8s.io", ""),
    ("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", ""),
    ("csidrivers.storage.k8s.io", ""),
    ("csinodes.storage.k8s.io", ""),
    ("csistoragecapacities.storage.k8s.io", ""),
    ("volumeattachments.storage.k8s.io", ""),
];

/// The list of controllers that `--controllers` knows is read from its source,
/// for that crate stands above this one.
const CONTROLLER_SET: &str = include_str!("../../controllers/src/set.rs");

/// Each admission plugin names its upstream in the head of its file.
const ADMISSION: &[&str] = &[
    include_str!("admission/default_storage_class.rs"),
    include_str!("admission/limit_ranger.rs"),
    include_str!("admission/namespace_lifecycle.rs"),
    include_str!("admission/node_restriction.rs"),
    include_str!("admission/node_taints.rs"),
    include_str!("admission/priority.rs"),
    include_str!("admission/runtime_class.rs"),
    include_str!("admission/service_account.rs"),
    include_str!("admission/toleration_seconds.rs"),
    include_str!("quota.rs"),
];

const HEAD: &str = "# Compatibility

What of the Kubernetes API this server serves. Generated from the code; do not edit. After a change:

    UPDATE_EXPECT=1 cargo test -p wk-apiserver compatibility

";

const FEATURES: &str = "
## Requests

| | |
|---|---|
| Patches | JSON patch, merge patch, strategic merge patch, server-side apply (with conflicts, `force`, managed fields) |
| Bodies and answers | JSON, YAML, protobuf; Table and PartialObjectMetadata (`v1`, `v1beta1`) |
| Writes | dry run, field validation (`Ignore`, `Warn`, `Strict`), preconditions, propagation policies, finalizers, grace periods |
| Lists | label and field selectors, `limit` and `continue`, `resourceVersion`, `resourceVersionMatch` |
| Watches | resume from a `resourceVersion`, bookmarks, `sendInitialEvents`, one object, Table and PartialObjectMetadata, JSON lines only, no WebSocket |
| Discovery | the list form, the aggregated form (`v2`, `v2beta1`), OpenAPI v2 and v3 |
| Streams | `exec`, `attach`, `port-forward`, `log -f`, proxies to pods, services and nodes; WebSocket (`v1`, `v4` and `v5.channel.k8s.io`) and SPDY/3.1 |
| Identity | client certificates, tokens of service accounts (bound to pods, nodes and secrets, with audiences), impersonation; who is nobody is `system:anonymous` |
| Authorization | everything for `system:masters`, fixed rules for nodes, which write only what is their own, RBAC for everybody else, with upstream's first roles and its checks against escalation |
";

/// What was done by hand with which kubectl, for what a unit test cannot try.
const CLIENTS: &str = "
## kubectl

Tried by hand against the API server without nodes: `get -o wide`, `apply`, `diff`, `apply --server-side`, `patch`, `scale`,
`describe`, `explain` and `delete` of a Deployment. Streams were not tried with each.

| kubectl | Result |
|---|---|
| 1.27.16 | all succeed |
| 1.28.15 | all succeed |
| 1.29.14 | all succeed |
| 1.30.13 | all succeed |
| 1.31.9 | all succeed |
| 1.32.5 | all succeed |
| 1.33.1 | all succeed |
";

fn behaviour(row: &Resource) -> &'static Behaviour {
    let found = BEHAVIOUR.iter().find(|(name, _)| *name == row.qualified());
    &found.unwrap_or_else(|| panic!("say in BEHAVIOUR who acts on {}", row.qualified())).1
}

fn resource_line(row: &Resource) -> String {
    let verbs = if row.verbs == registry::ALL_VERBS { "all".to_owned() } else { row.verbs.join(", ") };
    let subresources: Vec<&str> = row.subresources.iter().map(|sub| sub.name).collect();
    let scope = if row.scope == Scope::Namespaced { "" } else { " (cluster)" };
    let behind = match behaviour(row) {
        Acts(who) => format!("yes: {who}"),
        Record(what) => format!("a record: {what}"),
        Answered("") => "answered, not kept".to_owned(),
        Answered(what) => format!("answered, not kept: {what}"),
        StoredOnly => "stored only".to_owned(),
    };
    let Resource { kind, plural, .. } = row;
    format!(
        "| {} | {kind}{scope} | `{plural}` | {verbs} | {} | {behind} |\n",
        row.api_version(),
        subresources.join(", ")
    )
}

fn controllers() -> Vec<&'static str> {
    let list = CONTROLLER_SET.split("const KNOWN").nth(1).and_then(|rest| rest.split("];").next()).expect("a list");
    list.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect()
}

fn plugins() -> Vec<&'static str> {
    let name = |source: &'static str| {
        let head = source.split("\n\n").next()?;
        head.split("upstream:").nth(1)?.split('`').nth(1)
    };
    ADMISSION.iter().map(|source| name(source).expect("a plugin says its upstream name")).collect()
}

fn bullets(title: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("- {item}\n")).collect();
    format!("\n## {title}\n\n{}", items.concat())
}

fn document() -> String {
    let all = format!("Verbs: \"all\" is {}.\n\n", registry::ALL_VERBS.join(", "));
    let mut text = format!("{HEAD}The version that clients see is {}. {all}", crate::version::git_version());
    text += "| Group and version | Kind | Resource | Verbs | Subresources | Behaviour behind it |\n|---|---|---|---|---|---|\n";
    text.extend(registry::all().iter().map(resource_line));
    text += FEATURES;
    text += &bullets("Admission plugins", plugins().into_iter().map(|name| format!("`{name}`")));
    text += &bullets("Controllers", controllers().into_iter().map(|name| format!("`{name}`")));
    text += &bullets(
        "Not served",
        NOT_SERVED.iter().map(|(name, note)| match *note {
            "" => format!("`{name}`"),
            note => format!("`{name}`: {note}"),
        }),
    );
    text + CLIENTS
}

#[test]
fn compatibility_md_says_what_is_served() {
    expect_file!["../../../COMPATIBILITY.md"].assert_eq(&document());
}

#[test]
fn what_is_called_missing_is_missing() {
    let served: Vec<String> = registry::all().iter().map(Resource::qualified).collect();
    let lies: Vec<&str> =
        NOT_SERVED.iter().map(|(name, _)| *name).filter(|name| served.iter().any(|row| row == name)).collect();
    assert!(lies.is_empty(), "served by now: {lies:?}");
    assert_eq!(BEHAVIOUR.len(), served.len(), "BEHAVIOUR has rows for what is not served");
}

#[test]
fn every_admission_plugin_is_listed() {
    let declared =
        include_str!("admission/mod.rs").lines().filter(|line| line.starts_with("mod ") && *line != "mod tests;");
    // And quotas, which are claimed where objects are stored.
    assert_eq!(declared.count() + 1, ADMISSION.len());
}
