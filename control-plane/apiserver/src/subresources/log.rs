//! `pods/log`: a container's log from its node's kubelet.

use super::stream::{ask, choose_container, object, pass, refusal, target};
use crate::{
    Server,
    http::{
        query::Query,
        status::{ApiError, Target},
    },
    object::str_at,
    schema::FieldError,
};
use http::{HeaderValue, StatusCode, Uri, header};
use wk_platform::http::{Request, Response, empty};

/// Parameters that go on to the kubelet as they are.
const PASSED: &[&str] = &["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes"];

/// Answers `GET pods/NAME/log` with plain text, as it comes.
///
/// # Errors
/// [`ApiError::NotFound`] without the pod, [`ApiError::Invalid`] for wrong
/// options, [`ApiError::BadRequest`] without a container to choose or with why
/// it has no log.
pub async fn log(server: &Server, request: Request, namespace: &str, name: &str) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    validate(&query, name)?;
    let pod = object(server, "pods", namespace, name).await?;
    let container = choose_container(&pod, name, query.get("container"))?;
    let node = str_at(&pod, "spec.nodeName");
    if node.is_empty() {
        return Ok(no_content());
    }
    let mut forwarded = Request::new(empty());
    *forwarded.uri_mut() = kubelet_target(namespace, name, container, &query)?;
    let response = ask(server, node, forwarded).await?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let mut response = pass(response);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// A pod without a node has no log yet.
fn no_content() -> Response {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn kubelet_target(namespace: &str, name: &str, container: &str, query: &Query) -> Result<Uri, ApiError> {
    let passed = PASSED.iter().filter(|parameter| query.has(parameter));
    let path = format!("/containerLogs/{namespace}/{name}/{container}");
    target(&path, passed.map(|parameter| (*parameter, query.get(parameter))))
}

/// Upstream: `ValidatePodLogOptions`.
fn validate(query: &Query, name: &str) -> Result<(), ApiError> {
    let (tail, since) = (query.integer("tailLines")?, query.integer("sinceSeconds")?);
    let limit = query.integer("limitBytes")?;
    let since_time = query.get("sinceTime");
    if !since_time.is_empty() && since_time.parse::<jiff::Timestamp>().is_err() {
        return Err(ApiError::BadRequest(format!("parsing time {since_time:?}: not a time of RFC 3339")));
    }
    let mut errors = Vec::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        errors.push(FieldError::invalid("tailLines", tail, "must be greater than or equal to 0"));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        errors.push(FieldError::invalid("limitBytes", limit, "must be greater than 0"));
    }
    match since {
        Some(_) if !since_time.is_empty() => {
            errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        Some(since) if since < 1 => {
            errors.push(FieldError::invalid("sinceSeconds", since, "must be greater than 0"));
        }
        _ => {}
    }
    if errors.is_empty() {
        return Ok(());
    }
    let target = Target { group: String::new(), resource: "PodLogOptions".to_owned(), name: name.to_owned() };
    Err(ApiError::Invalid(target, errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_options_are_named() {
        let message = |query: &str| {
            let error = validate(&Query::parse(query), "web").expect_err("wrong");
            error.status()["message"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(
            message("tailLines=-1"),
            "PodLogOptions \"web\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"
        );
        assert!(message("sinceSeconds=0").contains("must be greater than 0"));
        assert!(message("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").contains("at most one of"));
        assert!(validate(&Query::parse("tailLines=0&follow=true&sinceTime=2026-01-01T00:00:00Z"), "web").is_ok());
    }

    #[test]
    fn only_known_parameters_go_on() {
        let query = Query::parse("container=a&follow=true&sinceTime=2026-01-01T00:00:00%2B01:00&pretty=1");
        let uri = kubelet_target("ns", "web", "a", &query).expect("a uri");
        let expected = "/containerLogs/ns/web/a?follow=true&sinceTime=2026-01-01T00%3A00%3A00%2B01%3A00";
        assert_eq!(uri.to_string(), expected);
    }
}
