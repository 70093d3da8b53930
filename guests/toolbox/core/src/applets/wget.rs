//! `wget`: HTTP over a connection that the host makes.

use super::{basics::duration, net::addresses};
use crate::{
    Context,
    context::{CHUNK_BYTES, Failure, Outcome, reason},
    flags::{Flags, number},
    host::{Access, File},
};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What wget waits for an answer without `-T`, as BusyBox's.
const WGET_TIMEOUT: Duration = Duration::from_secs(900);
/// Redirections that are followed, as BusyBox's.
const REDIRECTIONS_MAX: usize = 5;
/// The head of an answer; a server that sends more is broken or hostile.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// What is sent with `--post-file`; it is in memory while it is sent.
const BODY_BYTES_MAX: u64 = 64 << 20;

struct Url {
    host: String,
    port: u16,
    path: String,
}

fn url(text: &str) -> Result<Url, Failure> {
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return Err(Failure::Message(format!("not an http url: {text}"))),
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
        ("post-file", 'f'),
        ("timeout", 'T'),
        ("spider", 's'),
        ("user-agent", 'U'),
        ("tries", 't'),
        ("no-check-certificate", 'N'),
        ("directory-prefix", 'P'),
        ("continue", 'c'),
    ];
    let flags = Flags::parse(context.operands(), "O:qSh:p:f:T:sU:t:NP:cY:", &long)?;
    if flags.operands.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let body = body(context, &flags)?;
    // What `-O` names gets all that is asked for.
    let shared = match flags.value('O') {
        Some("-") => Some(std::rc::Rc::clone(&context.stdout.file)),
        Some(name) => Some(create(context, name)?),
        None => None,
    };
    for target in &flags.operands {
        let request = Request { flags: &flags, body: body.as_deref(), shared: shared.as_ref() };
        let mut target = target.clone();
        let mut redirections = 0;
        while let Some(next) = request.fetch(context, &target)? {
            redirections += 1;
            if redirections > REDIRECTIONS_MAX {
                return Err(Failure::Message("too many redirections".to_owned()));
            }
            target = next;
        }
    }
    Ok(0)
}

/// What is to be posted.
fn body(context: &Context, flags: &Flags) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = flags.value('f') else { return Ok(flags.value('p').map(|text| text.as_bytes().to_vec())) };
    let cannot = |error: io::Error| Failure::Message(format!("can't open '{path}': {}", reason(&error)));
    let mut body = Vec::new();
    context.input(path).map_err(cannot)?.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    Ok(Some(body))
}

fn create(context: &Context, name: &str) -> Result<File, Failure> {
    let opened = context.open(name, Access::Write);
    opened.map_err(|error| Failure::Message(format!("can't open '{name}': {}", reason(&error))))
}

/// What is asked for, and where it goes.
struct Request<'a> {
    flags: &'a Flags,
    body: Option<&'a [u8]>,
    shared: Option<&'a File>,
}

/// The head of an answer.
struct Head {
    /// The status line first.
    lines: Vec<String>,
}

