//! Content-addressed image store.
