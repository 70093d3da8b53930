//! Kinds of the group `rbac.authorization.k8s.io`: who may do what.

pub mod bindings;
pub mod roles;

/// The group's name, which references repeat.
pub const GROUP: &str = "rbac.authorization.k8s.io";
