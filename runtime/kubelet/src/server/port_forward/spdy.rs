//! Port-forward over SPDY streams (upstream:
//! `kubelet/pkg/cri/streaming/portforward/httpstream.go`).
//!
//! A forwarded connection is two streams with one `requestid`: what is wrong
//! goes to the `error` stream, the bytes to the `data` stream.

use super::{
    Target,
    wire::{Incoming, Stream},
};
use std::{collections::HashMap, convert::Infallible, io, time::Duration};
use tokio::{io::AsyncWriteExt, time::Instant};
use tracing::debug;
use wk_platform::{TaskGroup, tasks::OnError};

/// How long one stream of a pair waits for the other (upstream's default).
const PAIR_TIMEOUT: Duration = Duration::from_secs(30);

/// What a stream says it is.
#[derive(Debug, PartialEq, Eq)]
struct Purpose {
    request: String,
    port: u16,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    Data,
}

/// One stream that waits for its other half.
struct Half {
    stream: Stream,
    kind: Kind,
    since: Instant,
}

/// Serves the pairs of streams until the connection ends.
pub async fn serve(target: Target, mut incoming: Incoming, tasks: TaskGroup) {
    // A group of its own: dropping it at the end stops what is still going on.
    let connections = tasks.child();
    let mut halves: HashMap<String, Half> = HashMap::new();
    loop {
        let oldest = halves.values().map(|half| half.since).min();
        let deadline = oldest.map_or_else(far_away, |since| since + PAIR_TIMEOUT);
        let stream = tokio::select! {
            stream = incoming.next() => stream,
            () = tokio::time::sleep_until(deadline) => {
                // Dropping it resets it.
                halves.retain(|_, half| half.since + PAIR_TIMEOUT > Instant::now());
                continue;
            }
        };
        let Some(stream) = stream else { return };
        // A stream that makes no sense is reset; so is one whose connection ended.
        if let Err(error) = take(stream, &mut halves, &target, &connections).await {
            debug!(%error, "refused a stream");
        }
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

async fn take(
    mut stream: Stream,
    halves: &mut HashMap<String, Half>,
    target: &Target,
    connections: &TaskGroup,
) -> io::Result<()> {
    let headers = stream.headers();
    let of = |name| headers.get(name).unwrap_or_default();
    let Purpose { request, port, kind } =
        purpose(stream.id(), of("streamtype"), of("port"), of("requestid")).map_err(io::Error::other)?;
    stream.accept().await?;
    let (error, data) = match (halves.remove(&request), kind) {
        (Some(other), Kind::Data) if other.kind == Kind::Error => (other.stream, stream),
        (Some(other), Kind::Error) if other.kind == Kind::Data => (stream, other.stream),
        // Two of a kind: the newer one counts.
        _ => {
            halves.insert(request, Half { stream, kind, since: Instant::now() });
            return Ok(());
        }
    };
    let target = target.clone();
    connections.spawn("forwarded connection", OnError::Log, async move {
        if let Err(error) = connect(target, port, error, data).await {
            debug!(%error, port, "forwarded connection ended early");
        }
        Ok::<_, Infallible>(())
    });
    Ok(())
}

/// What a stream says it is. Old clients give no request id: their data stream
/// is the one opened after their error stream.
fn purpose(id: u32, kind: &str, port: &str, request: &str) -> Result<Purpose, String> {
    let (kind, first) = match kind {
        "error" => (Kind::Error, id),
        "data" => (Kind::Data, id.saturating_sub(2)),
        _ => return Err(format!("invalid stream type \"{kind}\"")),
    };
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    let port = port.ok_or("\"port\" header must be a port")?;
    let request = if request.is_empty() { first.to_string() } else { request.to_owned() };
    Ok(Purpose { request, port, kind })
}

async fn connect(target: Target, port: u16, mut error: Stream, mut data: Stream) -> io::Result<()> {
    match target.connect(port).await {
        Ok(mut pod) => {
            let copied = tokio::io::copy_bidirectional(&mut data, &mut pod).await;
            error.shutdown().await?;
            copied.map(|_| ())
        }
        Err(message) => {
            error.write_all(message.as_bytes()).await?;
            error.shutdown().await?;
            data.shutdown().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_request_belong_together() {
        let error = purpose(1, "error", "80", "7").expect("valid");
        let data = purpose(9, "data", "80", "7").expect("valid");
        assert_eq!((&error.request, error.kind), (&data.request, Kind::Error));
        let old_error = purpose(5, "error", "80", "").expect("valid");
        assert_eq!(old_error.request, purpose(7, "data", "80", "").expect("valid").request);
    }

    #[test]
    fn a_stream_without_a_port_or_purpose_is_refused() {
        for (kind, port) in [("data", ""), ("data", "0"), ("data", "70000"), ("stdin", "80")] {
            assert!(purpose(1, kind, port, "1").is_err(), "{kind} {port}");
        }
    }
}
