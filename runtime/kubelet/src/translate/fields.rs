//! The downward API: fields and resources of a pod as text, for environment
//! variables and files.

use super::quantity;
use crate::{Capacity, spec};
use k8s_openapi::{
    api::core::v1::{ObjectFieldSelector, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};
use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

/// What a field may tell besides the pod's object, which may not have it yet.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The pod's addresses.
    pub pod_ips: Vec<IpAddr>,
    /// The node's addresses.
    pub host_ips: Vec<String>,
    /// The node, for limits that are not set.
    pub capacity: Capacity,
}

/// The value of a field.
///
/// # Errors
/// When there is no such field.
pub fn field(pod: &Pod, selector: &ObjectFieldSelector, place: &Place) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let joined = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.labels" => pairs(metadata.labels.as_ref()),
        "metadata.annotations" => pairs(metadata.annotations.as_ref()),
        "spec.nodeName" => spec::of(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec::of(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => place.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => place.host_ips.join(","),
        "status.podIP" => joined(&place.pod_ips[..place.pod_ips.len().min(1)]),
        "status.podIPs" => joined(&place.pod_ips),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['key']` → (`metadata.labels`, `key`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// One `key="value"` a line, values quoted as Go quotes them.
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (index, (key, value)) in map.into_iter().flatten().enumerate() {
        let separator = if index == 0 { "" } else { "\n" };
        let _ = write!(text, "{separator}{key}={value:?}"); // writing to a String cannot fail
    }
    text
}

/// The value of a container's resource. A limit that is not set is what the node has.
///
/// # Errors
/// When there is no such container or resource.
pub fn resource(pod: &Pod, own: &str, selector: &ResourceFieldSelector, capacity: &Capacity) -> Result<String, String> {
    let name = selector.container_name.as_deref().unwrap_or(own);
    let (_, container) = spec::container(pod, name).ok_or_else(|| format!("container {name} not found"))?;
    let (list, kind) = selector.resource.split_once('.').unwrap_or((&selector.resource, ""));
    let resources = container.resources.as_ref();
    let set = |map: Option<&BTreeMap<String, Quantity>>| map.and_then(|map| map.get(kind)).and_then(quantity::parse);
    let limit = set(resources.and_then(|resources| resources.limits.as_ref()));
    let amount = match list {
        "limits" => limit.or_else(|| of_node(kind, capacity)),
        "requests" => set(resources.and_then(|resources| resources.requests.as_ref()))
            .or(limit)
            .or_else(|| quantity::parse(&Quantity("0".to_owned()))),
        _ => None,
    };
    let amount = amount.ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let divisor = selector.divisor.as_ref().and_then(quantity::parse).filter(|divisor| divisor.millis() > 0);
    Ok(divisor.map_or_else(|| amount.whole(), |divisor| amount.in_units_of(divisor)).to_string())
}

fn of_node(kind: &str, capacity: &Capacity) -> Option<quantity::Amount> {
    let text = match kind {
        "cpu" => format!("{}m", capacity.cpu_millis),
        "memory" => capacity.memory_bytes.to_string(),
        "ephemeral-storage" => capacity.ephemeral_storage_bytes.to_string(),
        _ => return None,
    };
    quantity::parse(&Quantity(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web", "tier": "a\"b"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "robot", "containers": [
                {"name": "main", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}}]}}))
        .expect("a pod")
    }

    fn read(path: &str) -> Result<String, String> {
        let selector = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
        let pod_ips = vec![[10, 244, 0, 7].into()];
        field(&pod(), &selector, &Place { pod_ips, host_ips: vec!["192.168.0.1".to_owned()], ..Place::default() })
    }

    #[test]
    fn every_field_of_the_downward_api_is_there() {
        for (path, expected) in [
            ("metadata.name", "web"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u1"),
            ("metadata.labels['app']", "web"),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "app=\"web\"\ntier=\"a\\\"b\""),
            ("spec.nodeName", "n1"),
            ("spec.serviceAccountName", "robot"),
            ("status.hostIP", "192.168.0.1"),
            ("status.podIP", "10.244.0.7"),
            ("status.podIPs", "10.244.0.7"),
        ] {
            assert_eq!(read(path).as_deref(), Ok(expected), "{path}");
        }
        assert!(read("spec.nothing").is_err());
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let read = |resource: &str, divisor: Option<&str>| {
            let divisor = divisor.map(|divisor| Quantity(divisor.to_owned()));
            let selector = ResourceFieldSelector { container_name: None, divisor, resource: resource.to_owned() };
            super::resource(&pod(), "main", &selector, &Capacity::default())
        };
        assert_eq!(read("limits.cpu", None).as_deref(), Ok("2"));
        assert_eq!(read("limits.cpu", Some("1m")).as_deref(), Ok("1500"));
        assert_eq!(read("requests.memory", Some("1Mi")).as_deref(), Ok("64"));
        assert_eq!(read("limits.memory", None).as_deref(), Ok("1073741824"));
        assert_eq!(read("requests.cpu", Some("1m")).as_deref(), Ok("1500"));
        assert!(read("limits.bananas", None).is_err());
    }
}
