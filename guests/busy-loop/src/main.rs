//! Uses all the CPU it gets and never asks the host for anything.

fn main() {
    println!("spinning");
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}
