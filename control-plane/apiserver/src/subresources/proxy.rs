//! `nodes/proxy`, `pods/proxy`, `services/proxy`: HTTP to what they name.
//!
//! A node is its kubelet; a pod is a connection to its port through the
//! kubelet; a service is one of its ready pods. Links in pages are not
//! rewritten.

use super::{
    pod_connection::{self, PodConnection},
    stream::{ask, node_of, object, pass, pass_upgrade, retarget, send, upgrade},
};
use crate::{
    Server,
    http::status::ApiError,
    object::{list_at, str_at},
};
use http::Uri;
use serde_json::Value;
use wk_platform::http::{Request, Response, asks_for_upgrade};

/// Passes the request on to `path` of the node's kubelet.
///
/// # Errors
/// [`ApiError::NotFound`] without the node, or that it cannot be reached.
pub async fn node(server: &Server, request: Request, id: &str, path: &str) -> Result<Response, ApiError> {
    let (name, _port) = split_id(id);
    object(server, "nodes", "", name).await?;
    let target = with_query(path, &request)?;
    if asks_for_upgrade(&request) {
        return upgrade(server, name, target, request).await;
    }
    Ok(pass(ask(server, name, retarget(request, target)).await?))
}

/// Passes the request on to `path` of the pod's port. `id` is
/// `[scheme:]name[:port]`; the port is a number, a name, or the first there is.
///
/// # Errors
/// [`ApiError::NotFound`] without the pod, [`ApiError::BadRequest`] without a
/// node or port, [`ApiError::Unavailable`] when the port does not answer.
pub async fn pod(
    server: &Server,
    request: Request,
    namespace: &str,
    id: &str,
    path: &str,
) -> Result<Response, ApiError> {
    let (name, asked) = split_id(id);
    let pod = object(server, "pods", namespace, name).await?;
    let unknown = || ApiError::BadRequest(format!("no port {asked:?} in pod {name:?}"));
    let port = pod_port(&pod, asked).ok_or_else(unknown)?;
    to_pod(server, request, &pod, port, path).await
}

/// Passes the request on to `path` of one of the service's ready pods.
///
/// # Errors
/// [`ApiError::NotFound`] without the service, [`ApiError::Unavailable`] when
/// no pod is ready or it does not answer.
pub async fn service(
    server: &Server,
    request: Request,
    namespace: &str,
    id: &str,
    path: &str,
) -> Result<Response, ApiError> {
    let (name, asked) = split_id(id);
    let service = object(server, "services", namespace, name).await?;
    let none = || ApiError::Unavailable(format!("no endpoints available for service {id:?}"));
    let port_name = service_port_name(&service, asked).ok_or_else(none)?;
    let endpoints = object(server, "endpoints", namespace, name).await.map_err(|_| none())?;
    let (pod, port) = ready_pod(&endpoints, port_name).ok_or_else(none)?;
    let pod = object(server, "pods", namespace, pod).await?;
    to_pod(server, request, &pod, port, path).await
}

async fn to_pod(
    server: &Server,
    mut request: Request,
    pod: &Value,
    port: u16,
    path: &str,
) -> Result<Response, ApiError> {
    let (namespace, name) = (crate::object::namespace(pod), crate::object::name(pod));
    let target = with_query(path, &request)?;
    let client = hyper::upgrade::on(&mut request);
    let node = node_of(pod, name)?;
    let PodConnection { stream, failure } = pod_connection::open(server, node, namespace, name, port).await?;
    let response = send(&server.tasks, stream, retarget(request, target)).await.map_err(|error| {
        let why = failure.get().cloned().unwrap_or_else(|| error.to_string());
        ApiError::Unavailable(format!("error trying to reach service: {why}"))
    })?;
    Ok(pass_upgrade(&server.tasks, client, response))
}

/// `https:web:8080` to `web` and `8080`; the scheme says nothing here, and an
/// absent port is empty.
fn split_id(id: &str) -> (&str, &str) {
    match id.split(':').collect::<Vec<_>>().as_slice() {
        [name] => (name, ""),
        [name, port] | [_, name, port] => (name, port),
        _ => (id, ""),
    }
}

fn with_query(path: &str, request: &Request) -> Result<Uri, ApiError> {
    let path = path.trim_start_matches('/');
    let text = match request.uri().query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    text.parse().map_err(|error| ApiError::BadRequest(format!("{error}")))
}

fn port_number(port: &Value, field: &str) -> Option<u16> {
    port.get(field).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok())
}

fn pod_port(pod: &Value, asked: &str) -> Option<u16> {
    if let Ok(port) = asked.parse() {
        return Some(port);
    }
    let containers = list_at(pod, "spec.containers");
    let mut ports = containers.iter().flat_map(|container| list_at(container, "ports"));
    // Upstream's default is the first port, else 80.
    match asked {
        "" => ports.next().map_or(Some(80), |port| port_number(port, "containerPort")),
        name => ports.find(|port| str_at(port, "name") == name).and_then(|port| port_number(port, "containerPort")),
    }
}

/// The name of the service's port that is asked for by name or number; empty
/// for the only port without a name.
fn service_port_name<'a>(service: &'a Value, asked: &str) -> Option<&'a str> {
    let ports = list_at(service, "spec.ports");
    let is_asked = |port: &&Value| {
        asked == str_at(port, "name") || asked.parse() == Ok(port_number(port, "port").unwrap_or_default())
    };
    let port = if asked.is_empty() { ports.first() } else { ports.iter().find(is_asked) };
    port.map(|port| str_at(port, "name"))
}

fn ready_pod<'a>(endpoints: &'a Value, port_name: &str) -> Option<(&'a str, u16)> {
    list_at(endpoints, "subsets").iter().find_map(|subset| {
        let port = list_at(subset, "ports").iter().find(|port| str_at(port, "name") == port_name)?;
        let mut addresses = list_at(subset, "addresses").iter();
        let address = addresses.find(|address| str_at(address, "targetRef.kind") == "Pod")?;
        Some((str_at(address, "targetRef.name"), port_number(port, "port")?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_have_an_optional_scheme_and_port() {
        assert_eq!(split_id("web"), ("web", ""));
        assert_eq!(split_id("web:http"), ("web", "http"));
        assert_eq!(split_id("https:web:8443"), ("web", "8443"));
    }

    #[test]
    fn a_pods_port_is_a_number_a_name_or_the_first() {
        let ports = json!([{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9090}]);
        let pod = json!({"spec": {"containers": [{"name": "a", "ports": ports}]}});
        assert_eq!(pod_port(&pod, ""), Some(8080));
        assert_eq!(pod_port(&pod, "admin"), Some(9090));
        assert_eq!(pod_port(&pod, "81"), Some(81));
        assert_eq!(pod_port(&pod, "nothing"), None);
    }

    #[test]
    fn a_services_port_leads_to_a_ready_pod() {
        let service = json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
        let address = json!({"ip": "10.244.0.2", "targetRef": {"kind": "Pod", "name": "web-1"}});
        let subset = json!({"addresses": [address], "ports": [{"name": "http", "port": 8080}]});
        let endpoints = json!({"subsets": [subset]});
        for asked in ["", "80", "http"] {
            let name = service_port_name(&service, asked).expect("a port");
            assert_eq!(ready_pod(&endpoints, name), Some(("web-1", 8080)), "{asked}");
        }
        assert_eq!(service_port_name(&service, "81"), None);
    }
}
