//! Programs that use the network: `wget`, `nslookup`, `nc`.

use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome, reason},
    flags::{Flags, number},
    host::Access,
};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

/// What wget waits for an answer without `-T`, as BusyBox's.
const WGET_TIMEOUT: Duration = Duration::from_secs(900);
/// Redirections that are followed, as BusyBox's.
const REDIRECTIONS_MAX: usize = 5;
/// The head of an answer; a server that sends more is broken or hostile.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// The addresses of a name, each once.
pub fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    found.sort();
    found.dedup();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

struct Url {
    host: String,
    port: u16,
    path: String,
}

fn url(text: &str) -> Result<Url, Failure> {
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(Failure::Message(format!("not an http or ftp url: {scheme}://"))),
        None => text,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, number(port)?),
        _ => (authority, 80),
    };
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { host: host.trim_matches(['[', ']']).to_owned(), port, path })
}

/// A connection whose reads end in time.
struct Timed<'a> {
    context: &'a Context,
    stream: &'a TcpStream,
    timeout: Duration,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.context.host.wait_readable(self.stream, self.timeout)? {
            return Err(io::Error::other("download timed out"));
        }
        self.stream.read(buffer)
    }
}

pub fn wget(context: &mut Context) -> Outcome {
    let long = [
        ("output-document", 'O'),
        ("quiet", 'q'),
        ("server-response", 'S'),
        ("header", 'h'),
        ("post-data", 'p'),
        ("timeout", 'T'),
        ("spider", 's'),
        ("user-agent", 'U'),
        ("tries", 't'),
        ("no-check-certificate", 'N'),
        ("directory-prefix", 'P'),
        ("continue", 'c'),
    ];
    let flags = Flags::parse(context.operands(), "O:qSh:p:T:sU:t:NP:cY:", &long)?;
    let [target] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let mut target = target.clone();
    for _ in 0..=REDIRECTIONS_MAX {
        match fetch(context, &flags, &target)? {
            None => return Ok(0),
            Some(next) => target = next,
        }
    }
    Err(Failure::Message("too many redirections".to_owned()))
}

/// The next address when the server names another.
fn fetch(context: &mut Context, flags: &Flags, target: &str) -> Result<Option<String>, Failure> {
    let url = url(target)?;
    let quiet = flags.has('q');
    let timeout = flags.value('T').map_or(Ok(WGET_TIMEOUT), super::basics::duration)?;
    let found = addresses(&url.host).map_err(|_| Failure::Message(format!("bad address '{}'", url.host)))?;
    let address = SocketAddr::new(found[0], url.port);
    if !quiet {
        let line = format!("Connecting to {}:{} ({address})\n", url.host, url.port);
        context.stderr.write(line.as_bytes())?;
    }
    let stream = context.host.connect(address, Some(timeout)).map_err(|error| {
        Failure::Message(match error.kind() {
            io::ErrorKind::TimedOut => "download timed out".to_owned(),
            _ => format!("can't connect to remote host ({}): {}", address.ip(), reason(&error)),
        })
    })?;
    (&stream).write_all(request(flags, &url).as_bytes())?;
    let mut input = BufReader::with_capacity(CHUNK_BYTES, Timed { context, stream: &stream, timeout });
    let head = read_head(&mut input)?;
    let status = head.first().cloned().unwrap_or_default();
    if flags.has('S') {
        let lines: String = head.iter().map(|line| format!("  {line}\n")).collect();
        context.stderr.write(lines.as_bytes())?;
    }
    let header = |name: &str| {
        let pairs = head.iter().skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    };
    let code: u16 = status.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    match code {
        200..=299 => {}
        300..=399 => {
            let location = header("location").ok_or_else(|| Failure::Message("no location".to_owned()))?;
            let absolute = location.contains("://");
            return Ok(Some(if absolute { location } else { format!("http://{}:{}{location}", url.host, url.port) }));
        }
        0 => return Err(Failure::Message("error getting response".to_owned())),
        _ => return Err(Failure::Message(format!("server returned error: {status}"))),
    }
    if flags.has('s') {
        return Ok(None);
    }
    let body: Box<dyn BufRead + '_> =
        if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            Box::new(BufReader::new(Chunked { input, left: 0, ended: false }))
        } else {
            match header("content-length").and_then(|length| length.parse().ok()) {
                Some(length) => Box::new(input.take(length)),
                None => Box::new(input),
            }
        };
    save(context, flags, &url, body)?;
    Ok(None)
}