impl Head {
    fn status(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    fn code(&self) -> u16 {
        self.status().split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Request<'_> {
    /// The next address when the server names another.
    fn fetch(&self, context: &mut Context, target: &str) -> Result<Option<String>, Failure> {
        let url = url(target)?;
        let timeout = self.flags.value('T').map_or(Ok(WGET_TIMEOUT), duration)?;
        let stream = self.connect(context, &url, timeout)?;
        (&stream).write_all(request(self.flags, &url, self.body).as_bytes())?;
        (&stream).write_all(self.body.unwrap_or_default())?;
        let mut input = BufReader::with_capacity(CHUNK_BYTES, Timed { context, stream: &stream, timeout });
        let head = read_head(&mut input)?;
        self.show_head(context, &head)?;
        match head.code() {
            200..=299 => {}
            300..=399 => return redirection(&url, &head).map(Some),
            0 => return Err(Failure::Message("error getting response".to_owned())),
            _ => return Err(Failure::Message(format!("server returned error: {}", head.status()))),
        }
        if self.flags.has('s') {
            self.tell(context, "remote file exists\n")?;
            return Ok(None);
        }
        let chunked = head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = head.header("content-length").and_then(|length| length.parse::<u64>().ok());
        let mut body: Box<dyn Read + '_> = match length {
            _ if chunked => Box::new(Chunked { input, left: 0, ended: false }),
            Some(length) => Box::new(input.take(length)),
            None => Box::new(input),
        };
        self.save(context, &url, &mut body, length.filter(|_| !chunked))?;
        Ok(None)
    }

    fn connect(&self, context: &Context, url: &Url, timeout: Duration) -> Result<TcpStream, Failure> {
        let found = addresses(&url.host).map_err(|_| Failure::Message(format!("bad address '{}'", url.host)))?;
        let address = SocketAddr::new(found[0], url.port);
        let name = if url.port == 80 { url.host.clone() } else { format!("{}:{}", url.host, url.port) };
        self.tell(context, &format!("Connecting to {name} ({address})\n"))?;
        context.host.connect(address, Some(timeout)).map_err(|error| {
            Failure::Message(match error.kind() {
                io::ErrorKind::TimedOut => "download timed out".to_owned(),
                _ => format!("can't connect to remote host ({}): {}", address.ip(), reason(&error)),
            })
        })
    }

    fn tell(&self, context: &Context, text: &str) -> Result<(), Failure> {
        if !self.flags.has('q') {
            context.stderr.write(text.as_bytes())?;
        }
        Ok(())
    }

    fn show_head(&self, context: &Context, head: &Head) -> Result<(), Failure> {
        if self.flags.has('S') {
            let end = if (300..=399).contains(&head.code()) { "" } else { "  \n" };
            let lines: String = head.lines.iter().map(|line| format!("  {line}\n")).collect();
            context.stderr.write(format!("{lines}{end}").as_bytes())?;
        }
        Ok(())
    }

    fn save(&self, context: &Context, url: &Url, body: &mut impl Read, length: Option<u64>) -> Result<(), Failure> {
        let name = self.name(context, url)?;
        let file = match self.shared {
            Some(file) => std::rc::Rc::clone(file),
            None => create(context, &name)?,
        };
        let stdout = name == "-";
        self.tell(context, &if stdout { "writing to stdout\n".to_owned() } else { format!("saving to '{name}'\n") })?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut total = 0u64;
        loop {
            let read = body.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            total += read as u64;
            file.write(&buffer[..read])?;
        }
        if length.is_some_and(|length| total < length) {
            return Err(Failure::Message("connection closed prematurely".to_owned()));
        }
        let shown = name.rsplit('/').next().unwrap_or_default();
        self.tell(context, &format!("{shown:<20} 100% |{}| {total:>5}  0:00:00 ETA\n", "*".repeat(32)))?;
        self.tell(context, &if stdout { "written to stdout\n".to_owned() } else { format!("'{name}' saved\n") })
    }

    fn name(&self, context: &Context, url: &Url) -> Result<String, Failure> {
        if let Some(name) = self.flags.value('O') {
            return Ok(name.to_owned());
        }
        let last = url.path.split('?').next().and_then(|path| path.rsplit('/').next());
        let name = last.filter(|name| !name.is_empty()).unwrap_or("index.html");
        let name = self.flags.value('P').map_or(name.to_owned(), |directory| format!("{directory}/{name}"));
        if context.path(&name).exists() {
            return Err(Failure::Message(format!("can't open '{name}': File exists")));
        }
        Ok(name)
    }
}

/// Where the server says it is, as an address.
fn redirection(url: &Url, head: &Head) -> Result<String, Failure> {
    let location = head.header("location").ok_or_else(|| Failure::Message("no location".to_owned()))?;
    let Url { host, port, path } = url;
    let directory =
        path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(directory, _)| directory);
    Ok(if location.contains("://") {
        location.to_owned()
    } else if location.starts_with('/') {
        format!("http://{host}:{port}{location}")
    } else {
        format!("http://{host}:{port}{directory}/{location}")
    })
}

fn request(flags: &Flags, url: &Url, post: Option<&[u8]>) -> String {
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
    format!("{text}\r\n")
}

fn read_head(input: &mut impl BufRead) -> Result<Head, Failure> {
    let mut lines = Vec::new();
    let mut limited = input.take(HEAD_BYTES_MAX);
    loop {
        let mut line = Vec::new();
        if limited.read_until(b'\n', &mut line)? == 0 {
            return if lines.is_empty() {
                Err(Failure::Message("error getting response".to_owned()))
            } else {
                Ok(Head { lines })
            };
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            return Ok(Head { lines });
        }
        lines.push(line);
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
