//! Services and Ingresses from flags.

use super::{bare, number_or_text};
use crate::args::{CreateIngress, CreateNamed, CreatePorts, CreateService};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

pub(super) fn named(args: &CreateService) -> &CreateNamed {
    &ports_of(args).named
}

fn ports_of(args: &CreateService) -> &CreatePorts {
    match args {
        CreateService::Clusterip { ports, .. }
        | CreateService::Nodeport { ports, .. }
        | CreateService::Loadbalancer { ports }
        | CreateService::Externalname { ports, .. } => ports,
    }
}

pub(super) fn service(args: &CreateService) -> Result<Value> {
    let named = named(args);
    let mut service = bare("v1", "Service", named);
    service["metadata"]["labels"] = json!({"app": named.name});
    let mut ports = ports_of(args).tcp.iter().map(|text| port(text)).collect::<Result<Vec<_>>>()?;
    let mut spec = json!({"selector": {"app": named.name}});
    let mut needs_ports = true;
    let kind = match args {
        CreateService::Clusterip { clusterip, .. } => {
            if let Some(address) = clusterip {
                spec["clusterIP"] = address.clone().into();
            }
            needs_ports = clusterip.as_deref() != Some("None");
            "ClusterIP"
        }
        CreateService::Nodeport { node_port, .. } => {
            if *node_port > 0 {
                ports.iter_mut().for_each(|port| port["nodePort"] = (*node_port).into());
            }
            "NodePort"
        }
        CreateService::Loadbalancer { .. } => "LoadBalancer",
        CreateService::Externalname { external_name, .. } => {
            spec["externalName"] = external_name.clone().into();
            needs_ports = false;
            "ExternalName"
        }
    };
    if ports.is_empty() && needs_ports {
        bail!("at least one tcp port specifier must be provided");
    }
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    spec["type"] = kind.into();
    service["spec"] = spec;
    service["status"] = json!({"loadBalancer": {}});
    Ok(service)
}

/// `PORT` or `PORT:TARGET`; kubectl names it after what was typed.
fn port(text: &str) -> Result<Value> {
    let (port, target) = text.split_once(':').unwrap_or((text, text));
    let number: u16 = port.parse().with_context(|| format!("invalid port number {port:?}"))?;
    let name = text.replace(':', "-");
    Ok(json!({"name": name, "port": number, "protocol": "TCP", "targetPort": number_or_text(target)}))
}

pub(super) fn ingress(args: &CreateIngress) -> Result<Value> {
    let mut ingress = bare("networking.k8s.io/v1", "Ingress", &args.named);
    if args.rule.is_empty() && args.default_backend.is_none() {
        bail!(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)"
        );
    }
    if !args.annotation.is_empty() {
        let pairs = crate::commands::run::pairs(&args.annotation, "annotation")?;
        let map: Map<String, Value> = pairs.into_iter().map(|(key, value)| (key, value.into())).collect();
        ingress["metadata"]["annotations"] = map.into();
    }
    let mut spec = json!({});
    if let Some(class) = &args.class {
        spec["ingressClassName"] = class.clone().into();
    }
    if let Some(default) = &args.default_backend {
        spec["defaultBackend"] = backend(default)?;
    }
    let (mut rules, mut tls): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for text in &args.rule {
        add_rule(text, &mut rules, &mut tls)?;
    }
    for (field, list) in [("rules", rules), ("tls", tls)] {
        if !list.is_empty() {
            spec[field] = list.into();
        }
    }
    ingress["spec"] = spec;
    ingress["status"] = json!({"loadBalancer": {}});
    Ok(ingress)
}

/// `HOST/PATH=SERVICE:PORT[,tls[=SECRET]]`; rules of one host are one.
fn add_rule(text: &str, rules: &mut Vec<Value>, tls: &mut Vec<Value>) -> Result<()> {
    let invalid = || format!("rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]");
    let (rule, secret) = match text.split_once(",tls") {
        Some((rule, secret)) => (rule, Some(secret.trim_start_matches('='))),
        None => (text, None),
    };
    let (place, service) = rule.split_once('=').with_context(invalid)?;
    let (host, path) = place.split_once('/').with_context(invalid)?;
    let (path, kind) = match path.strip_suffix('*') {
        Some(prefix) => (format!("/{prefix}"), "Prefix"),
        None => (format!("/{path}"), "Exact"),
    };
    let path = json!({"path": path, "pathType": kind, "backend": backend(service)?});
    match rules.iter_mut().find(|rule| rule["host"].as_str().unwrap_or_default() == host) {
        Some(rule) => rule["http"]["paths"].as_array_mut().context("a rule has paths")?.push(path),
        None if host.is_empty() => rules.push(json!({"http": {"paths": [path]}})),
        None => rules.push(json!({"host": host, "http": {"paths": [path]}})),
    }
    if let Some(secret) = secret {
        let mut entry = json!({});
        if !host.is_empty() {
            entry["hosts"] = json!([host]);
        }
        if !secret.is_empty() {
            entry["secretName"] = secret.into();
        }
        tls.push(entry);
    }
    Ok(())
}

fn backend(text: &str) -> Result<Value> {
    let (name, port) =
        text.split_once(':').with_context(|| format!("invalid backend {text}, expected service:port"))?;
    let port = match number_or_text(port) {
        Value::String(name) => json!({ "name": name }),
        number => json!({ "number": number }),
    };
    Ok(json!({"service": {"name": name, "port": port}}))
}

#[cfg(test)]
mod tests {
    use super::super::tests::made;
    use serde_json::json;

    #[test]
    fn services_have_ports_and_a_type() {
        let service = made("create service nodeport web --tcp 80:http --node-port 30080").expect("valid");
        let port = json!({"name": "80-http", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30080});
        let expected = json!({"selector": {"app": "web"}, "type": "NodePort", "ports": [port]});
        assert_eq!(service["spec"], expected);
        assert!(made("create service clusterip web").is_err());
        assert!(made("create service clusterip web --clusterip None").is_ok());
        let outside = made("create svc externalname db --external-name db.example.org").expect("valid");
        assert_eq!(outside["spec"]["externalName"], "db.example.org");
    }

    #[test]
    fn rules_of_one_host_are_one() {
        let ingress =
            made("create ingress web --rule a.org/x*=web:80,tls=cert --rule a.org/y=web:http").expect("valid");
        let rules = ingress["spec"]["rules"].as_array().expect("rules");
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0]["http"]["paths"][0]["pathType"], "Prefix");
        assert_eq!(rules[0]["http"]["paths"][1]["backend"]["service"]["port"], json!({"name": "http"}));
        assert_eq!(ingress["spec"]["tls"], json!([{"hosts": ["a.org"], "secretName": "cert"}]));
        assert!(made("create ingress web").is_err());
    }
}
