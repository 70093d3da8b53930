//! Where connections come from and go to: TCP, or a pipe in memory.
#![allow(clippy::disallowed_methods)] // the one place that binds

use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Bytes in flight in one direction of an in-memory connection; the writer
/// waits when they are not read. One TLS record's worth, twice.
const PIPE_BYTES: usize = 32 * 1024;

/// In-memory connections not yet accepted; the connector waits beyond that.
const PIPE_BACKLOG: usize = 128;

/// Anything that carries bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection of either kind.
pub type BoxByteStream = Box<dyn ByteStream>;

/// Accepts connections.
pub enum Listener {
    /// From the network of the host.
    Tcp(TcpListener),
    /// From this process.
    Pipe(PipeListener),
}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address of the host's network.
    Tcp(SocketAddr),
    /// This process.
    Pipe,
}

impl Listener {
    /// Binds a TCP port of the host.
    ///
    /// # Errors
    /// The operating system's, with the address in the message.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address)
            .await
            .map(Self::Tcp)
            .map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))
    }

    /// The bound address; `None` for a pipe.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Pipe(_) => None,
        }
    }

    /// The next connection. Cancel safety: nothing is lost when dropped.
    ///
    /// # Errors
    /// The operating system's; `BrokenPipe` when every connector of a pipe is gone.
    pub async fn accept(&mut self) -> io::Result<(BoxByteStream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::Tcp(peer)))
            }
            Self::Pipe(listener) => Ok((Box::new(listener.accept().await?), Peer::Pipe)),
        }
    }
}

/// Opens a TCP connection without Nagle's delay.
///
/// # Errors
/// The operating system's, with the address in the message.
pub async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("connect to {address}: {error}")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The addresses the host knows for `name`.
///
/// # Errors
/// `NotFound`, with the operating system's reason.
pub async fn look_up(name: String) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let found = found.map_err(|error| io::Error::new(io::ErrorKind::NotFound, format!("look up {name}: {error}")))?;
    Ok(found.map(|address| address.ip()).collect())
}

/// The accepting end of an in-memory address.
pub struct PipeListener {
    incoming: mpsc::Receiver<DuplexStream>,
}

/// The connecting end of an in-memory address. Cheap to clone.
#[derive(Clone)]
pub struct PipeConnector {
    outgoing: mpsc::Sender<DuplexStream>,
}

/// A new in-memory address.
pub fn pipe() -> (PipeListener, PipeConnector) {
    let (outgoing, incoming) = mpsc::channel(PIPE_BACKLOG);
    (PipeListener { incoming }, PipeConnector { outgoing })
}

impl PipeListener {
    /// The next connection.
    ///
    /// # Errors
    /// `BrokenPipe` when every connector is gone.
    pub async fn accept(&mut self) -> io::Result<DuplexStream> {
        self.incoming.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl PipeConnector {
    /// Opens a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` when the listener is gone.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.outgoing.send(far).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(near)
    }
}
