//! The nodes of this process: one network and one engine for all, a runtime and
//! a kubelet for each.

use super::{
    CLUSTER_DOMAIN, Shared, machine,
    power::{self, Power},
};
use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::NodeAddress;
use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use wk_apiserver::node_connector::Nodes;
use wk_engine::{Compiler, Limits, Programs, Toolbox, WasmRuntime};
use wk_images::ImageStore;
use wk_kubelet::{Capacity, ClusterDns, Kubelet, KubeletHandle, NodeConfig, server};
use wk_network::Network;
use wk_platform::{
    TaskGroup, UserInfo,
    listen::{self, Listener},
    serve,
    tasks::OnError,
};
use wk_proxy::Proxy;

/// Length of a node's part of the cluster's pod addresses. Upstream's
/// `--node-cidr-mask-size` of 24 holds 254 pods; a node here runs thousands.
const NODE_PREFIX_LENGTH: u8 = 20;

/// Upstream's, for clusters of so many nodes that the longer one is needed.
const NODE_PREFIX_LENGTH_MAX: u8 = 24;

/// Upstream's port of the kubelet; here it is only a name, since the API server
/// reaches the nodes of this process without one.
const KUBELET_PORT: u16 = 10_250;

/// What the nodes share.
struct Machine {
    network: Network,
    programs: Arc<Programs>,
    images: Arc<ImageStore>,
    guests: Handle,
}

/// A node that runs here.
pub(super) struct Node {
    pub name: String,
    pub pod_cidr: Ipv4Net,
    /// To be shut down when the kubelets have stopped.
    pub runtime: Arc<WasmRuntime>,
}

/// The length of a node's lease at most (upstream's default of
/// `nodeLeaseDurationSeconds`), and the share of the grace period that it is:
/// upstream's 40 of 50 seconds.
const LEASE_MAX: Duration = Duration::from_secs(40);
const LEASE_OF_GRACE: (u32, u32) = (4, 5);

/// The nodes that were started.
#[derive(Default)]
pub(super) struct Started {
    pub nodes: Vec<Node>,
    /// Their switches.
    pub power: Power,
}

/// Starts the nodes.
pub(super) fn start_all(shared: &Shared, nodes: &Arc<Nodes>, guests: Handle) -> Result<Started> {
    let data_dir = &shared.config.data_dir;
    let network = shared.network();
    let machine = Machine {
        programs: Programs::new(&data_dir.join("cache"), compiler()).context("start the engine")?,
        images: Arc::new(
            ImageStore::open(data_dir.join(crate::commands::IMAGES_DIRECTORY)).context("open the images")?,
        ),
        network: network.clone(),
        guests,
    };
    let ranges = node_ranges(shared.config.cluster_cidr, shared.config.nodes)?;
    if let Some(first) = ranges.first() {
        start_proxy(shared, network, Network::node_address(*first).context("the first node's address")?);
    }
    let numbered = ranges.into_iter().enumerate();
    let prepared = numbered.map(|(index, range)| {
        let name = format!("node-{}", index + 1);
        let (runtime, machine) =
            prepare(shared, &machine, nodes, &name, range).with_context(|| format!("start {name}"))?;
        Ok((Node { name, pod_cidr: range, runtime }, machine))
    });
    let (nodes, machines) = prepared.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok(Started { nodes, power: Power::start(machines, &shared.parts) })
}

/// The first `count` parts of the cluster's pod addresses.
fn node_ranges(cluster: Ipv4Net, count: u32) -> Result<Vec<Ipv4Net>> {
    let shortest = NODE_PREFIX_LENGTH.max(cluster.prefix_len());
    let parts = |length: u8| cluster.subnets(length).map(|parts| parts.take(count as usize).collect::<Vec<_>>());
    let mut ranges = parts(shortest).context("divide --cluster-cidr")?;
    if ranges.len() < count as usize && shortest < NODE_PREFIX_LENGTH_MAX {
        ranges = parts(NODE_PREFIX_LENGTH_MAX).context("divide --cluster-cidr")?;
    }
    anyhow::ensure!(ranges.len() == count as usize, "--cluster-cidr {cluster} is too small for {count} nodes");
    Ok(ranges)
}

fn start_proxy(shared: &Shared, network: Network, from: IpAddr) {
    // Where the API listens and nowhere else: who may reach the one may reach the other.
    let node_ports = Some(wk_proxy::node_ports::Config { listen: shared.config.listen.ip(), from });
    let client = shared.client(UserInfo::new("system:kube-proxy", &[]));
    let config = wk_proxy::Config { client, network, cluster_domain: CLUSTER_DOMAIN.to_owned(), node_ports };
    let (proxy, tasks) = (Proxy::new(config), shared.parts.clone());
    shared.parts.spawn("proxy", OnError::StopGroup, async move {
        proxy.run(tasks).await;
        Ok::<_, std::convert::Infallible>(())
    });
}

