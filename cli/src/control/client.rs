//! The asking end: commands talk to the server of a data directory.

use super::{
    SOCKET,
    protocol::{Container, Containers, Problem, Restored, ServerStatus, Stats},
};
use crate::compose::power::State;
use anyhow::{Context, Result, anyhow, bail};
use futures::TryStreamExt;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use wk_platform::{
    TaskGroup,
    http::{Body, empty},
    listen,
    tasks::OnError,
};

/// A way to the server of a data directory. Each request is a connection.
pub struct Control {
    data_dir: PathBuf,
    tasks: TaskGroup,
}

impl Control {
    /// For the server of `data_dir`; nothing is sent yet. Call it inside a tokio
    /// runtime.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), tasks: TaskGroup::new() }
    }

    /// What the server says about itself.
    ///
    /// # Errors
    /// When no server answers.
    pub async fn status(&self) -> Result<ServerStatus> {
        self.json(Method::GET, "/v1/status").await
    }

    /// All containers of all nodes.
    ///
    /// # Errors
    /// As [`Control::status`], and what the runtimes say.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        Ok(self.json::<Containers>(Method::GET, "/v1/containers").await?.containers)
    }

    /// What a container uses, by its whole id; `None` when it is gone.
    ///
    /// # Errors
    /// As [`Control::containers`].
    pub async fn stats(&self, id: &str) -> Result<Option<Stats>> {
        let response = self.send(Method::GET, &format!("/v1/containers/{id}/stats"), empty()).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(response).await.map(Some)
    }

    /// Removes a container by its whole id; one that runs only with `force`.
    ///
    /// # Errors
    /// As [`Control::containers`]; also when it runs and may not be forced.
    pub async fn remove(&self, id: &str, force: bool) -> Result<()> {
        let query = if force { "?force=true" } else { "" };
        let _: serde_json::Value = self.json(Method::DELETE, &format!("/v1/containers/{id}{query}")).await?;
        Ok(())
    }

    /// Turns a node off or on; returns when it is.
    ///
    /// # Errors
    /// When no server answers, when it has no such node, and when it is stopping.
    pub async fn turn_node(&self, name: &str, state: State) -> Result<()> {
        let verb = match state {
            State::On => "start",
            State::Off => "stop",
        };
        let _: serde_json::Value = self.json(Method::POST, &format!("/v1/nodes/{name}/{verb}")).await?;
        Ok(())
    }

    /// Writes a snapshot of the server's store to `out`. Whether it is whole is
    /// for the caller to check.
    ///
    /// # Errors
    /// When it ends early, and when `out` refuses.
    pub async fn save_snapshot(&self, out: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        let response = self.send(Method::GET, "/v1/snapshot", empty()).await?;
        if !response.status().is_success() {
            return read::<serde_json::Value>(response).await.map(drop);
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame.context("read the snapshot from the server")?.into_data() {
                out.write_all(&bytes).await.context("write the snapshot")?;
            }
        }
        out.flush().await.context("write the snapshot")
    }

    /// Replaces everything in the server's store by a snapshot; the new revision.
    ///
    /// # Errors
    /// When it is not a whole snapshot; nothing has changed then.
    pub async fn restore_snapshot(&self, input: impl AsyncRead + Send + 'static) -> Result<u64> {
        let body = StreamBody::new(ReaderStream::new(input).map_ok(Frame::data)).boxed_unsync();
        let restored: Restored = read(self.send(Method::PUT, "/v1/snapshot", body).await?).await?;
        Ok(restored.revision)
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T> {
        read(self.send(method, path, empty()).await?).await
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<http::Response<Incoming>> {
        let socket = self.data_dir.join(SOCKET);
        let stream = listen::connect_unix(&socket).await.map_err(|error| self.explain(error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.context("talk to the server")?;
        self.tasks.spawn("control connection", OnError::Log, connection);
        let request = Request::builder().method(method).uri(path).header(http::header::HOST, "wk");
        let request = request.body(body).context("make the request")?;
        sender.send_request(request).await.context("talk to the server")
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let data_dir = self.data_dir.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                anyhow!("no server is running with the data directory {data_dir}; start one with `wk up`")
            }
            io::ErrorKind::PermissionDenied => {
                anyhow!("the server of {data_dir} belongs to another user")
            }
            _ => anyhow!(error).context(format!("connect to {}", self.data_dir.join(SOCKET).display())),
        }
    }
}

async fn read<T: DeserializeOwned>(response: http::Response<Incoming>) -> Result<T> {
    let code = response.status();
    let bytes = response.into_body().collect().await.context("read the server's answer")?.to_bytes();
    if !code.is_success() {
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => bail!(problem.message),
            Err(_) => bail!("the server answered {code}"),
        }
    }
    serde_json::from_slice(&bytes).context("understand the server's answer")
}
