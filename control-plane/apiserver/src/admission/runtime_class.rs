//! Gives a pod what its runtime class adds: overhead, node selector,
//! tolerations (upstream: `RuntimeClass`).

use super::{Lookup, Refusal};
use crate::object;
use crate::registry;
use serde_json::{Value, json};

pub(super) async fn admit(pod: &mut Value, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let name = object::str_at(pod, "spec.runtimeClassName");
    let class = match (name, registry::find("node.k8s.io", "v1", "runtimeclasses")) {
        ("", _) => None,
        (name, Some(resource)) => Some(lookup.get(resource, "", name).await.ok_or_else(|| missing(name))?),
        (name, None) => return Err(missing(name)),
    };
    let class = class.as_deref().unwrap_or(&Value::Null);
    set_overhead(pod, &class["overhead"]["podFixed"])?;
    add_node_selector(pod, &class["scheduling"]["nodeSelector"])?;
    add_tolerations(pod, object::list_at(class, "scheduling.tolerations"));
    Ok(())
}

fn missing(name: &str) -> Refusal {
    Refusal::forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))
}

fn set_overhead(pod: &mut Value, overhead: &Value) -> Result<(), Refusal> {
    let given = pod["spec"].get("overhead").filter(|given| given.as_object().is_some_and(|given| !given.is_empty()));
    match (given, overhead.is_null()) {
        (None, true) => {}
        (None, false) => drop(object::map_mut(pod, "spec").insert("overhead".to_owned(), overhead.clone())),
        (Some(given), false) if given == overhead => {}
        (Some(_), false) => {
            return Err(Refusal::forbidden(
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
            ));
        }
        (Some(_), true) => {
            let message = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(Refusal::forbidden(message));
        }
    }
    Ok(())
}

fn add_node_selector(pod: &mut Value, selector: &Value) -> Result<(), Refusal> {
    for (key, value) in selector.as_object().into_iter().flatten() {
        let labels = object::map_mut(pod, "spec").entry("nodeSelector").or_insert_with(|| json!({}));
        if let Some(own) = labels.get(key).filter(|own| *own != value) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(Refusal::forbidden(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            )));
        }
        labels[key] = value.clone();
    }
    Ok(())
}

fn add_tolerations(pod: &mut Value, tolerations: &[Value]) {
    for toleration in tolerations.iter().filter(|toleration| toleration.is_object()) {
        let own = object::list_mut(object::map_mut(pod, "spec"), "tolerations");
        if !own.contains(toleration) {
            own.push(toleration.clone());
        }
    }
}
