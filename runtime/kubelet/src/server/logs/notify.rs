//! Who says that a log has grown.

use futures::future::BoxFuture;
use std::{path::Path, time::Duration};

/// Says when a container's log has grown, so that following it needs no
/// polling. Implemented by whoever writes the logs.
pub trait LogNotifier: Send + Sync + 'static {
    /// Resolves at the next write to the log at `path` (its absolute path) after
    /// this call, even when it is first polled later; may resolve too often,
    /// never too rarely.
    fn written(&self, path: &Path) -> BoxFuture<'static, ()>;
}

/// How often a followed log is looked at when nobody says that it has grown.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// For a log writer that says nothing: look now and then, while somebody follows.
pub struct PollLogs;

impl LogNotifier for PollLogs {
    fn written(&self, _: &Path) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(LOOK_INTERVAL))
    }
}
