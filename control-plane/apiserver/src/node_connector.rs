//! From the API server to a node's kubelet: the one path that leads there.
//!
//! A node in this process is reached through its pipe, any other over TLS at the
//! address and port in its status. Called by `subresources`; it opens the
//! connection and does not speak HTTP.

use crate::object::{at, list_at, str_at};
use parking_lot::RwLock;
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, OnceLock},
};
use tokio_rustls::TlsConnector;
use wk_platform::listen::{BoxByteStream, PipeConnector, connect_tcp};

/// The kubelet's port when its node does not say.
const KUBELET_PORT: u16 = 10250;

/// Kinds of addresses, the preferred first.
const ADDRESS_TYPES: &[&str] = &["InternalIP", "ExternalIP", "InternalDNS", "Hostname", "ExternalDNS"];

/// The nodes of this process, and how others are reached.
#[derive(Default)]
pub struct Nodes {
    pipes: RwLock<BTreeMap<String, PipeConnector>>,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Nodes {
    /// Reaches `node` through `pipe` from now on.
    pub fn register(&self, node: impl Into<String>, pipe: PipeConnector) {
        self.pipes.write().insert(node.into(), pipe);
    }

    /// Undoes [`Nodes::register`].
    pub fn forget(&self, node: &str) {
        self.pipes.write().remove(node);
    }

    /// Reaches the nodes that are not registered over TLS, with the API server's
    /// client certificate and the kubelets' authority. Only the first call counts.
    pub fn reach_others(&self, tls: Arc<rustls::ClientConfig>) {
        let _ = self.tls.set(tls);
    }

    /// A connection to the kubelet of `name`, ready for HTTP; `node` is its
    /// object.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn connect(&self, name: &str, node: &Value) -> io::Result<BoxByteStream> {
        let pipe = self.pipes.read().get(name).cloned();
        if let Some(pipe) = pipe {
            return Ok(Box::new(pipe.connect().await?));
        }
        let tls = self.tls.get().ok_or_else(|| io::Error::other(format!("node {name:?} is not in this process")))?;
        let (host, port) = address(node).ok_or_else(|| io::Error::other(format!("node {name:?} has no address")))?;
        let mut addresses = tokio::net::lookup_host((host, port)).await?;
        let address = addresses.next().ok_or_else(|| io::Error::other(format!("{host:?} has no address")))?;
        let server = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = connect_tcp(address).await?;
        Ok(Box::new(TlsConnector::from(tls.clone()).connect(server, stream).await?))
    }
}

/// The host and port of the node's kubelet.
fn address(node: &Value) -> Option<(&str, u16)> {
    let addresses = list_at(node, "status.addresses");
    let of_type = |kind: &&str| addresses.iter().find(|address| str_at(address, "type") == *kind);
    let host = ADDRESS_TYPES.iter().find_map(of_type).map(|address| str_at(address, "address"))?;
    let port = at(node, "status.daemonEndpoints.kubeletEndpoint.Port").and_then(Value::as_u64);
    Some((host, port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(KUBELET_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_internal_address_and_the_port_of_the_status_are_used() {
        let addresses = json!([{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}]);
        let endpoints = json!({"kubeletEndpoint": {"Port": 10251}});
        let node = json!({"status": {"addresses": addresses, "daemonEndpoints": endpoints}});
        assert_eq!(address(&node), Some(("10.0.0.1", 10251)));
        let bare = json!({"status": {"addresses": [{"type": "Hostname", "address": "n1"}]}});
        assert_eq!(address(&bare), Some(("n1", KUBELET_PORT)));
        assert_eq!(address(&json!({})), None);
    }

    #[tokio::test]
    async fn a_registered_node_is_reached_through_its_pipe() {
        let (mut listener, connector) = wk_platform::listen::pipe();
        let nodes = Nodes::default();
        nodes.register("n1", connector);
        nodes.connect("n1", &Value::Null).await.expect("the listener is there");
        listener.accept().await.expect("a connection");
        let error = nodes.connect("n2", &Value::Null).await.map(drop).expect_err("no such node");
        assert_eq!(error.to_string(), "node \"n2\" is not in this process");
    }
}
