//! Path and method to what is asked.

use super::Error;
use http::Method;

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPath {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, when the caller insists on this very pod.
    pub uid: Option<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPath {
    /// Its pod.
    pub pod: PodPath,
    /// Its name in the pod's spec.
    pub container: String,
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/healthz`
    Healthz,
    /// `/pods`
    Pods,
    /// `/stats/summary`
    Stats,
    /// `/metrics`
    Metrics,
    /// `/containerLogs/{namespace}/{pod}/{container}`
    Logs(ContainerPath),
    /// `/exec/{namespace}/{pod}[/{uid}]/{container}`
    Exec(ContainerPath),
    /// `/attach/{namespace}/{pod}[/{uid}]/{container}`
    Attach(ContainerPath),
    /// `/portForward/{namespace}/{pod}[/{uid}]`
    PortForward(PodPath),
}

/// The route of a request (upstream: `pkg/kubelet/server/server.go`).
///
/// # Errors
/// [`Error::NotFound`], [`Error::MethodNotAllowed`].
pub fn route(method: &Method, path: &str) -> Result<Route, Error> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (route, may_post) = match segments.as_slice() {
        ["healthz", ..] => (Route::Healthz, false),
        ["pods"] => (Route::Pods, false),
        ["stats", "summary"] => (Route::Stats, false),
        ["metrics"] => (Route::Metrics, false),
        ["containerLogs", namespace, pod, container] => {
            (Route::Logs(container_path(namespace, pod, None, container)), false)
        }
        ["exec", rest @ ..] => (Route::Exec(container_of(rest)?), true),
        ["attach", rest @ ..] => (Route::Attach(container_of(rest)?), true),
        ["portForward", namespace, pod] => (Route::PortForward(pod_path(namespace, pod, None)), true),
        ["portForward", namespace, pod, uid] => (Route::PortForward(pod_path(namespace, pod, Some(uid))), true),
        _ => return Err(not_found()),
    };
    match *method {
        Method::GET => Ok(route),
        Method::POST if may_post => Ok(route),
        _ => Err(Error::MethodNotAllowed),
    }
}

fn not_found() -> Error {
    Error::NotFound("404 page not found".to_owned())
}

fn container_of(segments: &[&str]) -> Result<ContainerPath, Error> {
    match segments {
        [namespace, pod, container] => Ok(container_path(namespace, pod, None, container)),
        [namespace, pod, uid, container] => Ok(container_path(namespace, pod, Some(uid), container)),
        _ => Err(not_found()),
    }
}

fn container_path(namespace: &str, pod: &str, uid: Option<&str>, container: &str) -> ContainerPath {
    ContainerPath { pod: pod_path(namespace, pod, uid), container: container.to_owned() }
}

fn pod_path(namespace: &str, name: &str, uid: Option<&str>) -> PodPath {
    PodPath { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_routes() {
        let with_uid = route(&Method::POST, "/exec/default/web/1234/app").expect("a route");
        assert_eq!(with_uid, Route::Exec(container_path("default", "web", Some("1234"), "app")));
        let forward = route(&Method::GET, "/portForward/default/web").expect("a route");
        assert_eq!(forward, Route::PortForward(pod_path("default", "web", None)));
    }

    #[test]
    fn logs_are_only_read_and_other_paths_are_not_found() {
        let path = "/containerLogs/default/web/app";
        assert!(matches!(route(&Method::POST, path), Err(Error::MethodNotAllowed)));
        assert!(matches!(route(&Method::GET, "/run/default/web/app"), Err(Error::NotFound(_))));
        assert!(matches!(route(&Method::GET, "/exec/default"), Err(Error::NotFound(_))));
    }
}
