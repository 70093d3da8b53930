//! What a kubelet is given: plain data, built by the composition root.

use k8s_openapi::api::core::v1::{NodeAddress, Taint};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use wk_cri::{ImageService, RuntimeService};
use wk_platform::{Clock, Entropy};

/// Everything a kubelet needs.
#[derive(Clone)]
pub struct Config {
    /// The node's name: `metadata.name` of its Node, `spec.nodeName` of its pods.
    pub node_name: String,
    /// The cluster, as `system:node:<node_name>`.
    pub client: kube::Client,
    /// What runs containers.
    pub runtime: Arc<dyn RuntimeService>,
    /// What has images.
    pub images: Arc<dyn ImageService>,
    /// An absolute directory of its own: `pods/` has volumes, `logs/` has logs.
    pub root_dir: PathBuf,
    /// For timestamps and deadlines.
    pub clock: Clock,
    /// For names and jitter.
    pub entropy: Entropy,
    /// What the Node object says.
    pub node: NodeConfig,
    /// What pods with `dnsPolicy: ClusterFirst` ask.
    pub dns: ClusterDns,
}

/// Facts about the node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Labels besides the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints to register with.
    pub taints: Vec<Taint>,
    /// `InternalIP`, `Hostname`…; the first `InternalIP` is the pods' `hostIP`.
    pub addresses: Vec<NodeAddress>,
    /// The range of its pods' addresses, such as `10.244.0.0/24`.
    pub pod_cidr: Option<String>,
    /// What pods may ask for.
    pub capacity: Capacity,
    /// Where the kubelet's HTTP API listens.
    pub endpoint_port: u16,
    /// How long a Lease is good; it is renewed four times in it (upstream:
    /// `nodeLeaseDurationSeconds`, by default 40 s). Whole seconds.
    pub lease_duration: Duration,
    /// `nodeInfo.kubeletVersion`, such as `v1.33.0+wk.0.1.0`.
    pub version: String,
    /// `nodeInfo.osImage`.
    pub os_image: String,
    /// `nodeInfo.kernelVersion`.
    pub kernel_version: String,
    /// `nodeInfo.machineID` and `nodeInfo.systemUUID`.
    pub machine_id: String,
    /// `nodeInfo.bootID`.
    pub boot_id: String,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            taints: Vec::new(),
            addresses: Vec::new(),
            pod_cidr: None,
            capacity: Capacity::default(),
            endpoint_port: 0,
            lease_duration: Duration::from_secs(40),
            version: String::new(),
            os_image: String::new(),
            kernel_version: String::new(),
            machine_id: String::new(),
            boot_id: String::new(),
        }
    }
}

/// What pods on the node may ask for, all together.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Bytes of disk for logs and `emptyDir`s.
    pub ephemeral_storage_bytes: u64,
    /// Pods.
    pub pods: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        // 110 is upstream's default of --max-pods.
        Self { cpu_millis: 1_000, memory_bytes: 1 << 30, ephemeral_storage_bytes: 10 << 30, pods: 110 }
    }
}

/// The cluster's name service.
#[derive(Clone, Debug, Default)]
pub struct ClusterDns {
    /// Addresses of name servers; none leaves pods with the host's names.
    pub servers: Vec<IpAddr>,
    /// Such as `cluster.local`.
    pub domain: String,
}
