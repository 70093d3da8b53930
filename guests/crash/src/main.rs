//! Ends in a trap: `panic` (the default), `unreachable`, or `stack`.

use std::hint::black_box;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("unreachable") => core::arch::wasm32::unreachable(),
        Some("stack") => println!("{}", deeper(1)),
        _ => panic!("this guest crashes on purpose"),
    }
}

fn deeper(level: u64) -> u64 {
    if black_box(level) == 0 { 0 } else { black_box([level; 64])[3] + deeper(level + 1) + 1 }
}
