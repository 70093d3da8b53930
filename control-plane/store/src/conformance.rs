//! The laws of a [`Store`](crate::Store), as tests over `dyn Store`.
