//! Which container a command means (upstream: `kubectl/pkg/cmd/util/podcmd`).

use super::{name_of, namespace_of};
use anyhow::{Result, bail};
use serde_json::Value;
use std::io::Write;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Whether a choice made for the user is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    Aloud,
    Quiet,
}

/// The named container, else the one of the annotation, else the first.
///
/// # Errors
/// The pod has no such container.
pub(super) fn container<'a>(pod: &'a Value, name: Option<&str>, telling: Telling) -> Result<&'a Value> {
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    if let Some(name) = name.or(annotated) {
        let found = all(pod).into_iter().find(|(container, _)| container["name"] == name);
        let Some((container, _)) = found else {
            bail!("container {name} is not valid for pod {} out of: {}", name_of(pod), names(pod))
        };
        return Ok(container);
    }
    let containers = all(pod);
    let Some((first, _)) = containers.first().filter(|(_, mark)| mark.is_empty()) else {
        bail!("pod {}/{} does not have any containers", namespace_of(pod), name_of(pod))
    };
    if containers.len() > 1 && telling == Telling::Aloud {
        let name = first["name"].as_str().unwrap_or_default();
        writeln!(std::io::stderr(), "Defaulted container {name:?} out of: {}", names(pod))?;
    }
    Ok(first)
}

fn all(pod: &Value) -> Vec<(&Value, &'static str)> {
    let lists = [("containers", ""), ("ephemeralContainers", " (ephem)"), ("initContainers", " (init)")];
    let of = |(list, mark): (&str, &'static str)| {
        let containers = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
        containers.iter().map(move |container| (container, mark)).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

fn names(pod: &Value) -> String {
    let name = |(container, mark): (&Value, &str)| format!("{}{mark}", container["name"].as_str().unwrap_or_default());
    all(pod).into_iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_annotation_decides_then_the_order() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "c"}]}});
        let chosen =
            |pod: &Value, name| container(pod, name, Telling::Quiet).map(|container| container["name"].clone());
        assert_eq!(chosen(&pod, None).expect("the first"), "a");
        assert_eq!(chosen(&pod, Some("c")).expect("by name"), "c");
        let error = chosen(&pod, Some("x")).expect_err("no such container").to_string();
        assert_eq!(error, "container x is not valid for pod p out of: a, b, c (init)");
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(chosen(&pod, None).expect("annotated"), "b");
    }
}
