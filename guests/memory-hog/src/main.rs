//! Takes and fills memory one MiB at a time: as many as the first argument says,
//! which it then holds for ever, or until it is killed.

use std::{hint::black_box, thread::sleep, time::Duration};

const MIB: usize = 1024 * 1024;

fn main() {
    let wanted: Option<usize> = std::env::args().nth(1).and_then(|mebibytes| mebibytes.parse().ok());
    let mut held = Vec::new();
    while wanted.is_none_or(|wanted| held.len() < wanted) {
        held.push(black_box(vec![1u8; MIB]));
        if held.len() % 16 == 0 {
            println!("holding {} MiB", held.len());
        }
    }
    println!("holding {} MiB and no more", held.len());
    loop {
        sleep(Duration::from_secs(3600));
    }
}
