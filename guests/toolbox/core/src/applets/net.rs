//! Programs that use the network: `nslookup`, `nc`; `wget` has its own file.

use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome, reason},
    flags::{Flags, number},
};
use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket},
    time::Duration,
};

/// The addresses of a name, each once.
pub fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    found.sort();
    found.dedup();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

pub fn nslookup(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "q:t:", &[])?;
    let operands: Vec<String> =
        flags.operands.iter().filter(|operand| !operand.starts_with("-type=")).cloned().collect();
    let (name, server) = match operands.as_slice() {
        [name] => (name, None),
        [name, server] => (name, Some(server.clone())),
        _ => return Err(Failure::Usage(String::new())),
    };
    let config = std::fs::read_to_string(context.path("/etc/resolv.conf")).unwrap_or_default();
    let configured =
        config.lines().find_map(|line| line.strip_prefix("nameserver")).map(|server| server.trim().to_owned());
    let server = server.or(configured).unwrap_or_else(|| "127.0.0.1".to_owned());
    writeln!(context.stdout, "Server:\t\t{server}\nAddress:\t{server}:53\n")?;
    // WASI's resolver answers, which is the network's own. It does not say which
    // name of the search list it was: that is asked for one by one.
    let found = candidates(name, &config).into_iter().find_map(|name| Some((addresses(&name).ok()?, name)));
    let Some((found, name)) = found else {
        writeln!(context.stdout, "** server can't find {name}: NXDOMAIN\n")?;
        return Ok(1);
    };
    for address in found {
        writeln!(context.stdout, "Name:\t{name}\nAddress: {address}")?;
    }
    writeln!(context.stdout)?;
    Ok(0)
}

/// What a name may be short for, in the order of resolv.conf(5).
fn candidates(name: &str, config: &str) -> Vec<String> {
    let words = |key: &str| -> Vec<String> {
        let lines = config.lines().filter_map(|line| line.strip_prefix(key));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    if let Some(absolute) = name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let dots_min = words("options").iter().find_map(|word| word.strip_prefix("ndots:")?.parse().ok()).unwrap_or(1);
    let mut all: Vec<String> = words("search").iter().map(|domain| format!("{name}.{domain}")).collect();
    let first = name.matches('.').count() >= dots_min || name.parse::<IpAddr>().is_ok();
    all.insert(if first { 0 } else { all.len() }, name.to_owned());
    all
}

pub fn nc(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "lp:zw:uvnks:i:", &[])?;
    let timeout = flags.value('w').map(super::basics::duration).transpose()?;
    let port_of = |text: &String| number::<u16>(text);
    if flags.has('l') {
        let port = match (flags.value('p'), flags.operands.last()) {
            (Some(port), _) => number(port)?,
            (None, Some(port)) => port_of(port)?,
            (None, None) => return Err(Failure::Usage(String::new())),
        };
        return listen(context, port, flags.has('k'));
    }
    let [host, port] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let port = port_of(port)?;
    let found = addresses(host).map_err(|_| Failure::Message(format!("bad address '{host}'")))?;
    let address = SocketAddr::new(found[0], port);
    if flags.has('u') {
        return datagrams(context, address, timeout);
    }
    let stream = match context.host.connect(address, timeout) {
        Ok(stream) => stream,
        Err(error) => {
            let why = reason(&error);
            return Err(Failure::Message(format!("can't connect to remote host ({}): {why}", address.ip())));
        }
    };
    if flags.has('v') {
        context.stderr.write(format!("{host} ({address}) open\n").as_bytes())?;
    }
    if !flags.has('z') {
        context.host.relay(&stream, &context.stdin, &context.stdout.file)?;
    }
    Ok(0)
}

fn listen(context: &mut Context, port: u16, keep: bool) -> Outcome {
    let listener =
        TcpListener::bind(("0.0.0.0", port)).map_err(|error| Failure::Message(format!("bind: {}", reason(&error))))?;
    loop {
        let (stream, _) = listener.accept()?;
        context.host.relay(&stream, &context.stdin, &context.stdout.file)?;
        if !keep {
            return Ok(0);
        }
    }
}

/// Sends stdin as one datagram per read, then waits for one answer.
fn datagrams(context: &mut Context, address: SocketAddr, timeout: Option<Duration>) -> Outcome {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    loop {
        let bytes = context.stdin.read(1400)?;
        if bytes.is_empty() {
            break;
        }
        socket.send(&bytes)?;
    }
    // Without a time to wait nobody would ever end this.
    if let Some(timeout) = timeout {
        socket.set_read_timeout(Some(timeout))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        if let Ok(length) = socket.recv(&mut buffer) {
            context.stdout.write_all(&buffer[..length])?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn short_names_are_looked_for_in_the_search_list() {
        let config = "nameserver 10.96.0.10\nsearch a.svc svc\noptions ndots:2\n";
        assert_eq!(candidates("web", config), ["web.a.svc", "web.svc", "web"]);
        assert_eq!(candidates("web.b.c", config), ["web.b.c", "web.b.c.a.svc", "web.b.c.svc"]);
        assert_eq!(candidates("web.", config), ["web"]);
        assert_eq!(candidates("10.0.0.1", config)[0], "10.0.0.1");
    }
}
