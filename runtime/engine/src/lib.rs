//! The container runtime contract, implemented with wasmtime.

pub mod sockets;
