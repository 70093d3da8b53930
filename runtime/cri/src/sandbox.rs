//! Pod sandboxes: plain data.

use crate::UnixNanos;
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

/// The id of a sandbox, made by the runtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(pub String);

/// What identifies a sandbox to the kubelet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SandboxMetadata {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's UID.
    pub uid: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
}

/// How names are looked up in a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains, tried in order.
    pub searches: Vec<String>,
    /// Options of `resolv.conf`, such as `ndots:5`.
    pub options: Vec<String>,
}

/// What to make of a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSandboxConfig {
    /// Whose it is.
    pub metadata: SandboxMetadata,
    /// The host name its containers see; with `domain` at its end when they see the full one.
    pub hostname: String,
    /// What follows the host name in the full one (`web.shop.svc.cluster.local`); empty without.
    pub domain: String,
    /// Where the containers' logs go; their `log_path` is relative to it.
    pub log_directory: PathBuf,
    /// Name lookup.
    pub dns: DnsConfig,
    /// Extra names (`hostAliases`): name to address.
    pub host_aliases: Vec<(String, IpAddr)>,
    /// Use the host's network instead of a pod address.
    pub host_network: bool,
    /// For finding it again.
    pub labels: BTreeMap<String, String>,
    /// Free-form.
    pub annotations: BTreeMap<String, String>,
}

/// Whether a sandbox can run containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxState {
    /// It has its address and can.
    Ready,
    /// It was stopped, or the runtime lost it.
    NotReady,
}

/// A sandbox as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub metadata: SandboxMetadata,
    /// Whether it can run containers.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: UnixNanos,
    /// Its addresses on the pod network; empty with the host's network.
    pub addresses: Vec<IpAddr>,
    /// As configured.
    pub labels: BTreeMap<String, String>,
    /// As configured.
    pub annotations: BTreeMap<String, String>,
}
