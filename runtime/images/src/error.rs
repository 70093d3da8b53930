//! Why the store did not do it. Messages go to the user as they are.

use std::{io, path::PathBuf};

/// An error of the image store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none (kubelet's reason: `InvalidImageName`).
    #[error("couldn't parse image reference {name:?}: invalid reference format{}", detail(.because))]
    InvalidName {
        /// As given.
        name: String,
        /// What is wrong with it; may be empty.
        because: &'static str,
    },
    /// The bytes are no image that can run here: what they are, and what to do.
    #[error("{0}")]
    NotWasm(String),
    /// The disk.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// Such as `write`.
        operation: &'static str,
        /// To or from where.
        path: PathBuf,
        /// The operating system's.
        #[source]
        source: io::Error,
    },
    /// The index is not what this program wrote.
    #[error("the image index {} cannot be read ({source}); move it away and load the images again", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
}

fn detail(because: &str) -> String {
    if because.is_empty() { String::new() } else { format!(": {because}") }
}

/// For `map_err`: the operation and the path of an I/O error.
pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { operation, path, source }
}
