//! Pods bound to this node, in; running sandboxes and status, out.
