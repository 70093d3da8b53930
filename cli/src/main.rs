//! `wk`.
fn main() {}
