//! The events of a watch, as they come.

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

/// A body read line by line.
pub struct Lines {
    body: Body,
    buffer: Vec<u8>,
}

/// A watch event longer than this is a server gone wrong (its objects are at
/// most 3 MiB).
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

impl Lines {
    pub(super) fn of(body: Body) -> Self {
        Self { body, buffer: Vec::new() }
    }

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
