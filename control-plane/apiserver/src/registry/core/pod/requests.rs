//! What a pod asks for as a whole: the sum of its containers, or its biggest
//! initialization, whichever is more (upstream: `component-helpers/resource`).
//! Used by the admission that bounds pods and namespaces.

use super::resources::parse;
use crate::{object, schema::Quantity};
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// What a map of amounts says; what is no amount is left out.
pub fn amounts(map: &Value) -> Amounts {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(name, amount)| Some((name.clone(), parse(amount)?))).collect()
}

/// The pod's `requests` or `limits`.
pub fn of_pod(spec: &Value, kind: &str) -> Amounts {
    let mut sum = Amounts::new();
    for container in object::list_at(spec, "containers") {
        add(&mut sum, &amounts(&container["resources"][kind]));
    }
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for container in object::list_at(spec, "initContainers") {
        let own = amounts(&container["resources"][kind]);
        let mut at_once = sidecars.clone();
        add(&mut at_once, &own);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            sidecars = at_once.clone();
        }
        raise(&mut most, &at_once);
    }
    raise(&mut sum, &most);
    let overhead = amounts(&spec["overhead"]);
    // A limit that is not there is not made by what the runtime takes.
    let counts = |name: &String| kind == "requests" || sum.contains_key(name);
    let overhead = overhead.into_iter().filter(|(name, _)| counts(name)).collect();
    add(&mut sum, &overhead);
    sum
}

/// Adds amount by amount.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_insert(Quantity::ZERO);
        *known = known.plus(*amount);
    }
}

fn raise(most: &mut Amounts, others: &Amounts) {
    for (name, amount) in others {
        let known = most.entry(name.clone()).or_insert(*amount);
        *known = (*known).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn initialization_counts_when_it_needs_more() {
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = asks("100m");
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({"containers": [asks("1"), asks("500m")], "initContainers": [sidecar, asks("3")],
                          "overhead": {"cpu": "10m"}});
        assert_eq!(of_pod(&spec, "requests")["cpu"].to_string(), "3110m");
        let small = json!({"containers": [asks("1"), asks("500m")], "initContainers": [sidecar, asks("1")]});
        assert_eq!(of_pod(&small, "requests")["cpu"].to_string(), "1600m");
        assert!(of_pod(&spec, "limits").is_empty());
    }
}
