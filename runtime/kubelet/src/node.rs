//! The node as an API object: registered once, its status written when it
//! changed, its Lease renewed. What it should say is decided by pure functions.
//!
//! A heartbeat is a Lease and nothing else: the status of an idle node is never
//! written. When somebody else changes the node (a controller that believed it
//! dead), the watch tells and the status is put right.

use crate::{Config, events::Recorder};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            ContainerImage, DaemonEndpoint, Node as NodeObject, NodeCondition, NodeDaemonEndpoints, NodeSpec,
            NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, time::Duration};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};
use wk_cri::Image;

/// How often the Lease is renewed while it is good (upstream's fraction of 0.25).
const LEASE_RENEWALS: u32 = 4;

/// Where node Leases are.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Images that the status names (upstream: `nodeStatusMaxImages`).
const IMAGES_MAX: usize = 50;

/// Delays between tries to register: the first, and the longest.
const REGISTER_RETRY_FIRST: Duration = Duration::from_millis(50);
const REGISTER_RETRY_LONGEST: Duration = Duration::from_secs(7);

/// The node's task.
pub(crate) struct Node {
    config: Config,
    recorder: Recorder,
    /// The object as the API server last had it.
    object: Option<NodeObject>,
}

impl Node {
    pub fn new(config: Config, recorder: Recorder) -> Self {
        Self { config, recorder, object: None }
    }

