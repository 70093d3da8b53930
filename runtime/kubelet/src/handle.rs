//! What others may know of a running kubelet: its pods, their sandboxes,
//! containers and logs. The kubelet's HTTP API asks here; workers publish here.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use wk_cri::{ContainerId, ContainerState, ContainerStatus, RuntimeService, SandboxId};

/// Looks into a kubelet. Clones see the same one.
#[derive(Clone)]
pub struct KubeletHandle {
    runtime: Arc<dyn RuntimeService>,
    pods: Arc<RwLock<BTreeMap<String, Arc<PodView>>>>,
}

/// A pod as its worker last saw it.
#[derive(Clone, Debug)]
pub struct PodView {
    /// The pod, with the status that was written or will be.
    pub pod: Pod,
    /// Its newest sandbox.
    pub sandbox: Option<SandboxId>,
    /// Every container that the runtime has of it, dead ones too.
    pub containers: Vec<ContainerView>,
}

/// A container as its worker last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// The name in the spec.
    pub name: String,
    /// How many of this name were before it.
    pub attempt: u32,
    /// The runtime's id.
    pub id: ContainerId,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Absolute.
    pub log_path: PathBuf,
}

/// Why there is no log to read. The messages are upstream's
/// (`pkg/kubelet/kubelet_pods.go`, `validateContainerLogStatus`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The pod has no container of that name.
    #[error("container {container} is not valid for pod {pod}")]
    NoSuchContainer {
        /// The name that was asked for.
        container: String,
        /// The pod.
        pod: String,
    },
    /// It has not started yet.
    #[error("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")]
    Waiting {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// Its waiting reason.
        reason: String,
    },
    /// There was none before the one that is now.
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    NoPrevious {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
}

impl KubeletHandle {
    /// A handle of a kubelet without pods yet.
    pub fn new(runtime: Arc<dyn RuntimeService>) -> Self {
        Self { runtime, pods: Arc::default() }
    }

    /// The runtime, for the streaming verbs.
    pub fn runtime(&self) -> &Arc<dyn RuntimeService> {
        &self.runtime
    }

    /// Every pod with a worker, by UID.
    pub fn pods(&self) -> Vec<Arc<PodView>> {
        self.pods.read().values().cloned().collect()
    }

    /// The pod of this name; with a UID only that one.
    pub fn pod(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Arc<PodView>> {
        let pods = self.pods.read();
        let is_it = |view: &&Arc<PodView>| {
            let metadata = &view.pod.metadata;
            metadata.name.as_deref() == Some(name)
                && metadata.namespace.as_deref() == Some(namespace)
                && uid.is_none_or(|uid| metadata.uid.as_deref() == Some(uid))
        };
        // A replacement of the same name may run while the old pod ends: prefer the one that stays.
        let mut found: Vec<_> = pods.values().filter(is_it).collect();
        found.sort_by_key(|view| view.pod.metadata.deletion_timestamp.is_some());
        found.first().map(|view| Arc::clone(view))
    }

    /// Replaces what is known of the pod with this UID; its worker's duty.
    pub fn publish(&self, uid: &str, view: PodView) {
        self.pods.write().insert(uid.to_owned(), Arc::new(view));
    }

    /// Forgets the pod with this UID, when its worker ends.
    pub fn forget(&self, uid: &str) {
        self.pods.write().remove(uid);
    }
}

impl ContainerView {
    /// What is of interest in a container's status.
    pub fn of(status: &ContainerStatus) -> Self {
        Self {
            name: status.metadata.name.clone(),
            attempt: status.metadata.attempt,
            id: status.id.clone(),
            state: status.state.clone(),
            log_path: status.log_path.clone(),
        }
    }
}

impl PodView {
    /// The newest container of this name, dead or alive.
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.attempts(name).first().copied()
    }

    /// The container of this name whose guest runs.
    pub fn running_container(&self, name: &str) -> Option<&ContainerView> {
        self.container(name).filter(|container| matches!(container.state, ContainerState::Running { .. }))
    }

    /// The log of the newest container of this name.
    ///
    /// # Errors
    /// [`LogError`], whose message goes to the user as it is.
    pub fn log_path(&self, container: &str) -> Result<&Path, LogError> {
        self.check_name(container)?;
        let started = |view: &&ContainerView| view.state != ContainerState::Created;
        let newest = self.attempts(container).into_iter().find(started);
        newest.map(|view| view.log_path.as_path()).ok_or_else(|| self.waiting(container))
    }

    /// The log of the container before the newest one.
    ///
    /// # Errors
    /// [`LogError`], whose message goes to the user as it is.
    pub fn previous_log_path(&self, container: &str) -> Result<&Path, LogError> {
        self.check_name(container)?;
        let exited = |view: &&ContainerView| matches!(view.state, ContainerState::Exited { .. });
        // Waiting to restart, the newest is itself the terminated one of `lastState`.
        let skip = usize::from(!self.is_waiting(container));
        let previous = self.attempts(container).into_iter().skip(skip).find(exited);
        let none = || LogError::NoPrevious { container: container.to_owned(), pod: self.pod.name_any() };
        previous.map(|view| view.log_path.as_path()).ok_or_else(none)
    }

