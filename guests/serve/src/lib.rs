//! Many TCP connections in one thread: wasm has no threads, so the servers here
//! wait on all their sockets at once with `poll`. [`http`] sits on top of
//! [`serve`]; neither knows what the servers say.

pub mod http;
mod poll;

use poll::{Interest, wait};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
};

/// Connections held at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;

/// Bytes taken from a connection at a time.
const READ_BYTES: usize = 16 * 1024;

/// What to do after a piece of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for more.
    Listen,
    /// Close, once everything is sent.
    Close,
}

/// The talk with one peer.
pub trait Conversation {
    /// Whether nothing is half said, so that it may be ended when the server is.
    fn is_idle(&self) -> bool;

    /// Takes what the peer sent and appends the answer to `reply`.
    fn hear(&mut self, received: &[u8], reply: &mut Vec<u8>) -> Next;
}

struct Connection<C> {
    stream: TcpStream,
    talk: C,
    unsent: Vec<u8>,
    next: Next,
}

/// Listens on `port` of every address and holds a conversation made by `greet`
/// (given the peer's and the own address) with each peer. When the listener is
/// closed, which is how the host asks a server to end, it finishes what is half
/// said and returns.
///
/// # Errors
/// When the port cannot be listened on.
pub fn serve<C: Conversation>(port: u16, greet: impl Fn(SocketAddr, SocketAddr) -> C) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Connection<C>> = Vec::new();
    let mut open = true;
    while open || !connections.is_empty() {
        let listening = open && connections.len() < CONNECTIONS_MAX;
        wait_for_work(&listener, listening, &connections)?;
        open = open && (!listening || accept_all(&listener, &mut connections, &greet));
        connections
            .retain_mut(|connection| matches!(connection.advance(), Ok(true)) && (open || !connection.is_idle()));
    }
    Ok(())
}

fn wait_for_work<C>(listener: &TcpListener, listening: bool, connections: &[Connection<C>]) -> io::Result<()> {
    let mut interests = Vec::with_capacity(connections.len() + 1);
    if listening {
        interests.push((listener.as_raw_fd(), Interest::Read));
    }
    interests.extend(connections.iter().map(|connection| {
        let interest = if connection.unsent.is_empty() { Interest::Read } else { Interest::Write };
        (connection.stream.as_raw_fd(), interest)
    }));
    wait(&interests)
}

/// Takes in the connections that wait; false when the listener is closed.
fn accept_all<C: Conversation>(
    listener: &TcpListener,
    connections: &mut Vec<Connection<C>>,
    greet: &impl Fn(SocketAddr, SocketAddr) -> C,
) -> bool {
    while connections.len() < CONNECTIONS_MAX {
        match listener.accept() {
            Ok((stream, peer)) => {
                // A peer that is gone already is no reason to end.
                let Ok(own) = stream.set_nonblocking(true).and_then(|()| stream.local_addr()) else { continue };
                connections.push(Connection { stream, talk: greet(peer, own), unsent: Vec::new(), next: Next::Listen });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

impl<C: Conversation> Connection<C> {
    /// Sends and receives what it can without waiting; false when finished.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            if !self.send()? {
                return Ok(true);
            }
            if self.next == Next::Close {
                return Ok(false);
            }
            let mut bytes = [0; READ_BYTES];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(false),
                Ok(length) => self.next = self.talk.hear(&bytes[..length], &mut self.unsent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.talk.is_idle()
    }

    /// Whether everything is sent.
    fn send(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
