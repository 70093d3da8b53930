//! Lease: who holds a role, or that a node is alive.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use crate::schema::FieldError;
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
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let duration = object["spec"]["leaseDurationSeconds"].as_i64();
        if let Some(seconds) = duration.filter(|seconds| *seconds <= 0) {
            errors.push(FieldError::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
        }
        check::not_negative(&object["spec"], "spec", "leaseTransitions", &mut errors);
        errors
    }

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