    /// Containers of this name, newest first.
    fn attempts(&self, name: &str) -> Vec<&ContainerView> {
        let mut found: Vec<_> = self.containers.iter().filter(|container| container.name == name).collect();
        found.sort_by_key(|container| std::cmp::Reverse(container.attempt));
        found
    }

    fn check_name(&self, container: &str) -> Result<(), LogError> {
        let spec = self.pod.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
        let mut all = spec.into_iter().flat_map(|spec| &spec.containers).chain(inits);
        let mut added = spec.into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        if all.any(|candidate| candidate.name == container) || added.any(|candidate| candidate.name == container) {
            return Ok(());
        }
        Err(LogError::NoSuchContainer { container: container.to_owned(), pod: self.pod.name_any() })
    }

    fn waiting_state(&self, container: &str) -> Option<&k8s_openapi::api::core::v1::ContainerStateWaiting> {
        let status = self.pod.status.as_ref()?;
        crate::status::lists(status).find(|status| status.name == container)?.state.as_ref()?.waiting.as_ref()
    }

    fn is_waiting(&self, container: &str) -> bool {
        self.waiting_state(container).is_some()
    }

    fn waiting(&self, container: &str) -> LogError {
        let waiting = self.waiting_state(container);
        let reason = waiting.and_then(|state| state.reason.clone()).unwrap_or_else(|| "ContainerCreating".to_owned());
        let reason = match reason.as_str() {
            // Upstream says these two in words (`validateContainerLogStatus`).
            "ErrImagePull" => "image can't be pulled".to_owned(),
            "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
            _ => reason,
        };
        LogError::Waiting { container: container.to_owned(), pod: self.pod.name_any(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_cri::UnixNanos;

    fn container(attempt: u32, running: bool) -> ContainerView {
        let state = if running {
            ContainerState::Running { started_at: UnixNanos(1) }
        } else {
            let (started_at, finished_at) = (UnixNanos(1), UnixNanos(2));
            ContainerState::Exited {
                started_at,
                finished_at,
                exit_code: 1,
                reason: "Error".to_owned(),
                message: String::new(),
            }
        };
        let log_path = PathBuf::from(format!("/logs/main/{attempt}.log"));
        ContainerView { name: "main".to_owned(), attempt, id: ContainerId(attempt.to_string()), state, log_path }
    }

    fn view(containers: Vec<ContainerView>, state: serde_json::Value) -> PodView {
        let pod = serde_json::json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
            "spec": {"containers": [{"name": "main"}]},
            "status": {"containerStatuses": [{
                "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]},
        });
        PodView { pod: serde_json::from_value(pod).expect("a pod"), sandbox: None, containers }
    }

    #[test]
    fn a_running_container_has_a_log_and_the_dead_one_is_previous() {
        let view = view(vec![container(0, false), container(1, true)], serde_json::json!({"running": {}}));
        assert_eq!(view.log_path("main"), Ok(Path::new("/logs/main/1.log")));
        assert_eq!(view.previous_log_path("main"), Ok(Path::new("/logs/main/0.log")));
    }

    #[test]
    fn while_backing_off_the_dead_container_is_both() {
        let waiting = serde_json::json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let view = view(vec![container(1, false)], waiting);
        assert_eq!(view.log_path("main"), Ok(Path::new("/logs/main/1.log")));
        assert_eq!(view.previous_log_path("main"), Ok(Path::new("/logs/main/1.log")));
    }

    #[test]
    fn what_is_missing_is_said_as_upstream_says_it() {
        let view = view(vec![], serde_json::json!({"waiting": {"reason": "ImagePullBackOff"}}));
        let message = |result: Result<&Path, LogError>| result.expect_err("no log").to_string();
        assert_eq!(
            message(view.log_path("main")),
            r#"container "main" in pod "web" is waiting to start: trying and failing to pull image"#
        );
        assert_eq!(
            message(view.previous_log_path("main")),
            r#"previous terminated container "main" in pod "web" not found"#
        );
        assert_eq!(message(view.log_path("other")), "container other is not valid for pod web");
    }

    #[tokio::test]
    async fn of_two_pods_with_one_name_the_one_that_stays_is_found() {
        let handle = KubeletHandle::new(Arc::new(wk_cri::fake::FakeRuntime::new(wk_cri::fake::FakeConfig::default())));
        let mut old = view(vec![], serde_json::json!({}));
        old.pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        let mut new = view(vec![], serde_json::json!({}));
        new.pod.metadata.uid = Some("u2".to_owned());
        handle.publish("u1", old);
        handle.publish("u2", new);
        let uid = |found: Option<Arc<PodView>>| found.and_then(|view| view.pod.metadata.uid.clone());
        assert_eq!(uid(handle.pod("default", "web", None)).as_deref(), Some("u2"));
        assert_eq!(uid(handle.pod("default", "web", Some("u1"))).as_deref(), Some("u1"));
        handle.forget("u1");
        assert_eq!(uid(handle.pod("default", "web", Some("u1"))), None);
    }
}
