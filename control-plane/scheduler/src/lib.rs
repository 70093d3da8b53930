//! Pods without a node, in; bindings, out.
