//! The cluster harness and the suites.
