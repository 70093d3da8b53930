//! Where connections come from and go to: TCP, a socket file, or a pipe in memory.
#![allow(clippy::disallowed_methods)] // the one place that binds

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
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
    /// From programs of this machine that may open the socket's file.
    Unix(UnixListener),
    /// From this process.
    Pipe(PipeListener),
}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address of the host's network.
    Tcp(SocketAddr),
    /// A program of this machine.
    Unix,
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

    /// Makes a socket in the file system that its owner alone may open. A socket
    /// that is there already is replaced: who calls this owns the directory, so
    /// nobody listens on it any more.
    ///
    /// # Errors
    /// The operating system's, with the path in the message; `AlreadyExists` when
    /// something else than a socket is there.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let bind = || {
            remove_socket(path)?;
            let short = ShortPath::of(path)?;
            let listener = UnixListener::bind(&short.path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(Self::Unix(listener))
        };
        bind()
            .map_err(|error: io::Error| io::Error::new(error.kind(), format!("listen on {}: {error}", path.display())))
    }

    /// The bound address; `None` for anything but TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) | Self::Pipe(_) => None,
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
            Self::Unix(listener) => Ok((Box::new(listener.accept().await?.0), Peer::Unix)),
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

/// Opens a connection to a socket in the file system.
///
/// # Errors
/// The operating system's: `NotFound` without such a file, `ConnectionRefused`
/// when nobody listens on it any more.
pub async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(&ShortPath::of(path)?.path).await
}

/// A name for a path that fits into a socket's address, which has room for 107
/// bytes however deep the directory is: `/proc/self/fd/N/name` through the opened
/// directory.
struct ShortPath {
    path: PathBuf,
    _directory: File,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        let name = path.file_name().ok_or_else(missing)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = File::open(parent)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: directory })
    }
}

fn remove_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_socket_works_at_any_depth_and_replaces_a_stale_one() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = root.path().join("deep".repeat(40));
        std::fs::create_dir(&deep).expect("made");
        let path = deep.join("control.sock");
        drop(Listener::unix(&path).expect("binds"));
        assert_eq!(connect_unix(&path).await.expect_err("stale").kind(), io::ErrorKind::ConnectionRefused);

        let mut listener = Listener::unix(&path).expect("replaces the stale one");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let (accepted, client) = tokio::join!(listener.accept(), connect_unix(&path));
        let ((mut near, peer), mut far) = (accepted.expect("accepts"), client.expect("connects"));
        assert_eq!(peer, Peer::Unix);
        far.write_all(b"hello").await.expect("writes");
        drop(far);
        let mut seen = String::new();
        near.read_to_string(&mut seen).await.expect("reads");
        assert_eq!(seen, "hello");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_not_replaced() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("notes");
        std::fs::write(&path, "mine").expect("written");
        let Err(error) = Listener::unix(&path) else { panic!("replaced a file") };
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "mine");
    }
}
