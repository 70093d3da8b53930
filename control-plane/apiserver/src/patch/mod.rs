//! The four ways to change an object by a patch, and who manages which field.
