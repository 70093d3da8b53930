//! The kubelet as a whole: what runs beside what.

use crate::{
    Config, KubeletHandle,
    actions::Context,
    events,
    node::Node,
    objects::Objects,
    pods::{Pods, Slots, follow_runtime},
    volumes::Tokens,
};
use std::sync::Arc;
use wk_platform::{TaskGroup, tasks::OnError};

/// A node agent that is not running yet.
pub struct Kubelet {
    config: Config,
    handle: KubeletHandle,
}

impl Kubelet {
    /// A kubelet for one node.
    pub fn new(config: Config) -> Self {
        let handle = KubeletHandle::new(Arc::clone(&config.runtime));
        Self { config, handle }
    }

    /// For looking into it while it runs.
    pub fn handle(&self) -> KubeletHandle {
        self.handle.clone()
    }

    /// Starts all of the kubelet's tasks in `tasks` and returns. They register
    /// the node, keep it alive, and run its pods until the group stops. Running
    /// containers are left to the runtime then: a later kubelet finds them.
    pub fn run(self, tasks: &TaskGroup) {
        let Self { config, handle } = self;
        let (recorder, writer) =
            events::recorder(config.client.clone(), config.clock.clone(), config.node_name.clone());
        let addresses = config.node.addresses.iter().filter(|address| address.type_ == "InternalIP");
        let version = config.runtime.version();
        let scheme = version.split_once("://").map_or(version.as_str(), |(scheme, _)| scheme);
        let context = Arc::new(Context {
            recorder: recorder.clone(),
            objects: Objects::new(config.client.clone(), tasks.child()),
            handle,
            host_ips: addresses.map(|address| address.address.clone()).collect(),
            scheme: format!("{scheme}://"),
            tokens: Tokens(config.client.clone()),
            measuring: tokio::sync::Semaphore::new(1),
            config: config.clone(),
        });
        let slots = Slots::default();
        // Subscribed before the first look at any container, so that no change is missed.
        tasks.spawn("runtime events", OnError::StopGroup, follow_runtime(Arc::clone(&context), slots.clone()));
        tasks.spawn("recorded events", OnError::StopGroup, writer.run());
        tasks.spawn("services", OnError::StopGroup, Arc::clone(&context.objects).watch_services());
        tasks.spawn("node", OnError::StopGroup, Node::new(config, recorder).run());
        tasks.spawn("pods", OnError::StopGroup, Pods { context, tasks: tasks.clone(), slots }.run());
    }
}

#[cfg(test)]
mod api;
#[cfg(test)]
mod tests;
