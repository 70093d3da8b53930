//! Says who answered and what was asked: the host name, both addresses and the
//! head of the request. Port 80, or the first argument.

use serve::http::{Request, Response, serve_http};

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(80);
    let host_name = std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown".to_owned());
    println!("serving on port {port}");
    serve_http(port, |request| Response::text("200 OK", describe(request, &host_name)))
}

fn describe(request: &Request, host_name: &str) -> String {
    let Request { peer, own, head, .. } = request;
    format!("Hostname: {host_name}\nIP: {}\nRemoteAddr: {peer}\n{head}\n", own.ip())
}
