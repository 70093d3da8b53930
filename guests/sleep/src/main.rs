//! Waits as many seconds as the first argument says, or for ever.

use std::{thread::sleep, time::Duration};

const LONG: Duration = Duration::from_secs(24 * 60 * 60);

fn main() {
    match std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => sleep(Duration::from_secs_f64(seconds)),
        None => loop {
            sleep(LONG);
        },
    }
}
