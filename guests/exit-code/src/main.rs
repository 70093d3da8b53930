//! Ends with the code in the first argument, or 0. Built for WASI 0.1 too: with
//! WASI 0.2 every code but 0 arrives as 1.

fn main() {
    let code = std::env::args().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    println!("ending with {code}");
    std::process::exit(code);
}
