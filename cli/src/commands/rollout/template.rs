//! A pod template as `rollout history --revision` shows it: kubectl's
//! description with its tabs left as they are.

use crate::commands::describe::{pairs, text as value_text};
use serde_json::Value;
use std::fmt::Write;

/// The lines, each with its newline.
pub(super) fn text(template: &Value) -> String {
    let mut out = String::from("Pod Template:\n");
    map(&mut out, "  Labels", &template["metadata"]["labels"], "=");
    if template["metadata"]["annotations"].as_object().is_some_and(|map| !map.is_empty()) {
        map(&mut out, "  Annotations", &template["metadata"]["annotations"], ": ");
    }
    let spec = &template["spec"];
    if let Some(account) = spec["serviceAccountName"].as_str() {
        let _ = writeln!(out, "  Service Account:\t{account}");
    }
    for (heading, field) in [("Init Containers", "initContainers"), ("Containers", "containers")] {
        let containers = spec[field].as_array().map(Vec::as_slice).unwrap_or_default();
        if field == "containers" || !containers.is_empty() {
            let _ = writeln!(out, "  {heading}:");
            containers.iter().for_each(|one| container(&mut out, one));
        }
    }
    volumes(&mut out, &spec["volumes"]);
    map(&mut out, "  Node-Selectors", &spec["nodeSelector"], "=");
    let tolerations = crate::commands::describe::tolerations(&spec["tolerations"]);
    lines(&mut out, "  Tolerations", &tolerations);
    out
}

fn map(out: &mut String, label: &str, value: &Value, separator: &str) {
    lines(out, label, &pairs(value, separator));
}

fn lines(out: &mut String, label: &str, values: &[String]) {
    let (first, rest) = values.split_first().map_or(("<none>", &[][..]), |(first, rest)| (first.as_str(), rest));
    let _ = writeln!(out, "{label}:\t{first}");
    for line in rest {
        let _ = writeln!(out, "\t{line}");
    }
}

fn container(out: &mut String, container: &Value) {
    let _ = writeln!(out, "   {}:", value_text(&container["name"]));
    let _ = writeln!(out, "    Image:\t{}", value_text(&container["image"]));
    ports(out, &container["ports"]);
    for (label, field) in [("Command", "command"), ("Args", "args")] {
        if let Some(words) = container[field].as_array() {
            let _ = writeln!(out, "    {label}:");
            for word in words {
                let _ = writeln!(out, "      {}", value_text(word));
            }
        }
    }
    for (label, field) in [("Limits", "limits"), ("Requests", "requests")] {
        if let Some(amounts) = container["resources"][field].as_object().filter(|amounts| !amounts.is_empty()) {
            let _ = writeln!(out, "    {label}:");
            for (name, amount) in amounts {
                let _ = writeln!(out, "      {name}:\t{}", value_text(amount));
            }
        }
    }
    environment(out, &container["env"]);
    let mounts = container["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if mounts.is_empty() {
        out.push_str("    Mounts:\t<none>\n");
    } else {
        out.push_str("    Mounts:\n");
    }
    for mount in mounts {
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        let _ = writeln!(out, "      {} from {} ({mode})", value_text(&mount["mountPath"]), value_text(&mount["name"]));
    }
}

fn ports(out: &mut String, ports: &Value) {
    let ports = ports.as_array().map(Vec::as_slice).unwrap_or_default();
    let list = |field: &str| {
        let number = |port: &Value| port[field].as_i64().unwrap_or(0);
        let one = |port: &Value| format!("{}/{}", number(port), port["protocol"].as_str().unwrap_or("TCP"));
        let all: Vec<String> = ports.iter().map(one).collect();
        if all.is_empty() { "<none>".to_owned() } else { all.join(", ") }
    };
    let plural = if ports.len() > 1 { "s" } else { "" };
    let _ = writeln!(out, "    Port{plural}:\t{}\n    Host Port{plural}:\t{}", list("containerPort"), list("hostPort"));
}

fn environment(out: &mut String, env: &Value) {
    let env = env.as_array().map(Vec::as_slice).unwrap_or_default();
    if env.is_empty() {
        out.push_str("    Environment:\t<none>\n");
        return;
    }
    out.push_str("    Environment:\n");
    for variable in env {
        let name = value_text(&variable["name"]);
        let _ = writeln!(out, "      {name}:\t{}", crate::commands::describe::value_of(variable));
    }
}

fn volumes(out: &mut String, volumes: &Value) {
    let volumes = volumes.as_array().map(Vec::as_slice).unwrap_or_default();
    if volumes.is_empty() {
        out.push_str("  Volumes:\t<none>\n");
        return;
    }
    out.push_str("  Volumes:\n");
    for volume in volumes {
        let _ = writeln!(out, "   {}:", value_text(&volume["name"]));
        let source = volume.as_object().into_iter().flatten().find(|(field, _)| *field != "name");
        if let Some((kind, source)) = source {
            let _ = writeln!(out, "    Type:\t{kind}");
            if let Some(name) = source["name"].as_str().or_else(|| source["secretName"].as_str()) {
                let _ = writeln!(out, "    Name:\t{name}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_told_with_tabs() {
        let template = json!({"metadata": {"labels": {"app": "web", "tier": "x"}}, "spec": {"containers": [
            {"name": "web", "image": "nginx", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "1"}]}]}});
        let expected = "Pod Template:\n  Labels:\tapp=web\n\ttier=x\n  Containers:\n   web:\n    Image:\tnginx\n    Port:\t80/TCP\n    Host Port:\t0/TCP\n    Environment:\n      A:\t1\n    Mounts:\t<none>\n  Volumes:\t<none>\n  Node-Selectors:\t<none>\n  Tolerations:\t<none>\n";
        assert_eq!(text(&template), expected);
    }
}
