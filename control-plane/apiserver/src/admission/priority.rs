//! Turns a pod's priority class into a number (upstream: `Priority`). The two
//! system classes are known even while nobody has stored them.

use super::{Lookup, Refusal};
use crate::object;
use crate::registry;
use serde_json::{Value, json};

const PREEMPT: &str = "PreemptLowerPriority";
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// What a class says.
struct Class {
    name: String,
    value: i64,
    preemption: String,
}

impl Class {
    fn of(object: &Value) -> Self {
        let preemption = object::str_at(object, "preemptionPolicy");
        Self {
            name: object::name(object).to_owned(),
            value: object["value"].as_i64().unwrap_or(0),
            preemption: if preemption.is_empty() { PREEMPT } else { preemption }.to_owned(),
        }
    }
}

pub(super) async fn admit_create(pod: &mut Value, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let class = match object::str_at(pod, "spec.priorityClassName") {
        "" => default_class(lookup).await,
        name => named_class(name, lookup).await?,
    };
    let spec = object::map_mut(pod, "spec");
    let given = spec.get("priority").and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != class.value) {
        return Err(Refusal::forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {} from the given PriorityClass name",
            class.value
        )));
    }
    let given = spec.get("preemptionPolicy").and_then(Value::as_str);
    if let Some(given) = given.filter(|given| *given != class.preemption) {
        return Err(Refusal::forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {} from the given PriorityClass name",
            class.preemption
        )));
    }
    if !class.name.is_empty() {
        spec.insert("priorityClassName".to_owned(), json!(class.name));
    }
    spec.insert("priority".to_owned(), json!(class.value));
    spec.insert("preemptionPolicy".to_owned(), json!(class.preemption));
    Ok(())
}

/// An update that leaves them out keeps the old values.
pub(super) fn admit_update(pod: &mut Value, old: Option<&Value>) {
    let Some(old_spec) = old.and_then(|old| old.get("spec")) else { return };
    let spec = object::map_mut(pod, "spec");
    for field in ["priority", "preemptionPolicy"] {
        if let (false, Some(value)) = (spec.contains_key(field), old_spec.get(field)) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
}

async fn default_class(lookup: &dyn Lookup) -> Class {
    let classes = match registry::find("scheduling.k8s.io", "v1", "priorityclasses") {
        Some(resource) => lookup.list(resource, "").await,
        None => Vec::new(),
    };
    let defaults = classes.iter().filter(|class| class["globalDefault"] == true).map(|class| Class::of(class));
    // Of several defaults the least counts.
    defaults.min_by_key(|class| class.value).unwrap_or(Class {
        name: String::new(),
        value: 0,
        preemption: PREEMPT.to_owned(),
    })
}

async fn named_class(name: &str, lookup: &dyn Lookup) -> Result<Class, Refusal> {
    if let Some(resource) = registry::find("scheduling.k8s.io", "v1", "priorityclasses")
        && let Some(class) = lookup.get(resource, "", name).await
    {
        return Ok(Class::of(&class));
    }
    let system = SYSTEM_CLASSES.into_iter().find(|(system, _)| *system == name);
    let (_, value) =
        system.ok_or_else(|| Refusal::forbidden(format!("no PriorityClass with name {name} was found")))?;
    Ok(Class { name: name.to_owned(), value, preemption: PREEMPT.to_owned() })
}
