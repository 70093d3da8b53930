//! Fetches `HOST:PORT[/PATH]` and prints the response: the client among the
//! guests. A second argument says how often to try when nobody listens yet.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::ExitCode,
    thread::sleep,
    time::Duration,
};

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(url) = args.next() else {
        eprintln!("usage: http-get HOST:PORT[/PATH] [ATTEMPTS]");
        return ExitCode::FAILURE;
    };
    let attempts = args.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    match fetch(&url, attempts) {
        Ok(response) => {
            print!("{response}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{url}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fetch(url: &str, attempts: u32) -> io::Result<String> {
    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
    let mut stream = connect(authority, attempts)?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

fn connect(authority: &str, attempts: u32) -> io::Result<TcpStream> {
    for _ in 1..attempts {
        match TcpStream::connect(authority) {
            Err(_) => sleep(BETWEEN_ATTEMPTS),
            connected => return connected,
        }
    }
    TcpStream::connect(authority)
}
