//! Sends back what it receives. Port 7 (RFC 862), or the first argument.

use serve::{Conversation, Next, serve};

struct Echo;

impl Conversation for Echo {
    fn is_idle(&self) -> bool {
        true
    }

    fn hear(&mut self, received: &[u8], reply: &mut Vec<u8>) -> Next {
        reply.extend_from_slice(received);
        Next::Listen
    }
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(7);
    println!("echoing on port {port}");
    serve(port, |_, _| Echo)
}
