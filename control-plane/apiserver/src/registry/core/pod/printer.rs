//! What `get pods` shows (upstream: `pkg/printers/internalversion`, `printPod`).
//! The STATUS column tells the most telling state of the containers, not the phase.

use crate::object;
use crate::registry::Column;
use crate::registry::table::{self, AGE, NAME};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The columns of pods.
pub const COLUMNS: &[Column] = &[
    NAME,
    table::text("Ready", "Ready containers of all containers."),
    table::text("Status", "The most telling state of its containers."),
    table::text("Restarts", "How often containers were restarted, and when last."),
    AGE,
    table::wide("IP", "Its address."),
    table::wide("Node", "The node it is bound to."),
    table::wide("Nominated Node", "The node where room is being made for it."),
    table::wide("Readiness Gates", "Gates that are open of all gates."),
];

/// One pod's cells.
pub fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let text = |path| json!(table::or_none(object::str_at(pod, path)));
    vec![
        table::name(pod),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(summary.restarts.shown(now)),
        table::age(pod, now),
        json!(table::or_none(pod["status"]["podIPs"][0]["ip"].as_str().unwrap_or_default())),
        text("spec.nodeName"),
        text("status.nominatedNodeName"),
        json!(readiness_gates(pod)),
    ]
}

/// Tells the client that a pod has ended, so that it can fade the row.
pub fn row_conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match object::str_at(pod, "status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

/// Restarts of some containers and the end of the last run.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += status["restartCount"].as_i64().unwrap_or(0);
        let ended = object::str_at(status, "lastState.terminated.finishedAt").parse().ok();
        self.last = self.last.max(ended);
    }

    fn shown(&self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!("{} ({} ago)", self.count, table::human_duration(now.as_second() - last.as_second()))
            }
            _ => self.count.to_string(),
        }
    }
}

/// What the containers' states amount to.
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let init = object::list_at(pod, "spec.initContainers");
        let sidecars = init.iter().filter(|container| is_sidecar(container)).count();
        let total = object::list_at(pod, "spec.containers").len() + sidecars;
        let mut summary = Self { ready: 0, total, reason: phase_reason(pod), restarts: Restarts::default() };
        let (initializing, sidecar_restarts) = summary.add_init_containers(pod, init);
        if !initializing || has_condition(pod, "Initialized") {
            summary.restarts = sidecar_restarts;
            summary.add_containers(pod);
        }
        summary.add_deletion(pod);
        summary
    }

    /// Whether an init container is still to end, and the restarts of sidecars.
    fn add_init_containers(&mut self, pod: &Value, init: &[Value]) -> (bool, Restarts) {
        let mut sidecar_restarts = Restarts::default();
        for (index, status) in object::list_at(pod, "status.initContainerStatuses").iter().enumerate() {
            let sidecar = init.iter().any(|container| container["name"] == status["name"] && is_sidecar(container));
            self.restarts.add(status);
            if sidecar {
                sidecar_restarts.add(status);
            }
            let terminated = &status["state"]["terminated"];
            let waiting = object::str_at(status, "state.waiting.reason");
            if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            self.reason = if terminated.is_object() {
                format!("Init:{}", termination(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", init.len())
            };
            return (true, sidecar_restarts);
        }
        (false, sidecar_restarts)
    }

    /// The first container's state wins, so they are read backwards.
    fn add_containers(&mut self, pod: &Value) {
        let mut running = false;
        for status in object::list_at(pod, "status.containerStatuses").iter().rev() {
            self.restarts.add(status);
            let state = &status["state"];
            let waiting = object::str_at(state, "waiting.reason");
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if state["terminated"].is_object() {
                self.reason = termination(&state["terminated"]);
            } else if status["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if has_condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn add_deletion(&mut self, pod: &Value) {
        let ended = matches!(object::str_at(pod, "status.phase"), "Succeeded" | "Failed");
        if object::metadata_str(pod, "deletionTimestamp").is_empty() {
            return;
        }
        if pod["status"]["reason"] == "NodeLost" {
            self.reason = "Unknown".to_owned();
        } else if !ended {
            self.reason = "Terminating".to_owned();
        }
    }
}

fn phase_reason(pod: &Value) -> String {
    let gated = |condition: &Value| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated";
    if object::list_at(pod, "status.conditions").iter().any(gated) {
        return "SchedulingGated".to_owned();
    }
    match object::str_at(pod, "status.reason") {
        "" => object::str_at(pod, "status.phase").to_owned(),
        reason => reason.to_owned(),
    }
}

fn termination(terminated: &Value) -> String {
    let signal = terminated["signal"].as_i64().unwrap_or(0);
    match object::str_at(terminated, "reason") {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        reason => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    let conditions = object::list_at(pod, "status.conditions");
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = object::list_at(pod, "spec.readinessGates");
    if gates.is_empty() {
        return table::NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| has_condition(pod, object::str_at(gate, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}

#[cfg(test)]
mod tests;
