//! Writing what was decided: bindings, conditions, recorded events. The only
//! part of the scheduler that talks to the API server, besides its watches.

use crate::pod_info::{PodInfo, SCHEDULER_NAME};
use k8s_openapi::{
    api::core::v1::{Binding, Event, EventSeries, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use tracing::debug;
use wk_platform::Clock;

/// The field manager of what the scheduler writes.
const FIELD_MANAGER: &str = "kube-scheduler";
/// Failures remembered to be counted when they repeat; beyond that the memory starts afresh.
const REMEMBERED_MAX: usize = 4096;

/// A failure that was recorded before.
#[derive(Clone)]
struct Series {
    event: String,
    message: String,
    count: i32,
}

/// Writes for the scheduler.
pub struct Writer {
    client: Client,
    clock: Clock,
    failures: Mutex<HashMap<String, Series>>,
}

impl Writer {
    /// A writer.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, failures: Mutex::new(HashMap::new()) }
    }

    /// Assigns `pod` to `node`.
    ///
    /// # Errors
    /// The API server's; the pod is not bound then, or somebody else has bound it.
    pub async fn bind(&self, pod: &PodInfo, node: &str) -> kube::Result<()> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(pod.name.clone()),
                namespace: Some(pod.namespace.clone()),
                uid: Some(pod.uid.0.clone()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let _: Value = pods.create_subresource("binding", &pod.name, &params, &binding).await?;
        Ok(())
    }

    /// Tells of a binding.
    pub async fn tell_bound(&self, pod: &PodInfo, node: &str) {
        self.failures.lock().remove(&pod.uid.0);
        let message = format!("Successfully assigned {pod} to {node}");
        self.create_event(pod, "Normal", "Scheduled", "Binding", &message).await;
    }

    /// Tells of a pod that has to wait: its condition, and a recorded event.
    pub async fn tell_failed(&self, pod: &PodInfo, reason: &'static str, message: &str) {
        if let Some(series) = self.repeated(pod, message) {
            let last = Some(MicroTime(self.clock.now_micros()));
            let body = json!({"series": EventSeries { count: Some(series.count), last_observed_time: last }});
            let written = self.events(pod).patch(&series.event, &merge_params(), &Patch::Merge(&body)).await;
            return log("count an event", pod, written);
        }
        self.write_condition(pod, reason, message).await;
        if let Some(event) = self.create_event(pod, "Warning", "FailedScheduling", "Scheduling", message).await {
            let series = Series { event, message: message.to_owned(), count: 1 };
            self.failures.lock().insert(pod.uid.0.clone(), series);
        }
    }

    /// Says where room is made for `pod`.
    pub async fn nominate(&self, pod: &PodInfo, node: &str) {
        let body = json!({"metadata": {"uid": pod.uid.0}, "status": {"nominatedNodeName": node}});
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        log("nominate", pod, pods.patch_status(&pod.name, &merge_params(), &Patch::Strategic(&body)).await);
    }

    /// Makes `victim` leave `node` for `pod`.
    pub async fn evict(&self, pod: &PodInfo, victim: &PodInfo, node: &str) {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": format!("{SCHEDULER_NAME}: preempting to accommodate a higher priority pod"),
            "lastProbeTime": null, "lastTransitionTime": self.clock.now_seconds().to_string(),
        });
        let body = json!({"metadata": {"uid": victim.uid.0}, "status": {"conditions": [condition]}});
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace);
        let written = pods.patch_status(&victim.name, &merge_params(), &Patch::Strategic(&body)).await;
        log("mark as disrupted", victim, written);
        let preconditions = Some(Preconditions { uid: Some(victim.uid.0.clone()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        log("evict", victim, pods.delete(&victim.name, &params).await);
        let message = format!("Preempted by pod {} on node {node}", pod.uid.0);
        self.create_event(victim, "Normal", "Preempted", "Preempting", &message).await;
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.failures.lock().remove(uid);
    }

    fn repeated(&self, pod: &PodInfo, message: &str) -> Option<Series> {
        let mut failures = self.failures.lock();
        if failures.len() >= REMEMBERED_MAX {
            failures.clear();
        }
        let series = failures.get_mut(&pod.uid.0).filter(|series| series.message == message)?;
        series.count += 1;
        Some(series.clone())
    }

    async fn write_condition(&self, pod: &PodInfo, reason: &str, message: &str) {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastProbeTime": null, "lastTransitionTime": self.clock.now_seconds().to_string(),
        });
        let body = json!({"metadata": {"uid": pod.uid.0}, "status": {"conditions": [condition]}});
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        // Strategic, so that conditions of others stay.
        log(
            "write the condition of",
            pod,
            pods.patch_status(&pod.name, &merge_params(), &Patch::Strategic(&body)).await,
        );
    }

    fn events(&self, pod: &PodInfo) -> Api<Event> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }

    /// In the form of `events.k8s.io/v1`, which upstream's scheduler uses.
    async fn create_event(
        &self,
        pod: &PodInfo,
        event_type: &str,
        reason: &str,
        action: &str,
        message: &str,
    ) -> Option<String> {
        let now = self.clock.now_micros();
        let name = format!("{}.{:x}", pod.name, self.clock.unix_nanos());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name.clone()),
                namespace: Some(pod.namespace.clone()),
                uid: Some(pod.uid.0.clone()),
                resource_version: pod.resource_version.clone(),
                field_path: None,
            },
            type_: Some(event_type.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            message: Some(message.to_owned()),
            event_time: Some(MicroTime(now)),
            source: Some(EventSource::default()),
            reporting_component: Some(SCHEDULER_NAME.to_owned()),
            reporting_instance: Some(SCHEDULER_NAME.to_owned()),
            ..Event::default()
        };
        let created = self.events(pod).create(&PostParams::default(), &event).await;
        let stored = created.is_ok();
        log("record an event about", pod, created);
        stored.then_some(name)
    }
}

fn merge_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// What is told to people may fail without stopping the work.
fn log<T>(what: &str, pod: &PodInfo, result: kube::Result<T>) {
    if let Err(error) = result {
        debug!(%pod, %error, "could not {what} a pod");
    }
}
