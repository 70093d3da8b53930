//! ServiceAccount: who a pod is to the API server.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy, Subresource};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of ServiceAccounts.
pub const RESOURCE: Resource = Resource {
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }],
    ..Resource::new(
        "ServiceAccount",
        "serviceaccounts",
        "serviceaccount",
        "io.k8s.api.core.v1.ServiceAccount",
        &ServiceAccount,
    )
};

struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Secrets", "How many secrets its pods may use."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), json!(object::list_at(object, "secrets").len()), table::age(object, now)]
    }
}
