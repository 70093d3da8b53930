//! A service: its address, its ports, and what is behind it.

use super::{
    super::{Context, name_of, namespace_of},
    page::{self, Page, pairs, text},
};
use crate::resources::query;
use anyhow::Result;
use serde_json::Value;

/// The EndpointSlices of a service.
pub(super) async fn slices(context: &Context, service: &Value) -> Result<Vec<Value>> {
    let selector = format!("kubernetes.io/service-name={}", name_of(service));
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", namespace_of(service));
    let mut list = context.rest.get(&format!("{path}{}", query(&[("labelSelector", &selector)]))).await?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

pub(super) fn describe(page: &mut Page, service: &Value, slices: &[Value]) {
    let spec = &service["spec"];
    page::metadata(page, service);
    page::labels(page, service);
    page.line(
        0,
        "Selector",
        Some(pairs(&spec["selector"], "=").join(","))
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "<none>".to_owned()),
    );
    page.line(0, "Type", text(&spec["type"]));
    if !spec["ipFamilyPolicy"].is_null() {
        page.line(0, "IP Family Policy", text(&spec["ipFamilyPolicy"]));
    }
    page.line(0, "IP Families", list(&spec["ipFamilies"]));
    page.line(0, "IP", spec["clusterIP"].as_str().unwrap_or_default());
    page.line(0, "IPs", list(&spec["clusterIPs"]));
    if !spec["externalName"].is_null() {
        page.line(0, "External Name", text(&spec["externalName"]));
    }
    for port in spec["ports"].as_array().into_iter().flatten() {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let name = port["name"].as_str().unwrap_or("<unset>");
        page.line(0, "Port", format!("{name}  {}/{protocol}", text(&port["port"])));
        page.line(0, "TargetPort", format!("{}/{protocol}", text(&port["targetPort"])));
        if port["nodePort"].as_i64().is_some_and(|number| number != 0) {
            page.line(0, "NodePort", format!("{name}  {}/{protocol}", text(&port["nodePort"])));
        }
        page.line(0, "Endpoints", endpoints(slices, port));
    }
    page.line(0, "Session Affinity", text(&spec["sessionAffinity"]));
    if !spec["internalTrafficPolicy"].is_null() {
        page.line(0, "Internal Traffic Policy", text(&spec["internalTrafficPolicy"]));
    }
}

fn list(values: &Value) -> String {
    let values: Vec<String> = values.as_array().into_iter().flatten().map(text).collect();
    if values.is_empty() { "<none>".to_owned() } else { values.join(",") }
}

/// Addresses kubectl shows before it says how many more there are.
const SHOWN_MAX: usize = 3;

/// The ready addresses of a port.
fn endpoints(slices: &[Value], port: &Value) -> String {
    let mut addresses = Vec::new();
    for slice in slices {
        let same = |candidate: &&Value| {
            candidate["name"].as_str().unwrap_or_default() == port["name"].as_str().unwrap_or_default()
        };
        let Some(number) = slice["ports"].as_array().into_iter().flatten().find(same).map(|port| text(&port["port"]))
        else {
            continue;
        };
        let ready = slice["endpoints"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|endpoint| endpoint["conditions"]["ready"] != false);
        addresses.extend(
            ready
                .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
                .map(|address| format!("{}:{number}", text(address))),
        );
    }
    match addresses.len() {
        0 => String::new(),
        count if count > SHOWN_MAX => format!("{} + {} more...", addresses[..SHOWN_MAX].join(","), count - SHOWN_MAX),
        _ => addresses.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_ready_addresses_of_the_port_are_shown() {
        let slice = json!({"ports": [{"name": "http", "port": 8080}], "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}]});
        assert_eq!(endpoints(std::slice::from_ref(&slice), &json!({"name": "http"})), "10.0.0.1:8080");
        assert_eq!(endpoints(&[slice], &json!({"name": "other"})), "");
    }
}
