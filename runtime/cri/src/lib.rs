//! The container runtime contract.
//!
//! The verbs and states of CRI v1 (kubernetes `cri-api`, `runtime/v1/api.proto`)
//! as Rust traits, without the types of Kubernetes: the kubelet translates a
//! `PodSpec` into these once. Implemented by `wk-engine` with wasmtime and by
//! `fake` in memory; both pass `conformance`. One deliberate difference from
//! the CRI: the streaming verbs return a stream, not a URL.
//!
//! ```text
//! sandbox:    run ─▶ Ready ── stop ─▶ NotReady ── remove ─▶ gone
//! container:  create ─▶ Created ── start ─▶ Running ── exit or stop ─▶ Exited ── remove ─▶ gone
//! ```
//!
//! Invariants: stop and remove succeed when there is nothing left to stop or
//! remove; ids are never reused; removing a sandbox removes its containers.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod container;
pub mod error;
#[cfg(any(test, feature = "test-util"))]
pub mod fake;
pub mod image;
pub mod image_service;
pub mod runtime_service;
pub mod sandbox;
pub mod stream;

pub use container::*;
pub use error::Error;
pub use image::*;
pub use image_service::ImageService;
pub use runtime_service::RuntimeService;
pub use sandbox::*;
pub use stream::*;

/// Nanoseconds since the Unix epoch, as the CRI counts time; 0 is "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub i64);
