//! What a client is told about a pod that is accepted but will not do what its
//! author may think (upstream: `pkg/api/pod/warnings.go`).

use crate::object;
use serde_json::Value;

/// Volume kinds with their warnings.
const OLD_VOLUMES: [(&str, &str); 6] = [
    ("gitRepo", "deprecated in v1.11"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about the spec at `path`.
pub fn of_spec(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, volume) in object::list_at(spec, "volumes").iter().enumerate() {
        let old = OLD_VOLUMES.iter().filter(|(kind, _)| volume[*kind].is_object());
        warnings.extend(old.map(|(kind, text)| format!("{path}.volumes[{index}].{kind}: {text}")));
    }
    for field in ["initContainers", "containers"] {
        for (index, container) in object::list_at(spec, field).iter().enumerate() {
            duplicate_env(container, &format!("{path}.{field}[{index}]"), &mut warnings);
        }
    }
    warnings
}

fn duplicate_env(container: &Value, path: &str, warnings: &mut Vec<String>) {
    let variables = object::list_at(container, "env");
    for (index, variable) in variables.iter().enumerate() {
        let name = object::str_at(variable, "name");
        // A later value may be built from an earlier one.
        let refers = object::str_at(variable, "value").contains(&format!("$({name})"));
        if !refers && variables[..index].iter().any(|earlier| earlier["name"] == name) {
            warnings.push(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn old_volumes_and_hidden_variables_are_named() {
        let spec = json!({"volumes": [{"gitRepo": {}}],
            "containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]});
        assert_eq!(
            of_spec(&spec, "spec"),
            [
                "spec.volumes[0].gitRepo: deprecated in v1.11",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            ]
        );
    }
}
