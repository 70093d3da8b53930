//! Content-addressed image store.
//!
//! An image of `wk` is one wasm file and how to start it. The engine and the
//! image commands call this; it knows neither wasmtime nor Kubernetes.
//!
//! ```text
//! a file ─▶ wasm (is it wasm, and whole?) ─▶ store: blobs/sha256/<digest>
//! a name ─▶ reference (normalised) ────────▶        index.json: names, how to start
//! ```
//!
//! Reading order: [`mod@reference`], [`digest`], [`wasm`], [`store`].
//!
//! Invariants: a blob's name is the digest of its bytes and it never changes; the
//! index changes as a whole, and names no blob that is not there; two processes
//! (the server and a command) may use one directory at once.
#![forbid(unsafe_code)]

pub mod digest;
mod error;
pub mod reference;
pub mod store;
pub mod wasm;

pub use digest::ImageDigest;
pub use error::Error;
pub use reference::ImageReference;
pub use store::{ImageRecord, ImageStore};
pub use wasm::{WasmFacts, WasmKind};
