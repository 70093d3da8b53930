//! The Kubernetes API over a store.
//!
//! ```text
//!  request ─▶ http (who, what, allowed?) ─▶ verbs ─▶ registry + admission + patch ─▶ storage ─▶ wk-store
//!                                             │                                                  │
//!  response ◀─ negotiate (JSON, Table, …) ◀───┴────────────── cache (list, watch) ◀── changes ───┘
//! ```
//!
//! Objects are `serde_json::Value` from the edge to the store: the API server
//! must keep what it does not know and merge by rules that are data
//! ([`schema`]), so typed structs would only be in the way.
//!
//! Reading order: [`object`], [`schema`], [`registry`], [`patch`], then the path
//! of a request: `http`, `verbs`, `storage`, `cache`, `subresources`, `discovery`.
#![forbid(unsafe_code)]

pub mod admission;
pub mod object;
pub mod patch;
pub mod registry;
pub mod schema;
pub mod selector;
