//! A container's environment: services, `envFrom`, `env`, in upstream's order,
//! later ones winning.

use super::{
    expand,
    fields::{self, Place},
};
use crate::{objects::References, spec};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Container, EnvVarSource, Pod, Service},
};
use std::{collections::BTreeMap, sync::Arc};

/// The environment of a container.
///
/// # Errors
/// A message for `CreateContainerConfigError` when something it refers to is missing.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    references: &References,
    services: &[Arc<Service>],
    place: &Place,
) -> Result<Vec<(String, String)>, String> {
    let mut result: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut set = |name: String, value: String, result: &mut BTreeMap<String, String>| {
        if result.insert(name.clone(), value).is_none() {
            order.push(name);
        }
    };
    for (name, value) in from_sources(container, references)? {
        set(name, value, &mut result);
    }
    let from_services = for_services(services, spec::namespace(pod), spec::of(pod).enable_service_links != Some(false));
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(source)) => match from_source(pod, container, source, references, place)? {
                Some(value) => value,
                None => continue, // optional and missing
            },
            (value, None) => {
                let known = |name: &str| result.get(name).or_else(|| from_services.get(name)).map(String::as_str);
                expand::expand(value.as_deref().unwrap_or_default(), known)
            }
        };
        set(variable.name.clone(), value, &mut result);
    }
    // What the pod sets itself wins over services of the same name.
    let services = from_services.into_iter().filter(|(name, _)| !result.contains_key(name)).collect::<Vec<_>>();
    let own = order.into_iter().filter_map(|name| result.get(&name).map(|value| (name.clone(), value.clone())));
    Ok(own.chain(services).collect())
}

