//! Requests as commands make them, and errors as kubectl prints them.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

/// Asks for a table, and takes a plain object when the server has none.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Plain JSON.
pub const JSON: &str = "application/json";

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

/// `Error from server (NotFound): pods "x" not found`, and upstream's other
/// forms (`kubectl/pkg/cmd/util/helpers.go`).
fn kubectl_text(status: &Value) -> String {
    let message = status["message"].as_str().unwrap_or_default();
    let kind = status["details"]["kind"].as_str().unwrap_or_default();
    match status["reason"].as_str() {
        Some("Invalid") if !kind.is_empty() => format!("The {}{}", quoted_kind(status, kind), invalid_body(status)),
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
    if let Some(api) = error.downcast_ref::<ApiError>() {
        return api.to_string();
    }
    format!("error: {error:#}")
}

/// A cluster's API.
#[derive(Clone)]
pub struct Rest {
    client: kube::Client,
}

/// A successful answer.
pub struct Answer {
    /// 200, 201 or 202.
    pub code: StatusCode,
    /// The body.
    pub body: Value,
}

impl Rest {
    /// Requests through `client`.
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// The client underneath, for what needs kube's own API.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Sends a request; its answer's body is not read yet.
    ///
    /// # Errors
    /// [`ApiError`] for anything but success; otherwise what the connection said.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<http::Response<Body>> {
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let mut bytes = Vec::new();
        if let Some((content_type, content)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            bytes = content;
        }
        let request = request.body(Body::from(bytes)).context("make the request")?;
        let response = self.client.send(request).await.map_err(explain_connection)?;
        for warning in response.headers().get_all(header::WARNING) {
            print_warning(warning);
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let body = response.into_body().collect().await.context("read the answer")?.to_bytes();
        Err(ApiError { status: status_of(code, &body) }.into())
    }

    /// Sends a request and reads its JSON answer.
    ///
    /// # Errors
    /// As [`Rest::stream`]; also an answer that is no JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer> {
        let response = self.stream(method, path, accept, body).await?;
        let code = response.status();
        let bytes = response.into_body().collect().await.context("read the answer")?.to_bytes();
        let body = serde_json::from_slice(&bytes).context("the server's answer is no JSON")?;
        Ok(Answer { code, body })
    }

    /// GET of JSON.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.send(Method::GET, path, JSON, None).await?.body)
    }

    /// GET of JSON; `None` when there is no such object.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn get_optional(&self, path: &str) -> Result<Option<Value>> {
        none_if_missing(self.get(path).await)
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let body = serde_json::to_vec(object)?;
        Ok(self.send(Method::POST, path, JSON, Some((JSON, body))).await?.body)
    }

    /// PATCH.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn patch(&self, path: &str, content_type: &str, patch: &Value) -> Result<Answer> {
        let body = serde_json::to_vec(patch)?;
        self.send(Method::PATCH, path, JSON, Some((content_type, body))).await
    }

    /// Watch events, one JSON value each, until the server ends the watch.
    ///
    /// # Errors
    /// As [`Rest::stream`].
    pub async fn watch(&self, path: &str, accept: &str) -> Result<Lines> {
        let response = self.stream(Method::GET, path, accept, None).await?;
        Ok(Lines { body: response.into_body(), buffer: Vec::new() })
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

fn status_of(code: StatusCode, body: &Bytes) -> Value {
    serde_json::from_slice::<Value>(body).ok().filter(|status| status["kind"] == "Status").unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let message = if text.trim().is_empty() { code.to_string() } else { text.trim().to_owned() };
        serde_json::json!({"kind": "Status", "code": code.as_u16(), "message": message})
    })
}

fn explain_connection(error: kube::Error) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return anyhow::anyhow!("the connection to the server was refused - is the server running (`wk up`)?");
        }
        cause = inner;
    }
    anyhow::Error::new(error).context("reach the server")
}

/// `299 - "text"` as `Warning: text` on stderr.
fn print_warning(value: &http::HeaderValue) {
    use std::io::Write;
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let message = text.split_once('"').map_or(text.as_str(), |(_, rest)| rest.trim_end_matches('"'));
    let _ = writeln!(std::io::stderr(), "Warning: {}", message.replace("\\\"", "\""));
}

/// A body read line by line.
pub struct Lines {
    body: Body,
    buffer: Vec<u8>,
}

/// A watch event longer than this is a server gone wrong (its objects are at
/// most 3 MiB).
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

impl Lines {
    /// The next line as JSON; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// What the connection said, or that a line is no JSON.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).context("a watch event is no JSON");
            }
            anyhow::ensure!(self.buffer.len() < LINE_BYTES_MAX, "a watch event is over {LINE_BYTES_MAX} bytes");
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let data = frame.context("the watch broke off")?.into_data().unwrap_or_default();
                    self.buffer.extend_from_slice(&data);
                }
            }
        }
    }
}

fn memchr(needle: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == needle)
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
