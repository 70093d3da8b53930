//! ConfigMap: named texts and bytes.

use crate::object;
use crate::registry::table::{self, AGE, NAME};
use crate::registry::{Column, Resource, Strategy};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of ConfigMaps.
pub const RESOURCE: Resource = Resource {
    short_names: &["cm"],
    ..Resource::new("ConfigMap", "configmaps", "configmap", "io.k8s.api.core.v1.ConfigMap", &ConfigMap)
};

struct ConfigMap;

impl Strategy for ConfigMap {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, table::text("Data", "How many entries it has."), AGE] }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let entries = |field| object::at(object, field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
        vec![table::name(object), json!(entries("data") + entries("binaryData")), table::age(object, now)]
    }
}
