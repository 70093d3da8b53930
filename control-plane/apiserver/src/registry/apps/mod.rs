//! Kinds of the group `apps`.

pub mod deployment;
pub mod replica_set;
pub(in crate::registry) mod workload;
