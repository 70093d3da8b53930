//! `-v`: what is asked of the server, told on standard error as kubectl's log
//! tells it: from 6 each request, from 8 also what is in it.

use super::Manner;
use http::{Method, StatusCode};
use std::io::Write;
use tokio::time::Instant;

/// Level from which requests are told.
const REQUESTS: u8 = 6;

/// Level from which bodies are told.
const BODIES: u8 = 8;

/// Bytes of a body that are told below level 9.
const BODY_BYTES_TOLD: usize = 1024;

/// One request that is under way.
pub(super) struct Trace {
    told: Option<(String, Instant)>,
}

impl Trace {
    pub(super) fn begin(manner: &Manner, method: &Method, path: &str, content: Option<&[u8]>) -> Self {
        if manner.verbosity < REQUESTS {
            return Self { told: None };
        }
        if let Some(content) = content {
            body_as(manner, "Request Body", content);
        }
        let server = manner.server.to_string();
        let what = format!("verb=\"{method}\" url=\"{}{path}\"", server.trim_end_matches('/'));
        Self { told: Some((what, Instant::now())) }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let Some((what, since)) = &self.told else { return };
        say(&format!("\"Response\" {what} status=\"{status}\" milliseconds={}", since.elapsed().as_millis()));
    }
}

/// Tells what an answer holds.
pub(super) fn body(manner: &Manner, content: &[u8]) {
    body_as(manner, "Response Body", content);
}

fn body_as(manner: &Manner, title: &str, content: &[u8]) {
    if manner.verbosity < BODIES {
        return;
    }
    let shown = if manner.verbosity > BODIES { content.len() } else { content.len().min(BODY_BYTES_TOLD) };
    let cut = if shown < content.len() { " [truncated]" } else { "" };
    say(&format!("{title:?} body={:?}{cut}", String::from_utf8_lossy(&content[..shown])));
}

fn say(text: &str) {
    // A log that cannot be written is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}
