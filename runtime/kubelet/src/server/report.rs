//! What runs here and what it uses: `/pods`, `/stats/summary`, `/metrics`.

use super::{Config, Error};
use http::{HeaderValue, header};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::fmt::Write;
use wk_cri::{ContainerState, ContainerStats, ContainerStatus, Filter, SandboxState, SandboxStatus, UnixNanos};
use wk_platform::http::{Response, full};

fn json_response(value: &Value) -> Response {
    typed(value.to_string(), "application/json")
}

fn typed(body: String, content_type: &'static str) -> Response {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A `PodList` of the node's pods.
pub fn pods(config: &Config) -> Response {
    let pods = config.kubelet.pods();
    let items: Vec<&Pod> = pods.iter().map(|view| &view.pod).collect();
    json_response(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

/// A container and what it uses.
struct Usage {
    container: ContainerStatus,
    stats: ContainerStats,
}

async fn running(config: &Config) -> Result<(Vec<SandboxStatus>, Vec<Usage>), Error> {
    let sandboxes = config.kubelet.runtime().list_pod_sandboxes(Filter::default()).await?;
    let mut usages = Vec::new();
    for container in config.kubelet.runtime().list_containers(Filter::default()).await? {
        if !matches!(container.state, ContainerState::Running { .. }) {
            continue;
        }
        // It may have ended since: then it uses nothing.
        let stats = config.kubelet.runtime().container_stats(&container.id).await.unwrap_or_default();
        usages.push(Usage { container, stats });
    }
    Ok((sandboxes.into_iter().filter(|sandbox| sandbox.state == SandboxState::Ready).collect(), usages))
}

/// The summary of the stats API (upstream: `stats/v1alpha1`).
pub async fn stats(config: &Config) -> Result<Response, Error> {
    let (sandboxes, usages) = running(config).await?;
    Ok(json_response(&summary(&config.node_name, &config.clock.now_seconds().to_string(), &sandboxes, &usages)))
}

fn summary(node: &str, now: &str, sandboxes: &[SandboxStatus], usages: &[Usage]) -> Value {
    let pods: Vec<Value> = sandboxes
        .iter()
        .map(|sandbox| {
            let of_pod: Vec<&Usage> = usages.iter().filter(|usage| usage.container.sandbox == sandbox.id).collect();
            let containers: Vec<Value> = of_pod
                .iter()
                .map(|usage| {
                    with_use(
                        json!({"name": usage.container.metadata.name,
                    "startTime": time(usage.container.created_at)}),
                        now,
                        [usage.stats],
                    )
                })
                .collect();
            let metadata = &sandbox.metadata;
            let pod = json!({
                "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
                "startTime": time(sandbox.created_at),
                "containers": containers,
            });
            with_use(pod, now, of_pod.iter().map(|usage| usage.stats))
        })
        .collect();
    let node = with_use(json!({"nodeName": node}), now, usages.iter().map(|usage| usage.stats));
    json!({"node": node, "pods": pods})
}

fn with_use(mut value: Value, now: &str, stats: impl IntoIterator<Item = ContainerStats>) -> Value {
    let (cpu, memory) = stats.into_iter().fold((0u64, 0u64), |(cpu, memory), stats| {
        (cpu.saturating_add(stats.cpu_nanos), memory.saturating_add(stats.memory_bytes))
    });
    value["cpu"] = json!({"time": now, "usageCoreNanoSeconds": cpu});
    value["memory"] = json!({"time": now, "usageBytes": memory, "workingSetBytes": memory});
    value
}

fn time(at: UnixNanos) -> Option<String> {
    let seconds = jiff::Timestamp::from_second(at.0.div_euclid(1_000_000_000)).ok()?;
    Some(seconds.to_string())
}

/// The two gauges that dashboards start with, in the Prometheus text format.
pub async fn metrics(config: &Config) -> Result<Response, Error> {
    let (sandboxes, usages) = running(config).await?;
    let mut text = String::new();
    for (name, help, value) in [
        ("kubelet_running_pods", "Number of pods that have a running pod sandbox", sandboxes.len()),
        ("kubelet_running_containers", "Number of currently running containers", usages.len()),
    ] {
        let labels = if name.ends_with("containers") { "{container_state=\"running\"}" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
    }
    Ok(typed(text, "text/plain; version=0.0.4; charset=utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_cri::{ContainerId, ContainerMetadata, SandboxId, SandboxMetadata};

    #[test]
    fn a_pod_uses_what_its_containers_use() {
        let sandbox = SandboxStatus {
            id: SandboxId("s".to_owned()),
            metadata: SandboxMetadata { name: "web".to_owned(), namespace: "default".to_owned(), ..Default::default() },
            state: SandboxState::Ready,
            created_at: UnixNanos(1_000_000_000),
            addresses: Vec::new(),
            labels: Default::default(),
            annotations: Default::default(),
        };
        let usage = |name: &str, memory_bytes| Usage {
            container: ContainerStatus {
                id: ContainerId(name.to_owned()),
                sandbox: sandbox.id.clone(),
                metadata: ContainerMetadata { name: name.to_owned(), attempt: 0 },
                state: ContainerState::Created,
                created_at: UnixNanos(2_000_000_000),
                image: String::new(),
                image_id: String::new(),
                labels: Default::default(),
                annotations: Default::default(),
                log_path: Default::default(),
            },
            stats: ContainerStats { cpu_nanos: 5, memory_bytes },
        };
        let summary = summary("n1", "now", std::slice::from_ref(&sandbox), &[usage("a", 10), usage("b", 20)]);
        assert_eq!(summary["node"]["nodeName"], "n1");
        let pod = &summary["pods"][0];
        assert_eq!((&pod["podRef"]["name"], &pod["memory"]["usageBytes"]), (&json!("web"), &json!(30)));
        assert_eq!(pod["containers"][1]["memory"]["workingSetBytes"], 20);
        assert_eq!(pod["startTime"], "1970-01-01T00:00:01Z");
    }
}
