//! Node address management: each node gets a part of the cluster's pod
//! addresses (upstream: `pkg/controller/nodeipam`).

use crate::runner::{Cache, Error, EventType, Key, Next, Reconcile, Recorder, Runner, patch, unless_gone};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt, api::Patch};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tracing::info;

/// One after another: two nodes must not get the same part.
const WORKERS: usize = 1;
/// Addresses of one node, as a prefix length (upstream: `--node-cidr-mask-size-ipv4`).
const NODE_PREFIX: u8 = 24;

struct Controller {
    client: Client,
    recorder: Recorder,
    cluster: Ipv4Net,
    nodes: Arc<Cache<Node>>,
    /// What was given and may not show in the cache yet.
    given: Mutex<HashMap<Key, Ipv4Net>>,
}

/// Puts the controller into `runner`; nodes get parts of `cluster`.
pub fn register(runner: &mut Runner, cluster: Ipv4Net) {
    let mut builder = runner.controller("node-ipam-controller");
    let nodes = builder.cache_of_own::<Node>();
    let (client, recorder) = (builder.runner.client.clone(), builder.recorder.clone());
    builder.run(WORKERS, Controller { client, recorder, cluster, nodes, given: Mutex::default() });
}

fn cidr(node: &Node) -> Option<Ipv4Net> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

/// The first part of `cluster` that nobody has.
fn free(cluster: Ipv4Net, taken: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
    cluster
        .subnets(NODE_PREFIX.max(cluster.prefix_len()))
        .ok()?
        .find(|part| !taken.iter().any(|other| other.contains(part) || part.contains(other)))
}

impl Reconcile for Controller {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key) else {
            self.given.lock().remove(key);
            return Ok(Next::Change);
        };
        if cidr(&node).is_some() {
            self.given.lock().remove(key);
            return Ok(Next::Change);
        }
        let Some(part) = self.choose(key) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.record(&*node, EventType::Normal, "CIDRNotAvailable", message);
            let problem = format!("no addresses are left in {}", self.cluster);
            return Err(Error::Object { object: key.to_string(), problem });
        };
        let cidr = part.to_string();
        let metadata = json!({"uid": node.uid(), "resourceVersion": node.resource_version()});
        let body = json!({"metadata": metadata, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        let api: Api<Node> = Api::all(self.client.clone());
        let written = api.patch(&key.name, &patch::params(), &Patch::Merge(&body)).await;
        unless_gone(written).map_err(Error::api("give addresses to node", key))?;
        info!(node = %key, %cidr, "gave pod addresses to node");
        Ok(Next::Change)
    }
}

impl Controller {
    fn choose(&self, key: &Key) -> Option<Ipv4Net> {
        let mut given = self.given.lock();
        let seen = self.nodes.everything().iter().filter_map(|node| cidr(node)).collect::<BTreeSet<_>>();
        let taken: BTreeSet<Ipv4Net> =
            given.iter().filter(|(other, _)| *other != key).map(|(_, part)| *part).chain(seen).collect();
        let part =
            given.get(key).copied().filter(|part| !taken.contains(part)).or_else(|| free(self.cluster, &taken))?;
        given.insert(key.clone(), part);
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_part_is_given_until_none_is_left() {
        let net = |text: &str| text.parse::<Ipv4Net>().expect("a network");
        let mut taken = BTreeSet::from([net("10.244.0.0/24"), net("10.244.2.0/25")]);
        assert_eq!(free(net("10.244.0.0/22"), &taken), Some(net("10.244.1.0/24")));
        taken.extend([net("10.244.1.0/24"), net("10.244.3.0/24")]);
        assert_eq!(free(net("10.244.0.0/22"), &taken), None);
        assert_eq!(free(net("10.244.7.0/26"), &BTreeSet::new()), Some(net("10.244.7.0/26")));
    }
}
