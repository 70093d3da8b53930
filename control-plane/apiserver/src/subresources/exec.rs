//! `pods/exec`: a command in a container.

use super::{
    attach::streams,
    stream::{choose_container, node_of, object, target, upgrade},
};
use crate::{
    Server,
    http::{query::Query, status::ApiError},
};
use wk_platform::http::{Request, Response};

/// Answers `GET` or `POST pods/NAME/exec` by passing the upgrade on.
///
/// # Errors
/// [`ApiError::NotFound`] without the pod, [`ApiError::BadRequest`] without a
/// container to choose, a node or an upgrade.
pub async fn exec(server: &Server, request: Request, namespace: &str, name: &str) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let pod = object(server, "pods", namespace, name).await?;
    let container = choose_container(&pod, name, query.get("container"))?;
    let node = node_of(&pod, name)?;
    let command = query.all("command").map(|word| ("command", word));
    let target = target(&format!("/exec/{namespace}/{name}/{container}"), command.chain(streams(&query)))?;
    upgrade(server, node, target, request).await
}
