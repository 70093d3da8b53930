//! Errors with the gRPC meanings that the CRI uses, so that the caller can read
//! what to do (retry, forget, report) from the variant.

/// Why a verb failed. Messages are for people and say which thing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No such sandbox, container or image: forget it.
    #[error("{0}")]
    NotFound(String),
    /// The same metadata exists already: use what is there.
    #[error("{0}")]
    AlreadyExists(String),
    /// The thing is in the wrong state for the verb: look again.
    #[error("{0}")]
    FailedPrecondition(String),
    /// The request can never work: report it.
    #[error("{0}")]
    InvalidArgument(String),
    /// A limit was reached: retry later.
    #[error("{0}")]
    ResourceExhausted(String),
    /// Not possible just now: retry.
    #[error("{0}")]
    Unavailable(String),
    /// It took longer than the caller allowed.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The runtime does not do this.
    #[error("{0}")]
    Unimplemented(String),
    /// The runtime is at fault.
    #[error("{0}")]
    Internal(String),
}
