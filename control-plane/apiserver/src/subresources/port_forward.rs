//! `pods/portforward`: connections to ports of a pod.

use super::stream::{node_of, object, target, upgrade};
use crate::{
    Server,
    http::{query::Query, status::ApiError},
};
use wk_platform::http::{Request, Response};

/// Answers `GET` or `POST pods/NAME/portforward` by passing the upgrade on.
///
/// # Errors
/// [`ApiError::NotFound`] without the pod, [`ApiError::BadRequest`] without a
/// node or an upgrade.
pub async fn port_forward(
    server: &Server,
    request: Request,
    namespace: &str,
    name: &str,
) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let pod = object(server, "pods", namespace, name).await?;
    let node = node_of(&pod, name)?;
    let ports = query.all("ports").flat_map(|ports| ports.split(',')).map(|port| ("port", port));
    let target = target(&format!("/portForward/{namespace}/{name}"), ports)?;
    upgrade(server, node, target, request).await
}
