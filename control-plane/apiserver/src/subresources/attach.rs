//! `pods/attach`: the streams of a container's guest itself.

use super::stream::{choose_container, node_of, object, target, upgrade};
use crate::{
    Server,
    http::{query::Query, status::ApiError},
};
use wk_platform::http::{Request, Response};

/// Answers `GET` or `POST pods/NAME/attach` by passing the upgrade on.
///
/// # Errors
/// As [`super::exec::exec`].
pub async fn attach(server: &Server, request: Request, namespace: &str, name: &str) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let pod = object(server, "pods", namespace, name).await?;
    let container = choose_container(&pod, name, query.get("container"))?;
    let node = node_of(&pod, name)?;
    let target = target(&format!("/attach/{namespace}/{name}/{container}"), streams(&query))?;
    upgrade(server, node, target, request).await
}

/// The wanted streams, by the kubelet's names for them.
pub(super) fn streams(query: &Query) -> impl Iterator<Item = (&str, &str)> {
    let names = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    names.into_iter().filter(|(asked, _)| query.flag(asked)).map(|(_, passed)| (passed, "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_the_kubelets_names() {
        let query = Query::parse("stdin=true&stdout=true&stderr=false&tty=1");
        let passed: Vec<_> = streams(&query).map(|(name, _)| name).collect();
        assert_eq!(passed, ["input", "output", "tty"]);
    }
}
