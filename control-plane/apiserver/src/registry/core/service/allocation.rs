//! What a Service needs from the pools of cluster addresses and node ports. The
//! verbs own the pools: they ask here what is wanted, and write the result with
//! the setters (upstream: `pkg/registry/core/service/storage/alloc.go`).

use crate::object;
use crate::registry::metadata::invalid_shown;
use crate::schema::FieldError;
use serde_json::{Value, json};

/// Whether the type has an address inside the cluster at all.
pub fn needs_cluster_ip(service: &Value) -> bool {
    matches!(object::str_at(service, "spec.type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether the type has ports on the nodes.
pub fn needs_node_ports(service: &Value) -> bool {
    let spec = &service["spec"];
    match object::str_at(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// Whether load balancers ask the nodes which of them have endpoints.
pub fn needs_health_check_port(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Whether an address must be taken from the pool.
pub fn wants_cluster_ip(service: &Value) -> bool {
    needs_cluster_ip(service) && object::str_at(service, "spec.clusterIP").is_empty()
}

/// The address that the author asks for by value; none for a headless Service.
pub fn requested_cluster_ip(service: &Value) -> Option<&str> {
    let ip = object::str_at(service, "spec.clusterIP");
    (needs_cluster_ip(service) && !ip.is_empty() && ip != "None").then_some(ip)
}

/// Gives the Service its address.
pub fn set_cluster_ip(service: &mut Value, ip: &str) {
    let spec = object::map_mut(service, "spec");
    spec.insert("clusterIP".to_owned(), json!(ip));
    spec.insert("clusterIPs".to_owned(), json!([ip]));
}

/// A port that is, or is to be, open on all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePort {
    /// Position in `spec.ports`.
    pub index: usize,
    /// `TCP`: a number can be taken once for each protocol.
    pub protocol: String,
    /// The number, when the author asks for one.
    pub requested: Option<u16>,
}

/// The node ports that the Service is to have.
pub fn node_ports(service: &Value) -> Vec<NodePort> {
    if !needs_node_ports(service) {
        // A load balancer without node ports may still name some.
        return requested_node_ports(service).filter(|port| port.requested.is_some()).collect();
    }
    requested_node_ports(service).collect()
}

fn requested_node_ports(service: &Value) -> impl Iterator<Item = NodePort> {
    let ports = object::list_at(service, "spec.ports").iter().enumerate();
    ports.map(|(index, port)| NodePort {
        index,
        protocol: object::str_at(port, "protocol").to_owned(),
        requested: port["nodePort"]
            .as_u64()
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| *number != 0),
    })
}

/// Gives one of the ports its number on the nodes.
pub fn set_node_port(service: &mut Value, index: usize, number: u16) {
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    if let Some(port) = ports.and_then(|ports| ports.get_mut(index)).and_then(Value::as_object_mut) {
        port.insert("nodePort".to_owned(), json!(number));
    }
}

/// The health-check port: whether one must be taken, and which if the author says.
pub fn health_check_port(service: &Value) -> Option<Option<u16>> {
    let requested = service["spec"]["healthCheckNodePort"].as_u64().and_then(|number| u16::try_from(number).ok());
    needs_health_check_port(service).then_some(requested.filter(|number| *number != 0))
}

/// Gives the Service its health-check port.
pub fn set_health_check_port(service: &mut Value, number: u16) {
    object::map_mut(service, "spec").insert("healthCheckNodePort".to_owned(), json!(number));
}

/// Why an address or a port cannot be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Somebody has it.
    Already,
    /// It is not one of these (`10.96.0.0/16`, `30000-32767`).
    OutOfRange(String),
}

/// The error for a cluster address that cannot be given.
pub fn cluster_ip_error(ip: &str, why: &Taken) -> FieldError {
    let problem = match why {
        Taken::Already => "provided IP is already allocated".to_owned(),
        Taken::OutOfRange(range) => {
            format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}")
        }
    };
    let detail = format!("failed to allocate IP {ip}: {problem}");
    invalid_shown("spec.clusterIPs", &format!("[]string{{{ip:?}}}"), &detail)
}

/// The error for a node port that cannot be given.
pub fn node_port_error(index: usize, number: u16, why: &Taken) -> FieldError {
    FieldError::invalid(format!("spec.ports[{index}].nodePort"), number, port_problem(why))
}

/// The error for a health-check port that cannot be given.
pub fn health_check_port_error(number: u16, why: &Taken) -> FieldError {
    FieldError::invalid("spec.healthCheckNodePort", number, port_problem(why))
}

fn port_problem(why: &Taken) -> String {
    match why {
        Taken::Already => "provided port is already allocated".to_owned(),
        Taken::OutOfRange(range) => {
            format!("provided port is not in the valid range. The range of valid ports is {range}")
        }
    }
}
