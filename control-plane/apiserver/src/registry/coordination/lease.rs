//! Lease: who holds a role, or that a node is alive.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use jiff::Timestamp;
use serde_json::{Value, json};
use wk_store::Durability;

/// Discovery facts of Leases.
pub const RESOURCE: Resource = Resource {
    group: "coordination.k8s.io",
    ..Resource::new("Lease", "leases", "lease", "io.k8s.api.coordination.v1.Lease", &Lease)
};

/// Where the kubelets keep their heartbeats.
const NODE_LEASES: &str = "kube-node-lease";

struct Lease;

impl Strategy for Lease {
    /// Heartbeats come every few seconds and mean nothing after a restart, so
    /// they never reach the disk.
    fn durability(&self, object: &Value) -> Durability {
        if object::namespace(object) == NODE_LEASES { Durability::Volatile } else { Durability::Durable }
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Holder", "Who holds it."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), json!(object::str_at(object, "spec.holderIdentity")), table::age(object, now)]
    }
}