fn request(flags: &Flags, url: &Url) -> String {
    let post = flags.value('p');
    let method = if post.is_some() { "POST" } else { "GET" };
    let host = if url.port == 80 { url.host.clone() } else { format!("{}:{}", url.host, url.port) };
    let mut text = format!("{method} {} HTTP/1.1\r\n", url.path);
    let given = |name: &str| flags.values('h').any(|header| header.to_lowercase().starts_with(&format!("{name}:")));
    if !given("host") {
        text.push_str(&format!("Host: {host}\r\n"));
    }
    if !given("user-agent") {
        text.push_str(&format!("User-Agent: {}\r\n", flags.value('U').unwrap_or("Wget")));
    }
    text.push_str("Connection: close\r\n");
    for header in flags.values('h') {
        text.push_str(&format!("{header}\r\n"));
    }
    if let Some(body) = post {
        if !given("content-type") {
            text.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{}", post.unwrap_or_default())
}

fn read_head(input: &mut impl BufRead) -> Result<Vec<String>, Failure> {
    let mut head = Vec::new();
    let mut limited = input.take(HEAD_BYTES_MAX);
    loop {
        let mut line = Vec::new();
        if limited.read_until(b'\n', &mut line)? == 0 {
            return if head.is_empty() { Err(Failure::Message("error getting response".to_owned())) } else { Ok(head) };
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            return Ok(head);
        }
        head.push(line);
    }
}

/// A body in chunks (RFC 9112, 7.1).
struct Chunked<R> {
    input: R,
    left: u64,
    ended: bool,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 && !self.ended {
            let mut line = Vec::new();
            (&mut self.input).take(1024).read_until(b'\n', &mut line)?;
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() && !line.is_empty() {
                continue;
            }
            let size = u64::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16);
            self.left = size.map_err(|_| io::Error::other("bad chunk"))?;
            self.ended = self.left == 0;
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if self.ended || length == 0 {
            return Ok(0);
        }
        let read = self.input.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn save(context: &Context, flags: &Flags, url: &Url, mut body: impl Read) -> Result<(), Failure> {
    let quiet = flags.has('q');
    let default = url.path.split('?').next().and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
    let name = match flags.value('O') {
        Some(name) => name.to_owned(),
        None => {
            let name = default.unwrap_or("index.html");
            let name = flags.value('P').map_or(name.to_owned(), |directory| format!("{directory}/{name}"));
            if context.path(&name).exists() {
                return Err(Failure::Message(format!("can't open '{name}': File exists")));
            }
            name
        }
    };
    let file = if name == "-" {
        std::rc::Rc::clone(&context.stdout.file)
    } else {
        let opened = context.open(&name, Access::Write);
        opened.map_err(|error| Failure::Message(format!("can't open '{name}': {}", reason(&error))))?
    };
    let tell = |text: String| if quiet { Ok(()) } else { context.stderr.write(text.as_bytes()) };
    tell(if name == "-" { "writing to stdout\n".to_owned() } else { format!("saving to '{name}'\n") })?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut total = 0u64;
    loop {
        let length = body.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        total += length as u64;
        file.write(&buffer[..length])?;
    }
    let shown = if name == "-" { "-" } else { &name };
    tell(format!("{shown:<20} 100% |{}| {total:>5}  0:00:00 ETA\n", "*".repeat(32)))?;
    Ok(tell(if name == "-" { "written to stdout\n".to_owned() } else { format!("'{name}' saved\n") })?)
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
    // WASI's resolver answers, which is the network's own; it tells no canonical name.
    match addresses(name.trim_end_matches('.')) {
        Ok(found) => {
            for address in found {
                writeln!(context.stdout, "Name:\t{name}\nAddress: {address}")?;
            }
            writeln!(context.stdout)?;
            Ok(0)
        }
        Err(_) => {
            writeln!(context.stdout, "** server can't find {name}: NXDOMAIN\n")?;
            Ok(1)
        }
    }
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
