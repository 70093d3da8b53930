//! Secret: named bytes that are not shown.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Secrets.
pub const RESOURCE: Resource = Resource::new("Secret", "secrets", "secret", "io.k8s.api.core.v1.Secret", &Secret);

struct Secret;

impl Strategy for Secret {
    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", object::str_at(object, "type").to_owned())]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Type", "What its keys mean."), table::text("Data", "How many entries it has."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let entries = object::at(object, "data").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        vec![table::name(object), json!(object::str_at(object, "type")), json!(entries), table::age(object, now)]
    }
}
