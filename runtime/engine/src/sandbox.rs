//! A pod's shared things: its address and what its containers have in common.

use parking_lot::Mutex;
use std::net::IpAddr;
use wk_cri::{Filter, PodSandboxConfig, SandboxId, SandboxState, SandboxStatus, UnixNanos};
use wk_network::PodPort;

/// A sandbox of this runtime.
pub(crate) struct Sandbox {
    pub id: SandboxId,
    pub config: PodSandboxConfig,
    created_at: UnixNanos,
    address: IpAddr,
    /// `None` once stopped.
    port: Mutex<Option<PodPort>>,
}

impl Sandbox {
    /// A ready sandbox with its place on the network.
    pub fn new(id: SandboxId, config: PodSandboxConfig, created_at: UnixNanos, port: PodPort) -> Self {
        Self { id, config, created_at, address: port.address(), port: Mutex::new(Some(port)) }
    }

    /// Its place on the network; `None` once stopped.
    pub fn port(&self) -> Option<PodPort> {
        self.port.lock().clone()
    }

    /// Makes it not ready. What it had on the network goes with the last
    /// container that uses it, and at the latest when the caller drops this.
    pub fn stop(&self) -> Option<PodPort> {
        self.port.lock().take()
    }

    /// Its address on the pod network.
    pub fn address(&self) -> Option<IpAddr> {
        (!self.config.host_network).then_some(self.address)
    }

    /// Whether a list narrowed by `filter` has it.
    pub fn matches(&self, filter: &Filter) -> bool {
        let Filter { sandbox, labels } = filter;
        sandbox.as_ref().is_none_or(|wanted| *wanted == self.id)
            && labels.iter().all(|(name, value)| self.config.labels.get(name) == Some(value))
    }

    /// As it is.
    pub fn status(&self) -> SandboxStatus {
        let state = if self.port.lock().is_some() { SandboxState::Ready } else { SandboxState::NotReady };
        SandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state,
            created_at: self.created_at,
            addresses: self.address().into_iter().collect(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }
}
