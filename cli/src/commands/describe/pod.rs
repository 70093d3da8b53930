//! A pod: where it runs, its containers and their states, its volumes.

use super::page::{self, Page, pairs, text};
use serde_json::Value;

pub(super) fn describe(page: &mut Page, pod: &Value) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    page::metadata(page, pod);
    if !spec["priority"].is_null() {
        page.line(0, "Priority", text(&spec["priority"]));
    }
    page.line(0, "Service Account", text(&spec["serviceAccountName"]));
    page.line(0, "Node", node(pod));
    if let Some(since) = status["startTime"].as_str() {
        page.line(0, "Start Time", page::date(since));
    }
    page::labels(page, pod);
    page.line(0, "Status", phase(pod));
    for field in ["reason", "message"] {
        if let Some(value) = status[field].as_str() {
            page.line(0, if field == "reason" { "Reason" } else { "Message" }, value);
        }
    }
    page.line(0, "IP", status["podIP"].as_str().unwrap_or_default());
    ips(page, status);
    if let Some(owner) = controller(pod) {
        page.line(0, "Controlled By", owner);
    }
    containers(page, Within::Pod, "Init Containers", &spec["initContainers"], &status["initContainerStatuses"]);
    containers(page, Within::Pod, "Containers", &spec["containers"], &status["containerStatuses"]);
    let added = (&spec["ephemeralContainers"], &status["ephemeralContainerStatuses"]);
    containers(page, Within::Pod, "Ephemeral Containers", added.0, added.1);
    page::conditions(page, pod, &[("Type", "type"), ("Status", "status")]);
    volumes(page, Within::Pod, &spec["volumes"]);
    page.line(0, "QoS Class", text(&status["qosClass"]));
    page.lines(0, "Node-Selectors", &pairs(&spec["nodeSelector"], "="));
    page.lines(0, "Tolerations", &tolerations(&spec["tolerations"]));
}

fn node(pod: &Value) -> String {
    match (pod["spec"]["nodeName"].as_str(), pod["status"]["hostIP"].as_str()) {
        (None | Some(""), _) => "<none>".to_owned(),
        (Some(node), host) => format!("{node}/{}", host.unwrap_or_default()),
    }
}

fn phase(pod: &Value) -> String {
    match pod["metadata"]["deletionTimestamp"].as_str() {
        Some(since) => format!("Terminating (since {since})"),
        None => text(&pod["status"]["phase"]),
    }
}

fn ips(page: &mut Page, status: &Value) {
    let ips = status["podIPs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ips.is_empty() {
        return page.line(0, "IPs", "<none>");
    }
    page.raw(0, "IPs:");
    for ip in ips {
        page.line(1, "IP", text(&ip["ip"]));
    }
}

/// `ReplicaSet/web-5d4`, of the owner that controls it.
pub(super) fn controller(object: &Value) -> Option<String> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some(format!("{}/{}", text(&owner["kind"]), text(&owner["name"])))
}

/// What parts are of; those of a template stand further in, and have no statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Pod,
    Template,
}

impl Within {
    fn level(self) -> usize {
        usize::from(self == Self::Template)
    }

    /// The line over the fields of a container or a volume.
    fn title(self, page: &mut Page, named: &Value) {
        let blank = if self == Self::Template { " " } else { "" };
        page.raw(1, &format!("{blank}{}:", text(&named["name"])));
    }
}

/// The containers of a pod or of a template.
pub(super) fn containers(page: &mut Page, within: Within, heading: &str, containers: &Value, statuses: &Value) {
    let Some(containers) = containers.as_array().filter(|containers| !containers.is_empty()) else { return };
    page.raw(within.level(), &format!("{heading}:"));
    for container in containers {
        within.title(page, container);
        let status = statuses.as_array().and_then(|all| all.iter().find(|status| status["name"] == container["name"]));
        describe_container(page, container, status);
    }
}

fn describe_container(page: &mut Page, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        page.line(2, "Container ID", status["containerID"].as_str().unwrap_or_default());
    }
    page.line(2, "Image", text(&container["image"]));
    if let Some(status) = status {
        page.line(2, "Image ID", status["imageID"].as_str().unwrap_or_default());
    }
    ports(page, container);
    for (label, field) in [("Command", "command"), ("Args", "args")] {
        if let Some(words) = container[field].as_array() {
            page.raw(2, &format!("{label}:"));
            words.iter().for_each(|word| page.raw(3, &text(word)));
        }
    }
    if let Some(status) = status {
        state(page, "State", &status["state"]);
        if status["lastState"].as_object().is_some_and(|last| !last.is_empty()) {
            state(page, "Last State", &status["lastState"]);
        }
        page.line(2, "Ready", if status["ready"] == true { "True" } else { "False" });
        page.line(2, "Restart Count", text(&status["restartCount"]));
    }
    resources(page, &container["resources"]);
    for (label, field) in [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if !container[field].is_null() {
            page.line(2, label, probe(&container[field]));
        }
    }
    environment(page, container);
    mounts(page, &container["volumeMounts"]);
}

