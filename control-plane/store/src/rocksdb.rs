//! The default store, on disk.