    /// Registers the node and keeps it alive until dropped.
    ///
    /// # Errors
    /// None: what fails is tried again.
    pub async fn run(mut self) -> Result<(), Infallible> {
        self.recorder.node(&self.config.node_name, "Starting", "Starting kubelet.");
        self.register().await;
        self.renew_lease().await;
        self.refresh().await;
        let renewal = self.config.node.lease_duration / LEASE_RENEWALS;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + renewal, renewal);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = watcher::watch_object(self.api(), &self.config.node_name).default_backoff().boxed();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.renew_lease().await,
                change = changes.next() => match change {
                    Some(Ok(object)) => self.object = object.or(self.object.take()),
                    Some(Err(error)) => debug!(%error, "watch of the node failed"),
                    None => return Ok(()),
                },
            }
            self.refresh().await;
        }
    }

    fn api(&self) -> Api<NodeObject> {
        Api::all(self.config.client.clone())
    }

    async fn register(&mut self) {
        let mut delay = REGISTER_RETRY_FIRST;
        loop {
            match self.try_register().await {
                Ok(object) => {
                    info!(node = %self.config.node_name, "registered the node");
                    self.object = Some(object);
                    return;
                }
                Err(error) => warn!(node = %self.config.node_name, %error, "could not register the node"),
            }
            tokio::time::sleep(self.config.entropy.jitter(delay, 0.2)).await;
            delay = (delay * 2).min(REGISTER_RETRY_LONGEST);
        }
    }

    async fn try_register(&self) -> kube::Result<NodeObject> {
        let images = self.config.images.list_images().await.unwrap_or_default();
        let now = self.config.clock.now_seconds();
        let node = NodeObject { status: Some(status(&self.config, &images, None, now)), ..object(&self.config) };
        match self.api().create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {}
            other => return other,
        }
        // Of an earlier run: its labels follow ours, what users added stays.
        let labels = json!({"metadata": {"labels": node.metadata.labels}});
        self.api().patch(&self.config.node_name, &parameters(), &Patch::Strategic(labels)).await
    }

    /// Writes the status when it is not what it should be.
    async fn refresh(&mut self) {
        let Some(object) = &self.object else { return };
        let images = self.config.images.list_images().await.unwrap_or_default();
        let desired = status(&self.config, &images, object.status.as_ref(), self.config.clock.now_seconds());
        let Some(patch) = patch(object.status.as_ref(), &desired) else { return };
        match self.api().patch_status(&self.config.node_name, &parameters(), &Patch::Strategic(patch)).await {
            Ok(object) => {
                let was_ready = self.object.as_ref().is_some_and(is_ready);
                if !was_ready && is_ready(&object) {
                    let message = format!("Node {} status is now: NodeReady", self.config.node_name);
                    self.recorder.node(&self.config.node_name, "NodeReady", message);
                }
                self.object = Some(object);
            }
            Err(error) => warn!(node = %self.config.node_name, %error, "could not write the node's status"),
        }
    }

    async fn renew_lease(&self) {
        let leases: Api<Lease> = Api::namespaced(self.config.client.clone(), LEASE_NAMESPACE);
        let now = MicroTime(self.config.clock.now_micros());
        let name = &self.config.node_name;
        let renewal =
            json!({"spec": {"renewTime": now, "holderIdentity": name, "leaseDurationSeconds": self.lease_seconds()}});
        let renewed = match leases.patch(name, &parameters(), &Patch::Merge(renewal)).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => {
                leases.create(&PostParams::default(), &self.lease(now)).await
            }
            other => other,
        };
        if let Err(error) = renewed {
            warn!(node = %name, %error, "could not renew the node's lease");
        }
    }

    fn lease_seconds(&self) -> i32 {
        i32::try_from(self.config.node.lease_duration.as_secs()).unwrap_or(i32::MAX)
    }

    fn lease(&self, now: MicroTime) -> Lease {
        let name = self.config.node_name.clone();
        let owner = self.object.as_ref().and_then(|node| node.metadata.uid.clone()).map(|uid| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.clone(),
            uid,
            ..OwnerReference::default()
        });
        Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(LEASE_NAMESPACE.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name),
                lease_duration_seconds: Some(self.lease_seconds()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some("kubelet".to_owned()), ..PatchParams::default() }
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The object to register: labels, taints, range of addresses.
fn object(config: &Config) -> NodeObject {
    let well_known = [
        ("beta.kubernetes.io/arch", ARCHITECTURE),
        ("beta.kubernetes.io/os", OPERATING_SYSTEM),
        ("kubernetes.io/arch", ARCHITECTURE),
        ("kubernetes.io/hostname", &config.node_name),
        ("kubernetes.io/os", OPERATING_SYSTEM),
    ];
    let well_known = well_known.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels: BTreeMap<_, _> = well_known.chain(config.node.labels.clone()).collect();
    let cidr = config.node.pod_cidr.clone();
    NodeObject {
        metadata: ObjectMeta { name: Some(config.node_name.clone()), labels: Some(labels), ..ObjectMeta::default() },
        spec: Some(NodeSpec {
            pod_cidrs: cidr.clone().map(|cidr| vec![cidr]),
            pod_cidr: cidr,
            taints: (!config.node.taints.is_empty()).then(|| config.node.taints.clone()),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

/// As other nodes that run WebAssembly say it (krustlet, spinkube).
const ARCHITECTURE: &str = "wasm";
const OPERATING_SYSTEM: &str = "wasi";

/// What the status should say. Heartbeat times move only with their condition:
/// liveness is the Lease's word.
fn status(config: &Config, images: &[Image], old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let node = &config.node;
    let capacity = BTreeMap::from([
        ("cpu".to_owned(), cpu_quantity(node.capacity.cpu_millis)),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", node.capacity.ephemeral_storage_bytes / 1024))),
        ("memory".to_owned(), Quantity(format!("{}Ki", node.capacity.memory_bytes / 1024))),
        ("pods".to_owned(), Quantity(node.capacity.pods.to_string())),
    ]);
    NodeStatus {
        addresses: Some(node.addresses.clone()),
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        conditions: Some(conditions(old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: node.endpoint_port.into() }),
        }),
        images: Some(image_list(images)),
        node_info: Some(NodeSystemInfo {
            architecture: ARCHITECTURE.to_owned(),
            boot_id: node.boot_id.clone(),
            container_runtime_version: config.runtime.version(),
            kernel_version: node.kernel_version.clone(),
            kube_proxy_version: node.version.clone(),
            kubelet_version: node.version.clone(),
            machine_id: node.machine_id.clone(),
            operating_system: OPERATING_SYSTEM.to_owned(),
            os_image: node.os_image.clone(),
            system_uuid: node.machine_id.clone(),
            swap: None,
        }),
        ..NodeStatus::default()
    }
}

fn cpu_quantity(millis: u64) -> Quantity {
    Quantity(if millis.is_multiple_of(1_000) { (millis / 1_000).to_string() } else { format!("{millis}m") })
}

fn conditions(old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let facts = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let known = old.iter().flat_map(|status| status.conditions.iter().flatten()).collect::<Vec<_>>();
    let condition = |(type_, status, reason, message): (&str, &str, &str, &str)| {
        let same = known
            .iter()
            .find(|old| old.type_ == type_ && old.status == status && old.reason.as_deref() == Some(reason));
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: same.map_or(Some(Time(now)), |old| old.last_heartbeat_time.clone()),
            last_transition_time: same.map_or(Some(Time(now)), |old| old.last_transition_time.clone()),
        }
    };
    facts.into_iter().map(condition).collect()
}

/// The biggest images first, as upstream has them.
fn image_list(images: &[Image]) -> Vec<ContainerImage> {
    let mut images: Vec<_> = images.iter().collect();
    images.sort_by(|left, right| right.size_bytes.cmp(&left.size_bytes).then_with(|| left.tags.cmp(&right.tags)));
    let describe = |image: &&Image| ContainerImage {
        names: Some(image.tags.clone()),
        size_bytes: i64::try_from(image.size_bytes).ok(),
    };
    images.iter().take(IMAGES_MAX).map(describe).collect()
}

/// What of the kubelet's fields differs; `None` when nothing does. Conditions
/// are sent whole, since the API server merges them by type; addresses are
/// replaced as a list (upstream: `fixupPatchForNodeStatusAddresses`).
fn patch(old: Option<&NodeStatus>, new: &NodeStatus) -> Option<Value> {
    let fields = |status: Option<&NodeStatus>| serde_json::to_value(status).unwrap_or_default();
    let (old, new) = (fields(old), fields(Some(new)));
    let mut changed = serde_json::Map::new();
    for (name, value) in new.as_object().into_iter().flatten() {
        let before = &old[name];
        let same = match name.as_str() {
            "conditions" => value.as_array().into_iter().flatten().all(|wanted| contains(before, wanted)),
            "images" if value.as_array().is_some_and(Vec::is_empty) => before.is_null() || before == value,
            _ => before == value,
        };
        if same {
            continue;
        }
        if name == "addresses" {
            let mut addresses = value.as_array().cloned().unwrap_or_default();
            addresses.push(json!({"$patch": "replace"}));
            changed.insert(name.clone(), Value::Array(addresses));
        } else {
            changed.insert(name.clone(), value.clone());
        }
    }
    (!changed.is_empty()).then(|| json!({"status": changed}))
}

fn contains(list: &Value, element: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(element))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capacity, ClusterDns, NodeConfig};
    use std::sync::Arc;
    use wk_cri::fake::{FakeConfig, FakeRuntime};
    use wk_platform::{Clock, Entropy};

    fn config() -> Config {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Ok::<_, Infallible>(http::Response::new(kube::client::Body::empty()))
        });
        let fake = FakeRuntime::new(FakeConfig::default());
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let capacity = Capacity { cpu_millis: 2_500, memory_bytes: 1 << 30, ..Capacity::default() };
        Config {
            node_name: "n1".to_owned(),
            client: kube::Client::new(service, "default"),
            runtime: Arc::new(fake.clone()),
            images: Arc::new(fake),
            root_dir: "/r".into(),
            clock: Clock::virtual_from(Timestamp::UNIX_EPOCH),
            entropy: Entropy::seeded(1),
            node: NodeConfig { labels, capacity, pod_cidr: Some("10.244.0.0/24".to_owned()), ..NodeConfig::default() },
            dns: ClusterDns::default(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[tokio::test]
    async fn a_node_says_what_it_is() {
        let node = object(&config());
        let labels = node.metadata.labels.expect("labels");
        assert_eq!((labels["kubernetes.io/arch"].as_str(), labels["kubernetes.io/os"].as_str()), ("wasm", "wasi"));
        assert_eq!((labels["kubernetes.io/hostname"].as_str(), labels["zone"].as_str()), ("n1", "a"));
        let spec = node.spec.expect("a spec");
        assert_eq!((spec.pod_cidr.as_deref(), spec.taints), (Some("10.244.0.0/24"), None));
        let status = status(&config(), &[], None, at(5));
        assert_eq!(status.capacity.as_ref().map(|capacity| capacity["cpu"].0.as_str()), Some("2500m"));
        assert_eq!(status.capacity, status.allocatable);
        assert_eq!(status.node_info.map(|info| info.container_runtime_version).as_deref(), Some("fake://1.0.0"));
    }

    #[tokio::test]
    async fn an_unchanged_status_is_not_written() {
        let first = status(&config(), &[], None, at(5));
        let later = status(&config(), &[], Some(&first), at(500));
        assert_eq!(patch(Some(&first), &later), None);
    }

    #[tokio::test]
    async fn what_a_controller_said_of_us_is_put_right() {
        let mut old = status(&config(), &[], None, at(5));
        let ready = old.conditions.iter_mut().flatten().find(|condition| condition.type_ == "Ready").expect("Ready");
        ready.status = "Unknown".to_owned();
        let patch = patch(Some(&old), &status(&config(), &[], Some(&old), at(60))).expect("a patch");
        let conditions = patch["status"]["conditions"].as_array().expect("conditions");
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").expect("Ready");
        assert_eq!(
            (ready["status"].as_str(), ready["lastTransitionTime"].as_str()),
            (Some("True"), Some("1970-01-01T00:01:00Z"))
        );
        assert_eq!(patch["status"].as_object().map(serde_json::Map::len), Some(1), "nothing else is written");
    }

    #[tokio::test]
    async fn new_images_are_told_biggest_first() {
        let image = |tag: &str, size_bytes| Image { id: String::new(), tags: vec![tag.to_owned()], size_bytes };
        let old = status(&config(), &[], None, at(5));
        let new = status(&config(), &[image("small", 1), image("big", 2)], Some(&old), at(6));
        let patch = patch(Some(&old), &new).expect("a patch");
        assert_eq!(patch["status"]["images"][0]["names"][0], "big");
    }
}
