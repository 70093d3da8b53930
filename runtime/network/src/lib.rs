//! The pod network in user space.
