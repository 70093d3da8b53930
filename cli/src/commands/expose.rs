//! `wk expose`: a Service in front of what an object's pods serve (upstream:
//! `kubectl/pkg/cmd/expose`).

use super::{
    Context, apply,
    report::Reporter,
    run::pairs,
    select::{self, Found, Unnamed},
};
use crate::{
    args::{Choice, Expose},
    resources::ResourceType,
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

/// Upstream's bound on a Service's name.
const NAME_BYTES_MAX: usize = 63;

pub(super) async fn run(context: &Context, args: &Expose) -> Result<()> {
    let discovery = context.discovery().await?;
    let services = discovery.find("services")?;
    // The selector is the Service's here, not a choice of objects.
    let choice = Choice { selector: None, ..args.choice.clone() };
    let selected = select::select(context, &choice.target, &choice, Unnamed::Refused).await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        failures.extend(expose(context, args, services, found, &mut reporter).await.err());
    }
    apply::first_failure(failures)
}

async fn expose(
    context: &Context,
    args: &Expose,
    services: &ResourceType,
    found: &Found,
    reporter: &mut Reporter,
) -> Result<()> {
    let created = context.create(services, service(args, found)?, &args.change, "expose").await?;
    reporter.done(services, &created, "exposed")
}

fn service(args: &Expose, found: &Found) -> Result<Value> {
    let name = args.name.clone().unwrap_or_else(|| found.name().chars().take(NAME_BYTES_MAX).collect());
    let labels = match &args.labels {
        Some(text) => map(text, "label")?,
        None => found.object["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
    };
    let mut spec = json!({ "selector": selector(args, found)? });
    let ports = ports(args, found)?;
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    let fields =
        [("type", &args.service_type), ("clusterIP", &args.cluster_ip), ("sessionAffinity", &args.session_affinity)];
    for (field, value) in fields {
        if let Some(value) = value {
            spec[field] = value.clone().into();
        }
    }
    if let Some(address) = &args.external_ip {
        spec["externalIPs"] = json!([address]);
    }
    let mut metadata = json!({"creationTimestamp": null, "name": name});
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    Ok(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}),
    )
}

fn map(text: &str, what: &str) -> Result<Map<String, Value>> {
    let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
    Ok(pairs(&parts, what)?.into_iter().map(|(key, value)| (key, value.into())).collect())
}

fn selector(args: &Expose, found: &Found) -> Result<Map<String, Value>> {
    if let Some(text) = &args.choice.selector {
        return map(text, "selector");
    }
    let object = &found.object;
    let labels = match found.resource.kind.as_str() {
        "Pod" => &object["metadata"]["labels"],
        "Service" | "ReplicationController" => &object["spec"]["selector"],
        "Deployment" | "ReplicaSet" => &object["spec"]["selector"]["matchLabels"],
        kind => bail!("cannot expose a {kind}"),
    };
    if object["spec"]["selector"]["matchExpressions"].as_array().is_some_and(|rules| !rules.is_empty()) {
        bail!(
            "couldn't retrieve selectors via --selector flag or introspection: couldn't convert expressions - \"{}\" to map-based selector format",
            super::label_selector(&object["spec"]["selector"])
        );
    }
    let none = "couldn't retrieve selectors via --selector flag or introspection: the object has no labels and cannot be exposed";
    labels.as_object().filter(|labels| !labels.is_empty()).cloned().context(none)
}

/// The Service's ports: the typed one, else those that the object has.
fn ports(args: &Expose, found: &Found) -> Result<Vec<Value>> {
    let own = own_ports(found);
    let numbers: Vec<(u16, Option<String>)> = match &args.port {
        Some(text) => {
            let parse = |part: &str| {
                let number = part.parse().with_context(|| format!("invalid port {part:?}"))?;
                Ok((number, own.iter().find(|(port, _)| *port == number).and_then(|(_, protocol)| protocol.clone())))
            };
            text.split(',').map(parse).collect::<Result<_>>()?
        }
        None if own.is_empty() && args.cluster_ip.as_deref() != Some("None") => {
            bail!("couldn't find port via --port flag or introspection")
        }
        None => own,
    };
    let several = numbers.len() > 1;
    let port = |(index, (number, protocol)): (usize, (u16, Option<String>))| {
        let protocol = args.protocol.clone().or(protocol).unwrap_or_else(|| "TCP".to_owned());
        let target = args.target_port.as_deref().map_or_else(|| number.into(), number_or_name);
        let mut port = json!({"port": number, "protocol": protocol, "targetPort": target});
        if several {
            port["name"] = format!("port-{}", index + 1).into();
        }
        port
    };
    Ok(numbers.into_iter().enumerate().map(port).collect())
}

fn number_or_name(text: &str) -> Value {
    text.parse::<u16>().map_or_else(|_| text.into(), Value::from)
}

/// The ports of an object's containers, or of a Service, with their protocols.
fn own_ports(found: &Found) -> Vec<(u16, Option<String>)> {
    let spec = &found.object["spec"];
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let read = |port: &Value, field: &str| Some((number(&port[field])?, port["protocol"].as_str().map(str::to_owned)));
    if found.resource.kind == "Service" {
        return spec["ports"].as_array().into_iter().flatten().filter_map(|port| read(port, "port")).collect();
    }
    let pod = if found.resource.kind == "Pod" { spec } else { &spec["template"]["spec"] };
    let containers = pod["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.filter_map(|port| read(port, "containerPort")).collect()
}