/// A node that can be started.
fn prepare(
    shared: &Shared,
    machine: &Machine,
    nodes: &Arc<Nodes>,
    name: &str,
    range: Ipv4Net,
) -> Result<(Arc<WasmRuntime>, power::Machine)> {
    let directory = shared.config.data_dir.join("nodes").join(name);
    let runtime = Arc::new(wasm_runtime(shared, machine, &directory, range)?);
    let config = wk_kubelet::Config {
        node_name: name.to_owned(),
        client: shared.client(UserInfo::node(name)),
        runtime: runtime.clone(),
        images: runtime.clone(),
        root_dir: directory,
        clock: shared.clock.clone(),
        entropy: shared.entropy.clone(),
        node: node_config(shared, name, range)?,
        dns: ClusterDns { servers: name_server(shared.config.service_cidr), domain: CLUSTER_DOMAIN.to_owned() },
    };
    let nodes = nodes.clone();
    let start = move |tasks: &TaskGroup| {
        let kubelet = Kubelet::new(config.clone());
        serve_kubelet(&config, &nodes, kubelet.handle(), tasks);
        kubelet.run(tasks);
    };
    Ok((runtime.clone(), power::Machine { name: name.to_owned(), runtime, start: Box::new(start) }))
}

/// The address that pods are told to ask for names: the tenth of the Services',
/// by kubeadm's convention. The pod network answers in its place.
fn name_server(services: Ipv4Net) -> Vec<IpAddr> {
    services.hosts().nth(9).map(IpAddr::V4).into_iter().collect()
}

fn wasm_runtime(shared: &Shared, machine: &Machine, directory: &Path, range: Ipv4Net) -> Result<WasmRuntime> {
    let config = wk_engine::Config {
        programs: machine.programs.clone(),
        images: machine.images.clone(),
        toolbox: Some(toolbox()),
        network: machine.network.clone(),
        pod_cidr: range,
        state_dir: directory.join("containers"),
        guests: machine.guests.clone(),
        clock: shared.clock.clone(),
        entropy: shared.entropy.clone(),
        limits: Limits::default(),
    };
    WasmRuntime::new(config).context("start the wasm runtime")
}

/// This very program, even when its file has been replaced since.
fn compiler() -> Compiler {
    Compiler::Process { program: "/proc/self/exe".into(), args: vec!["compile".into()] }
}

fn toolbox() -> Toolbox {
    Toolbox { wasm: wk_guests::TOOLBOX, code: wk_guests::TOOLBOX_CODE, programs: wk_guests::TOOLBOX_PROGRAMS }
}

fn node_config(shared: &Shared, name: &str, range: Ipv4Net) -> Result<NodeConfig> {
    let internal = Network::node_address(range).context("the node's address")?.to_string();
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    Ok(NodeConfig {
        addresses: vec![address("InternalIP", internal), address("Hostname", name.to_owned())],
        pod_cidr: Some(range.to_string()),
        capacity: capacity(shared.config.nodes, range),
        lease_duration: LEASE_MAX.min(shared.config.node_grace * LEASE_OF_GRACE.0 / LEASE_OF_GRACE.1),
        endpoint_port: KUBELET_PORT,
        version: wk_apiserver::version::git_version(),
        os_image: machine::os_image(),
        kernel_version: machine::kernel_version(),
        machine_id: machine::machine_id(),
        boot_id: machine::boot_id(),
        ..NodeConfig::default()
    })
}

/// Each node offers the whole machine, as the nodes of other clusters in one
/// machine do, but only its part of the pods that the process can run, and no
/// more than it has addresses for (the first is its own).
fn capacity(nodes: u32, range: Ipv4Net) -> Capacity {
    let addresses = range.hosts().count() as u64;
    let pods = (machine::pods_max() / u64::from(nodes.max(1))).min(addresses.saturating_sub(1));
    Capacity {
        cpu_millis: machine::cpu_millis(),
        memory_bytes: machine::memory_bytes(),
        pods: u32::try_from(pods).unwrap_or(u32::MAX),
        ..Capacity::default()
    }
}

/// The kubelet's HTTP API on an in-memory address that only the API server has.
fn serve_kubelet(config: &wk_kubelet::Config, nodes: &Nodes, kubelet: KubeletHandle, tasks: &TaskGroup) {
    let (listener, connector) = listen::pipe();
    nodes.register(&config.node_name, connector);
    let service = server::service(server::Config {
        node_name: config.node_name.clone(),
        kubelet,
        clock: config.clock.clone(),
        tasks: tasks.clone(),
        callers: server::Callers::Trusted,
    });
    let group = tasks.clone();
    tasks.spawn_to_completion("kubelet API", OnError::StopGroup, async move {
        serve::serve(Listener::Pipe(listener), None, service, group).await
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_part_of_the_pod_addresses() {
        let cluster: Ipv4Net = "10.244.0.0/16".parse().expect("valid");
        let ranges = node_ranges(cluster, 3).expect("room for three");
        assert_eq!(ranges[2].to_string(), "10.244.32.0/20");
        assert_eq!(node_ranges(cluster, 17).expect("room for 17")[16].to_string(), "10.244.16.0/24");
        assert!(node_ranges("10.244.0.0/24".parse().expect("valid"), 2).is_err());
    }
}
