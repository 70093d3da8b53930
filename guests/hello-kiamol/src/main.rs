//! A web site of one page on port 80: the first thing to run on a new cluster.
//! It says where it runs, so that a look tells which pod answered.

use serve::http::{Request, Response, serve_http};

const PORT: u16 = 80;

fn main() -> std::io::Result<()> {
    let host_name = std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown".to_owned());
    println!("serving the hello page on port {PORT} as {host_name}");
    serve_http(PORT, |request| answer(request, &host_name))
}

fn answer(request: &Request, host_name: &str) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/" | "/index.html") => Response::html(page(host_name)),
        ("GET" | "HEAD", _) => Response::text("404 Not Found", "there is one page here: /\n".to_owned()),
        _ => Response::text("405 Method Not Allowed", "this page can only be read\n".to_owned()),
    }
}

fn page(host_name: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Hello, Kubernetes</title></head>\n\
         <body>\n<h1>Hello, Kubernetes!</h1>\n<p>This page comes from a WebAssembly program in a pod.</p>\n\
         <p>I am <code>{}</code>.</p>\n</body>\n</html>\n",
        escape(host_name)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
