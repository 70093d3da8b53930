//! Pod: containers that live and die together. The row of discovery facts and
//! the strategy; see [`printer`] for what `get` shows.

use crate::object;
use crate::registry::{Column, PART_VERBS, PROXY_VERBS, Resource, Strategy, Subresource};
use jiff::Timestamp;
use serde_json::Value;

pub mod printer;

/// Discovery facts of Pods.
pub const RESOURCE: Resource = Resource {
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource::new("attach", "PodAttachOptions", &["create", "get"]),
        Subresource::new("binding", "Binding", &["create"]),
        Subresource::new("ephemeralcontainers", "Pod", PART_VERBS),
        Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] },
        Subresource::new("exec", "PodExecOptions", &["create", "get"]),
        Subresource::new("log", "Pod", &["get"]),
        Subresource::new("portforward", "PodPortForwardOptions", &["create", "get"]),
        Subresource::new("proxy", "PodProxyOptions", PROXY_VERBS),
        Subresource::status("Pod"),
    ],
    ..Resource::new("Pod", "pods", "pod", "io.k8s.api.core.v1.Pod", &Pod)
};

/// Seconds that a deleted pod gets when neither it nor the caller says.
const GRACE_PERIOD_SECONDS: i64 = 30;

const SELECTABLE: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

struct Pod;

impl Strategy for Pod {
    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |field: &'static str| match object::at(object, field) {
            Some(Value::String(text)) => text.clone(),
            _ if field == "spec.hostNetwork" => (object["spec"]["hostNetwork"] == true).to_string(),
            _ => String::new(),
        };
        SELECTABLE.iter().map(|field| (*field, value(field))).collect()
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn columns(&self) -> &'static [Column] {
        printer::COLUMNS
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        printer::row(object, now)
    }

    fn row_conditions(&self, object: &Value) -> Vec<Value> {
        printer::row_conditions(object)
    }

    /// The caller's wish, else the pod's own, else 30 s. Nobody waits for a pod
    /// that is on no node or has ended.
    fn grace_period_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
        let ended = matches!(object::str_at(object, "status.phase"), "Succeeded" | "Failed");
        if object::str_at(object, "spec.nodeName").is_empty() || ended {
            return Some(0);
        }
        // A negative period of the pod means one second.
        Some(match requested.or(own).unwrap_or(GRACE_PERIOD_SECONDS) {
            ..0 => 1,
            seconds => seconds,
        })
    }
}
