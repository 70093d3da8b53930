//! The promises of a runtime, as tests over the traits.
