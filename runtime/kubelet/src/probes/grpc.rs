//! gRPC probes: one `grpc.health.v1.Health/Check` over HTTP/2 without TLS, with
//! upstream's texts (`k8s.io/kubernetes/pkg/probe/grpc`). The two messages are so
//! small that they are written and read by hand.

use super::{
    Target,
    connection::{self, Answer, Heard, Version},
    http::USER_AGENT,
    target::{connect, host_port},
};
use crate::events::go_duration;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::Full;
use k8s_openapi::api::core::v1::GRPCAction;
use std::time::Duration;

/// The names of gRPC's status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const UNKNOWN: usize = 2;
const DEADLINE_EXCEEDED: usize = 4;
const UNIMPLEMENTED: usize = 12;
const INTERNAL: usize = 13;
const UNAVAILABLE: usize = 14;

/// The only serving status that is good.
const SERVING: u64 = 1;

/// A call that did not come back with OK.
struct Refusal {
    code: usize,
    message: String,
}

/// Asks whether the service is being served.
///
/// # Errors
/// What is wrong.
pub(super) async fn check(target: &Target, action: &GRPCAction, timeout: Duration) -> Result<(), String> {
    let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
    let address = host_port(&target.address, port);
    let unreachable = || {
        let within = go_duration(timeout);
        format!("timeout: failed to connect service {address:?} within {within}: context deadline exceeded")
    };
    let stream = connect(target, port).await.map_err(|_| unreachable())?;
    let (stream, first) = Heard::listen_to(stream);
    let service = action.service.as_deref().unwrap_or_default();
    let request = request(&address, service, timeout).map_err(|error| error.to_string())?;
    let refusal = match tokio::time::timeout(timeout, connection::exchange(stream, Version::Http2, request)).await {
        // Who does not speak HTTP/2 was never connected to, in gRPC's eyes.
        Err(_) | Ok(Err(_)) if !first.is_http2() => return Err(unreachable()),
        Err(_) => Refusal { code: DEADLINE_EXCEEDED, message: String::new() },
        Ok(Err(error)) => Refusal { code: UNAVAILABLE, message: format!("error reading from server: {error}") },
        Ok(Ok(answer)) => match status(&answer) {
            Ok(SERVING) => return Ok(()),
            Ok(status) => return Err(format!("service unhealthy (responded with {:?})", status_name(status))),
            Err(refusal) => refusal,
        },
    };
    Err(refusal.said(timeout))
}

impl Refusal {
    fn said(self, timeout: Duration) -> String {
        let Self { code, message } = self;
        match code {
            UNIMPLEMENTED => {
                format!(
                    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
                )
            }
            DEADLINE_EXCEEDED => format!("timeout: health rpc did not complete within {}", go_duration(timeout)),
            _ => {
                let name = CODES.get(code).map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
                format!("error: health rpc probe failed: rpc error: code = {name} desc = {message}")
            }
        }
    }
}

fn request(address: &str, service: &str, timeout: Duration) -> http::Result<Request<Full<Bytes>>> {
    Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        .header("grpc-timeout", format!("{}m", timeout.as_millis()))
        .body(Full::new(message(service)))
}

/// `HealthCheckRequest { service }` in gRPC's frame: not compressed, length, bytes.
fn message(service: &str) -> Bytes {
    let mut text = BytesMut::new();
    if !service.is_empty() {
        text.put_u8(0x0a); // field 1, of bytes
        put_varint(&mut text, service.len());
        text.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX)); // a name in a pod's spec is shorter
    frame.put(text);
    frame.freeze()
}

fn put_varint(bytes: &mut BytesMut, mut value: usize) {
    while value > 0x7f {
        bytes.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

/// The serving status in an answer.
fn status(answer: &Answer) -> Result<u64, Refusal> {
    if answer.status != http::StatusCode::OK {
        let message = format!("unexpected HTTP status code received from server: {}", shown(answer.status));
        return Err(Refusal { code: code_of_http(answer.status.as_u16()), message });
    }
    let field = |name: &str| answer.trailers.get(name).or_else(|| answer.headers.get(name));
    let text = |name: &str| field(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = text("content-type").unwrap_or_default();
    if !content_type.starts_with("application/grpc") {
        let message = format!("transport: received unexpected content-type {content_type:?}");
        return Err(Refusal { code: UNKNOWN, message });
    }
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => {}
        Some(code) => return Err(Refusal { code, message: decoded(&text("grpc-message").unwrap_or_default()) }),
        None => {
            let message = "server closed the stream without sending trailers".to_owned();
            return Err(Refusal { code: INTERNAL, message });
        }
    }
    let unreadable =
        || Refusal { code: INTERNAL, message: "grpc: failed to unmarshal the received message".to_owned() };
    serving_status(&answer.body).ok_or_else(unreadable)
}

fn shown(status: http::StatusCode) -> String {
    format!("{} ({})", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

/// gRPC's table for answers that are none of its own.
fn code_of_http(status: u16) -> usize {
    match status {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// `HealthCheckResponse { status }` out of its frame; 0 when the field is not set.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (head, rest) = frame.split_at_checked(5)?;
    let length = usize::try_from(u32::from_be_bytes(head[1..].try_into().ok()?)).ok()?;
    let mut message = rest.get(..length).filter(|_| head[0] == 0)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn status_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

/// `%20` and the like, which gRPC uses in messages.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
