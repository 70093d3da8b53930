//! What the server or the way to it answered instead of what was asked, in
//! kubectl's words (upstream: `kubectl/pkg/cmd/util/helpers.go`).

use anyhow::Result;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::Value;

/// The API answered with a `Status` that is no success.
#[derive(Debug, thiserror::Error)]
#[error("{}", kubectl_text(.status))]
pub struct ApiError {
    /// The whole answer.
    pub status: Value,
}

impl ApiError {
    /// `NotFound`, `AlreadyExists`…; empty when the server gave none.
    pub fn reason(&self) -> &str {
        self.status["reason"].as_str().unwrap_or_default()
    }
}

/// An error whose text says what it is: no `error:` goes before it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Bare(pub String);

/// `Error from server (NotFound): pods "x" not found`, and the other forms.
fn kubectl_text(status: &Value) -> String {
    let message = status["message"].as_str().unwrap_or_default();
    let kind = status["details"]["kind"].as_str().unwrap_or_default();
    match status["reason"].as_str() {
        Some("Invalid") if !kind.is_empty() => format!("The {}{}", quoted_kind(status, kind), invalid_body(status)),
        Some("Unauthorized") => format!("error: You must be logged in to the server ({message})"),
        Some(reason) if !reason.is_empty() => format!("Error from server ({reason}): {message}"),
        _ => format!("Error from server: {message}"),
    }
}

fn quoted_kind(status: &Value, kind: &str) -> String {
    format!("{kind} {:?} is invalid", status["details"]["name"].as_str().unwrap_or_default())
}

fn invalid_body(status: &Value) -> String {
    let causes = status["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<String> = causes
        .iter()
        .map(|cause| {
            let (field, message) = (cause["field"].as_str().unwrap_or_default(), cause["message"].as_str());
            format!("{field}: {}", message.unwrap_or_default())
        })
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        [one] => format!(": {one}"),
        many => format!(": \n* {}", many.join("\n* ")),
    }
}

/// The text for the last line of a failed command.
pub fn describe_error(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let is_bare = error.downcast_ref::<ApiError>().is_some() || error.downcast_ref::<Bare>().is_some();
    match error.downcast_ref::<ApiError>() {
        Some(api) => api.to_string(),
        None if is_bare || text.starts_with("error: ") => text,
        None => format!("error: {text}"),
    }
}

/// Turns "not found" into `None`.
///
/// # Errors
/// Every other error.
pub fn none_if_missing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.downcast_ref::<ApiError>().is_some_and(|api| api.reason() == "NotFound") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says from which file the refused object came: `error when VERB "FILE": …`.
pub fn with_source(error: anyhow::Error, verb: &str, source: &str) -> anyhow::Error {
    match error.downcast::<ApiError>() {
        Ok(ApiError { mut status }) => {
            let message = status["message"].as_str().unwrap_or_default();
            status["message"] = format!("error when {verb} {source:?}: {message}").into();
            ApiError { status }.into()
        }
        Err(error) => error.context(format!("error when {verb} {source:?}")),
    }
}

/// The `Status` of an answer, or one made of what it says instead.
pub(super) fn status_of(code: StatusCode, body: &Bytes) -> Value {
    serde_json::from_slice::<Value>(body).ok().filter(|status| status["kind"] == "Status").unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        if code == StatusCode::NOT_FOUND {
            // Whatever the page says: there is nothing at this path.
            let message = "the server could not find the requested resource";
            return serde_json::json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": message});
        }
        let message = if text.trim().is_empty() { code.to_string() } else { text.trim().to_owned() };
        serde_json::json!({"kind": "Status", "code": code.as_u16(), "message": message})
    })
}

/// Why there was no answer at all.
pub(super) fn explain_connection(error: kube::Error, server: &Uri) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
        let refused = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if refused == Some(std::io::ErrorKind::ConnectionRefused) {
            let address = server.authority().map(ToString::to_string).unwrap_or_default();
            return Bare(format!(
                "The connection to the server {address} was refused - did you specify the right host or port?\n\
                 (`wk status` tells whether the cluster on this machine runs, `wk up` starts it.)"
            ))
            .into();
        }
    }
    Bare(format!("Unable to connect to the server: {cause}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(status: Value) -> String {
        describe_error(&ApiError { status }.into())
    }

    #[test]
    fn errors_read_as_kubectls_do() {
        let missing = json!({"reason": "NotFound", "message": "pods \"x\" not found"});
        assert_eq!(text(missing), "Error from server (NotFound): pods \"x\" not found");
        let invalid = json!({"reason": "Invalid", "details": {"name": "web", "kind": "Deployment", "causes": [
            {"field": "spec.replicas", "message": "Invalid value: -1"}]}});
        assert_eq!(text(invalid), "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1");
        let two = json!({"reason": "Invalid", "details": {"name": "p", "kind": "Pod", "causes": [
            {"field": "a", "message": "x"}, {"field": "b", "message": "y"}]}});
        assert_eq!(text(two), "The Pod \"p\" is invalid: \n* a: x\n* b: y");
    }
}
