//! What the images of the fake runtime are and do: plain data.

use crate::{Error, ExecSyncOutput, Image};
use std::{collections::BTreeMap, pin::Pin, time::Duration};
use tokio::io::DuplexStream;

/// An image, and where it is.
#[derive(Clone, Debug)]
pub struct ImageScript {
    /// Whether it is on the node; a pull makes it so.
    pub present: bool,
    /// What every pull answers, when not success.
    pub pull_error: Option<Error>,
    /// How long a pull takes.
    pub pull_time: Duration,
    /// What its containers do.
    pub script: Script,
}

impl ImageScript {
    /// An image on the node.
    pub fn local(script: Script) -> Self {
        Self { present: true, pull_error: None, pull_time: Duration::ZERO, script }
    }

    /// An image that a pull brings.
    pub fn remote(script: Script) -> Self {
        Self { present: false, ..Self::local(script) }
    }

    /// An image whose pulls fail.
    pub fn broken(error: Error) -> Self {
        Self { pull_error: Some(error), ..Self::remote(Script::default()) }
    }
}

/// What a container does. The default runs for ever and ends at once when asked.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Written to stdout at the start.
    pub log_lines: Vec<String>,
    /// How long it runs.
    pub life: Life,
    /// How it takes a stop.
    pub on_stop: OnStop,
    /// The TCP ports it listens on.
    pub ports: BTreeMap<u16, Port>,
    /// Commands it has, and what they leave, besides `true`, `false`, `echo` and `cat`.
    pub commands: BTreeMap<Vec<String>, ExecSyncOutput>,
}

impl Script {
    /// A guest that ends after `after`.
    pub fn exits(after: Duration, exit_code: i32) -> Self {
        Self { life: Life::ExitsAfter { after, exit_code, message: String::new() }, ..Self::default() }
    }
}

/// How long a guest runs.
#[derive(Clone, Debug, Default)]
pub enum Life {
    /// Until it is stopped.
    #[default]
    Forever,
    /// For a while.
    ExitsAfter {
        /// From its start.
        after: Duration,
        /// Its exit code.
        exit_code: i32,
        /// What the runtime says about it (a trap).
        message: String,
    },
    /// It cannot be started.
    FailsToStart(Error),
}

/// How a guest takes a stop.
#[derive(Clone, Copy, Debug)]
pub enum OnStop {
    /// It ends by itself.
    Exits {
        /// From the stop.
        after: Duration,
        /// Its exit code.
        exit_code: i32,
    },
    /// It runs on until it is ended by force.
    Ignores,
}

impl Default for OnStop {
    fn default() -> Self {
        Self::Exits { after: Duration::ZERO, exit_code: 0 }
    }
}

/// What a connection to a port gets.
#[derive(Clone, Copy, Debug)]
pub enum Port {
    /// Its own bytes back.
    Echo,
    /// This status for any HTTP/1.1 request, then the end.
    Http(u16),
    /// Nothing, for ever.
    Silent,
    /// Whatever a test makes of it.
    Serve(Server),
}

/// Plays the listener's side of a connection.
pub type Server = fn(DuplexStream) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The id of the image with this name; the same name gives the same id.
pub(super) fn image_id(name: &str) -> String {
    // FNV-1a, four times with different starts, to the length of a SHA-256.
    let half = |start: u64| {
        name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    };
    let start = 0xcbf2_9ce4_8422_2325_u64;
    format!("sha256:{:016x}{:016x}{:016x}{:016x}", half(start), half(start + 1), half(start + 2), half(start + 3))
}

pub(super) fn describe(name: &str) -> Image {
    Image { id: image_id(name), tags: vec![name.to_owned()], size_bytes: 1024 }
}
