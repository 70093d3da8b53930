//! Roles become components.
