//! The one hook where a flow or datagram can be held up: network policy in
//! production, injected faults in tests.
//!
//! Asked by `switch.rs` once per opened connection and once per datagram, after
//! virtual addresses became real ones. It never sees the bytes of a connection.

use crate::services::Protocol;
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// What wants to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// A connection being opened, or a datagram.
    pub protocol: Protocol,
    /// Who sends it.
    pub from: SocketAddr,
    /// Where it goes: the endpoint, when a virtual address was dialed.
    pub to: SocketAddr,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on after this long. Connections only: a datagram goes on at
    /// once, since nobody waits for it.
    Delay(Duration),
    /// It is lost: a connection times out, a datagram is gone.
    Drop,
}

/// Decides the fate of one flow or datagram. Called with a lock held: it must
/// be quick and must not call the network.
pub trait Rule: Send + 'static {
    /// The fate of `packet`.
    fn judge(&mut self, packet: &PacketInfo) -> Verdict;
}

impl<F: FnMut(&PacketInfo) -> Verdict + Send + 'static> Rule for F {
    fn judge(&mut self, packet: &PacketInfo) -> Verdict {
        self(packet)
    }
}

/// The rule in force, if any.
#[derive(Default)]
pub(crate) struct Rules {
    rule: Mutex<Option<Box<dyn Rule>>>,
    /// Whether there is one: without, a datagram takes no lock.
    present: AtomicBool,
}

impl Rules {
    pub fn replace(&self, rule: Option<Box<dyn Rule>>) {
        let mut current = self.rule.lock();
        self.present.store(rule.is_some(), Ordering::Release);
        *current = rule;
    }

    pub fn judge(&self, packet: &PacketInfo) -> Verdict {
        if !self.present.load(Ordering::Acquire) {
            return Verdict::Pass;
        }
        self.rule.lock().as_mut().map_or(Verdict::Pass, |rule| rule.judge(packet))
    }
}