fn from_sources(container: &Container, references: &References) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut add = |name: &str, value: String| variables.push((format!("{prefix}{name}"), value));
        if let Some(reference) = &source.config_map_ref {
            match references.config_map(&reference.name) {
                Some(found) => found.data.iter().flatten().for_each(|(name, value)| add(name, value.clone())),
                None if reference.optional == Some(true) => {}
                None => return Err(missing("configmap", &reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match references.secret(&reference.name) {
                Some(found) => found.data.iter().flatten().for_each(|(name, value)| add(name, text(value))),
                None if reference.optional == Some(true) => {}
                None => return Err(missing("secret", &reference.name)),
            }
        }
    }
    Ok(variables)
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    references: &References,
    place: &Place,
) -> Result<Option<String>, String> {
    let namespace = spec::namespace(pod);
    if let Some(selector) = &source.field_ref {
        return fields::field(pod, selector, place).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return fields::resource(pod, &container.name, selector, &place.capacity).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let found = references.config_map(&selector.name);
        let value = found.as_ref().and_then(|found| found.data.as_ref()?.get(&selector.key).cloned());
        return match (value, selector.optional == Some(true), found.is_some()) {
            (Some(value), _, _) => Ok(Some(value)),
            (None, true, _) => Ok(None),
            (None, false, false) => Err(missing("configmap", &selector.name)),
            (None, false, true) => Err(missing_key(&selector.key, "ConfigMap", namespace, &selector.name)),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let found = references.secret(&selector.name);
        let value = found.as_ref().and_then(|found| found.data.as_ref()?.get(&selector.key).map(text));
        return match (value, selector.optional == Some(true), found.is_some()) {
            (Some(value), _, _) => Ok(Some(value)),
            (None, true, _) => Ok(None),
            (None, false, false) => Err(missing("secret", &selector.name)),
            (None, false, true) => Err(missing_key(&selector.key, "Secret", namespace, &selector.name)),
        };
    }
    Ok(Some(String::new()))
}

fn missing(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} not found")
}

fn missing_key(key: &str, kind: &str, namespace: &str, name: &str) -> String {
    format!("couldn't find key {key} in {kind} {namespace}/{name}")
}

fn text(bytes: &ByteString) -> String {
    String::from_utf8_lossy(&bytes.0).into_owned()
}

/// Variables for services in the form that Docker links had
/// (upstream: `pkg/kubelet/envvars`). Without links, only for the API server's.
fn for_services(services: &[Arc<Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let is_master = |service: &Service| {
        service.metadata.namespace.as_deref() == Some("default")
            && service.metadata.name.as_deref() == Some("kubernetes")
    };
    let local = |service: &Service| links && service.metadata.namespace.as_deref() == Some(namespace);
    // The API server's last: a namespace's own service "kubernetes" wins over it.
    let (own, masters): (Vec<_>, Vec<_>) = services.iter().partition(|service| local(service) && !is_master(service));
    let masters = masters.into_iter().filter(|service| is_master(service));
    for service in masters.chain(own) {
        variables.extend(for_service(service));
    }
    variables
}

fn for_service(service: &Service) -> Vec<(String, String)> {
    let name = service.metadata.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
    let Some(spec) = &service.spec else { return Vec::new() };
    let address = match spec.cluster_ip.as_deref() {
        Some(address) if !address.is_empty() && address != "None" => address,
        _ => return Vec::new(),
    };
    let Some(first) = spec.ports.iter().flatten().next() else { return Vec::new() };
    let mut variables = vec![
        (format!("{name}_SERVICE_HOST"), address.to_owned()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in spec.ports.iter().flatten() {
        if let Some(port_name) = port.name.as_deref().filter(|port_name| !port_name.is_empty()) {
            let port_name = port_name.to_uppercase().replace('-', "_");
            variables.push((format!("{name}_SERVICE_PORT_{port_name}"), port.port.to_string()));
        }
    }
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{}", protocol.to_lowercase(), host_port(address, port.port));
        if index == 0 {
            variables.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{prefix}_ADDR"), address.to_owned()));
        variables.push((prefix, url));
    }
    variables
}

fn host_port(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Reference;
    use serde_json::{Value, json};

    fn pod(container: Value) -> Pod {
        let spec = json!({"containers": [container]});
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})).expect("a pod")
    }

    fn references() -> References {
        let config_map = json!({"metadata": {"name": "cm"}, "data": {"color": "blue", "size": "9"}});
        let secret = json!({"metadata": {"name": "s"}, "data": {"password": "aHVzaA=="}});
        References {
            config_maps: [("cm".to_owned(), Reference::fixed(serde_json::from_value(config_map).ok()))].into(),
            secrets: [("s".to_owned(), Reference::fixed(serde_json::from_value(secret).ok()))].into(),
        }
    }

    fn service(namespace: &str, name: &str, address: &str) -> Arc<Service> {
        let ports = json!([{"name": "https-x", "port": 443}, {"port": 53, "protocol": "UDP"}]);
        let value = json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": address, "ports": ports}});
        Arc::new(serde_json::from_value(value).expect("a service"))
    }

    fn env_with(container: Value, services: &[Arc<Service>]) -> Result<BTreeMap<String, String>, String> {
        let pod = pod(container);
        let container = &spec::of(&pod).containers[0];
        Ok(resolve(&pod, container, &references(), services, &Place::default())?.into_iter().collect())
    }

    fn env(container: Value) -> Result<BTreeMap<String, String>, String> {
        env_with(container, &[])
    }

    #[test]
    fn values_expand_what_came_before_them() {
        let env = env(json!({"name": "m", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2$(C)"},
            {"name": "C", "value": "3"}]}))
        .expect("an environment");
        assert_eq!(env["B"], "12$(C)");
    }

    #[test]
    fn sources_are_prefixed_and_env_wins_over_them() {
        let env = env(json!({"name": "m", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}},
            {"configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}], "env": [{"name": "color", "value": "red"}]}))
        .expect("an environment");
        assert_eq!((env["P_color"].as_str(), env["color"].as_str(), env["size"].as_str()), ("blue", "red", "9"));
        assert_eq!(env["password"], "hush");
    }

    #[test]
    fn keys_and_fields_are_read() {
        let env = env(json!({"name": "m", "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "color"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "none", "optional": true}}}]}))
        .expect("an environment");
        assert_eq!((env["A"].as_str(), env["B"].as_str(), env["C"].as_str()), ("blue", "hush", "web"));
        assert!(!env.contains_key("D"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let key = |source: Value| {
            env(json!({"name": "m", "env": [{"name": "A", "valueFrom": source}]})).expect_err("missing")
        };
        assert_eq!(key(json!({"configMapKeyRef": {"name": "no", "key": "k"}})), "configmap \"no\" not found");
        assert_eq!(key(json!({"secretKeyRef": {"name": "no", "key": "k"}})), "secret \"no\" not found");
        assert_eq!(
            key(json!({"configMapKeyRef": {"name": "cm", "key": "k"}})),
            "couldn't find key k in ConfigMap shop/cm"
        );
        assert_eq!(key(json!({"secretKeyRef": {"name": "s", "key": "k"}})), "couldn't find key k in Secret shop/s");
        let from = json!({"name": "m", "envFrom": [{"configMapRef": {"name": "no"}}]});
        assert_eq!(env(from), Err("configmap \"no\" not found".to_owned()));
        assert!(env(json!({"name": "m", "envFrom": [{"secretRef": {"name": "no", "optional": true}}]})).is_ok());
    }

    #[test]
    fn services_of_the_namespace_and_the_api_server_are_there() {
        let services = [
            service("default", "kubernetes", "10.96.0.1"),
            service("shop", "my-db", "10.96.0.7"),
            service("other", "x", "10.96.0.8"),
            service("shop", "headless", "None"),
        ];
        let env = env_with(json!({"name": "m", "env": [{"name": "A", "value": "$(MY_DB_SERVICE_HOST)"}]}), &services)
            .expect("an environment");
        for (name, expected) in [
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS_X", "443"),
            ("KUBERNETES_PORT", "tcp://10.96.0.1:443"),
            ("KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443"),
            ("KUBERNETES_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_443_TCP_ADDR", "10.96.0.7"),
            ("A", "10.96.0.7"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(expected), "{name}");
        }
        assert!(env.keys().all(|name| !name.starts_with("X_") && !name.starts_with("HEADLESS")));
    }

    #[test]
    fn without_links_only_the_api_server_is_there() {
        let services = [service("default", "kubernetes", "10.96.0.1"), service("shop", "db", "10.96.0.7")];
        let variables = for_services(&services, "shop", false);
        assert!(variables.contains_key("KUBERNETES_SERVICE_HOST") && !variables.contains_key("DB_SERVICE_HOST"));
    }
}