fn ports(page: &mut Page, container: &Value) {
    let ports: Vec<String> = container["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| format!("{}/{}", text(&port["containerPort"]), port["protocol"].as_str().unwrap_or("TCP")))
        .collect();
    let label = if ports.len() > 1 { "Ports" } else { "Port" };
    let joined = |ports: &[String]| if ports.is_empty() { "<none>".to_owned() } else { ports.join(", ") };
    page.line(2, label, joined(&ports));
    let of_hosts = container["ports"].as_array().into_iter().flatten().map(|port| {
        format!("{}/{}", port["hostPort"].as_i64().unwrap_or(0), port["protocol"].as_str().unwrap_or("TCP"))
    });
    page.line(2, &format!("Host {label}"), joined(&of_hosts.collect::<Vec<_>>()));
}

fn state(page: &mut Page, label: &str, state: &Value) {
    let Some((name, detail)) = state.as_object().and_then(|state| state.iter().next()) else {
        return page.line(2, label, "Waiting");
    };
    let title = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
    page.line(2, label, title);
    let fields = [
        ("Reason", "reason"),
        ("Message", "message"),
        ("Exit Code", "exitCode"),
        ("Started", "startedAt"),
        ("Finished", "finishedAt"),
    ];
    for (label, field) in fields {
        if !detail[field].is_null() {
            let value = text(&detail[field]);
            page.line(3, label, if field.ends_with("edAt") { page::date(&value) } else { value });
        }
    }
}

fn resources(page: &mut Page, resources: &Value) {
    for (label, field) in [("Limits", "limits"), ("Requests", "requests")] {
        if let Some(amounts) = resources[field].as_object().filter(|amounts| !amounts.is_empty()) {
            page.heading(2, label);
            amounts.iter().for_each(|(name, amount)| page.line(3, name, text(amount)));
        }
    }
}

fn probe(probe: &Value) -> String {
    let number = |field: &str, default: i64| probe[field].as_i64().unwrap_or(default);
    let action = if !probe["httpGet"].is_null() {
        let get = &probe["httpGet"];
        let scheme = get["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let host = get["host"].as_str().unwrap_or_default();
        format!("http-get {scheme}://{host}:{}{}", text(&get["port"]), get["path"].as_str().unwrap_or_default())
    } else if !probe["tcpSocket"].is_null() {
        format!("tcp-socket :{}", text(&probe["tcpSocket"]["port"]))
    } else {
        let words = probe["exec"]["command"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        format!("exec [{}]", words.join(" "))
    };
    format!(
        "{action} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    )
}

fn environment(page: &mut Page, container: &Value) {
    if let Some(sources) = container["envFrom"].as_array() {
        page.heading(2, "Environment Variables from");
        for source in sources {
            let (kind, reference) = if source["secretRef"].is_null() {
                ("ConfigMap", &source["configMapRef"])
            } else {
                ("Secret", &source["secretRef"])
            };
            page.raw(3, &format!("{}  {kind}  Optional: {}", text(&reference["name"]), reference["optional"] == true));
        }
    }
    let Some(env) = container["env"].as_array().filter(|env| !env.is_empty()) else {
        return page.line(2, "Environment", "<none>");
    };
    page.heading(2, "Environment");
    for variable in env {
        page.line(3, variable["name"].as_str().unwrap_or_default(), value_of(variable));
    }
}

/// The value of an environment variable, or where it comes from.
pub(in super::super) fn value_of(variable: &Value) -> String {
    let from = &variable["valueFrom"];
    let key = |field: &str, what: &str| {
        let reference = &from[field];
        format!(
            "<set to the key '{}' {what} '{}'>  Optional: {}",
            text(&reference["key"]),
            text(&reference["name"]),
            reference["optional"] == true
        )
    };
    if !from["fieldRef"].is_null() {
        format!(
            "({}:{})",
            from["fieldRef"]["apiVersion"].as_str().unwrap_or("v1"),
            text(&from["fieldRef"]["fieldPath"])
        )
    } else if !from["configMapKeyRef"].is_null() {
        key("configMapKeyRef", "of config map")
    } else if !from["secretKeyRef"].is_null() {
        key("secretKeyRef", "in secret")
    } else {
        variable["value"].as_str().unwrap_or_default().to_owned()
    }
}

fn mounts(page: &mut Page, mounts: &Value) {
    let Some(mounts) = mounts.as_array().filter(|mounts| !mounts.is_empty()) else {
        return page.line(2, "Mounts", "<none>");
    };
    page.heading(2, "Mounts");
    for mount in mounts {
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        page.raw(3, &format!("{} from {} ({mode})", text(&mount["mountPath"]), text(&mount["name"])));
    }
}

pub(super) fn volumes(page: &mut Page, within: Within, volumes: &Value) {
    let Some(volumes) = volumes.as_array().filter(|volumes| !volumes.is_empty()) else {
        return page.line(within.level(), "Volumes", "<none>");
    };
    page.raw(within.level(), "Volumes:");
    for volume in volumes {
        within.title(page, volume);
        for (kind, source) in volume.as_object().into_iter().flatten().filter(|(field, _)| *field != "name") {
            describe_volume(page, kind, source);
        }
    }
}

fn describe_volume(page: &mut Page, kind: &str, source: &Value) {
    let optional = |source: &Value| (source["optional"] == true).to_string();
    let (title, lines) = match kind {
        "configMap" => (
            "ConfigMap (a volume populated by a ConfigMap)",
            vec![("Name", text(&source["name"])), ("Optional", optional(source))],
        ),
        "secret" => (
            "Secret (a volume populated by a Secret)",
            vec![("SecretName", text(&source["secretName"])), ("Optional", optional(source))],
        ),
        "emptyDir" => {
            let (medium, limit) = (source["medium"].as_str().unwrap_or_default(), source["sizeLimit"].as_str());
            (
                "EmptyDir (a temporary directory that shares a pod's lifetime)",
                vec![("Medium", medium.to_owned()), ("SizeLimit", limit.unwrap_or("<unset>").to_owned())],
            )
        }
        "hostPath" => (
            "HostPath (bare host directory volume)",
            vec![
                ("Path", text(&source["path"])),
                ("HostPathType", source["type"].as_str().unwrap_or_default().to_owned()),
            ],
        ),
        "persistentVolumeClaim" => (
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
            vec![("ClaimName", text(&source["claimName"])), ("ReadOnly", (source["readOnly"] == true).to_string())],
        ),
        "downwardAPI" => ("DownwardAPI (a volume populated by information about the pod)", Vec::new()),
        "projected" => (
            "Projected (a volume that contains injected data from multiple sources)",
            source["sources"].as_array().into_iter().flatten().flat_map(projected).collect(),
        ),
        other => (other, Vec::new()),
    };
    page.line(2, "Type", title);
    lines.into_iter().for_each(|(label, value)| page.line(2, label, value));
    if kind == "downwardAPI" {
        page.raw(2, "Items:");
        for item in source["items"].as_array().into_iter().flatten() {
            page.raw(3, &format!("{} -> {}", text(&item["fieldRef"]["fieldPath"]), text(&item["path"])));
        }
    }
}

fn projected(source: &Value) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(secret) = source.get("secret") {
        lines.extend([("SecretName", text(&secret["name"])), ("Optional", (secret["optional"] == true).to_string())]);
    }
    if source.get("downwardAPI").is_some() {
        lines.push(("DownwardAPI", "true".to_owned()));
    }
    if let Some(map) = source.get("configMap") {
        lines.extend([("ConfigMapName", text(&map["name"])), ("Optional", (map["optional"] == true).to_string())]);
    }
    if let Some(token) = source.get("serviceAccountToken") {
        lines.push(("TokenExpirationSeconds", text(&token["expirationSeconds"])));
    }
    lines
}

/// `KEY=VALUE:EFFECT op=… for …`, one line each.
pub(in super::super) fn tolerations(tolerations: &Value) -> Vec<String> {
    let one = |toleration: &Value| {
        let part = |field: &str| toleration[field].as_str().unwrap_or_default().to_owned();
        let mut line = part("key");
        if !part("value").is_empty() {
            line.push_str(&format!("={}", part("value")));
        }
        if !part("effect").is_empty() {
            line.push_str(&format!(":{}", part("effect")));
        }
        if part("operator") == "Exists" && part("value").is_empty() {
            line.push_str(" op=Exists");
        }
        if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
            line.push_str(&format!(" for {seconds}s"));
        }
        line
    };
    tolerations.as_array().into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_waiting_container_says_why() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "d"},
            "spec": {"containers": [{"name": "web", "image": "x"}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "ready": false, "restartCount": 2,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 134}}}]},
        });
        let mut page = Page::default();
        describe(&mut page, &pod);
        let text = page.finish();
        for line in [
            "    State:          Waiting\n",
            "      Reason:       CrashLoopBackOff\n",
            "      Exit Code:    134\n",
            "    Restart Count:  2\n",
        ] {
            assert!(text.contains(line), "{line:?} not in\n{text}");
        }
    }
}
