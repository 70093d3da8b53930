//! The container runtime contract, implemented with wasmtime.
