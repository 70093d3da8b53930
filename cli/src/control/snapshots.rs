//! Snapshots over the control socket: the store's content as a body, both ways.
//!
//! Going out, it is written as fast as it is read, and writers to the store are
//! not held up. Coming in, it is spooled to disk and checked as a whole before
//! anything changes.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{
    convert::Infallible,
    io::{self, Seek},
    path::Path,
    sync::Arc,
};
use tokio::{io::AsyncWriteExt, sync::oneshot};
use tokio_util::io::{ReaderStream, StreamReader};
use wk_platform::{TaskGroup, http::Body, tasks::OnError};
use wk_store::{Revision, Store, snapshot};

/// Bytes between the store and the connection.
const PIPE_BYTES: usize = 256 * 1024;

/// A body that is a snapshot of the store as it is now. `busy` is held until it is over.
pub fn save(store: Arc<dyn Store>, tasks: &TaskGroup, busy: impl Send + 'static) -> Body {
    let (reader, mut writer) = tokio::io::duplex(PIPE_BYTES);
    let (done, result) = oneshot::channel();
    tasks.spawn("snapshot", OnError::Log, async move {
        let saved = snapshot::save(&*store, &mut writer).await;
        let _ = done.send(saved.map(drop).map_err(io::Error::other)); // the client may have gone
        drop(busy);
        Ok::<_, Infallible>(())
    });
    // A snapshot that cannot be finished must not look like one that is.
    let failure = async move { result.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())).err() };
    let end = stream::once(failure).filter_map(|failure| async move { failure.map(Err) });
    StreamBody::new(ReaderStream::new(reader).chain(end).map_ok(Frame::data)).boxed_unsync()
}

/// Replaces the content of the store by a snapshot; the revision of the
/// replacement. `spool` is a directory for a file that nobody else sees.
///
/// # Errors
/// When the body is no whole snapshot, or the disk refuses; the store is then as before.
pub async fn restore(store: &dyn Store, body: Body, spool: &Path) -> Result<Revision> {
    let spooling = || format!("write to {}", spool.display());
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(spool).with_context(spooling)?);
    let mut input = StreamReader::new(body.into_data_stream());
    tokio::io::copy(&mut input, &mut file).await.with_context(spooling)?;
    file.flush().await.with_context(spooling)?;
    let mut file = file.into_std().await;
    let contents = tokio::task::spawn_blocking(move || -> Result<_> {
        file.rewind()?;
        Ok(snapshot::load(file)?)
    });
    let contents = contents.await.context("read the snapshot")??;
    store.replace(contents.values, contents.summary.revision).await.context("restore the snapshot")
}
