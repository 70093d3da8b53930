//! Kubernetes for WebAssembly, in one binary.
