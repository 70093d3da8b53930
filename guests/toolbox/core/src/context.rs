//! What one running program has: its arguments, environment, directory and
//! streams. Given by the guest's `main` or by the shell; every applet takes one.

use crate::host::{Access, Errno, File, Host};
use std::{
    io::{self, BufReader, Read, Write},
    path::PathBuf,
    rc::Rc,
};

/// Bytes per read and per write: what a pipe holds.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// How a program that did not do its work ends.
#[derive(Debug)]
pub enum Failure {
    /// `name: message`, code 1.
    Message(String),
    /// The message, the usage, code 1.
    Usage(String),
    /// Nothing more to say.
    Code(u8),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // As SIGPIPE ends a process: silently.
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Code(141) } else { Self::Message(reason(&error)) }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// The exit code of a program.
pub type Outcome = Result<u8, Failure>;

/// A running program.
pub struct Context {
    /// Processes, pipes, the clock.
    pub host: Rc<dyn Host>,
    /// The program's name first.
    pub arguments: Vec<String>,
    /// Who complains, when it is not the program: the shell whose builtin it is.
    pub speaker: Option<String>,
    /// In order; a name occurs once.
    pub environment: Vec<(String, String)>,
    /// The working directory, absolute.
    pub directory: String,
    /// Standard input.
    pub stdin: File,
    /// Standard output, buffered.
    pub stdout: Output,
    /// Standard error.
    pub stderr: File,
}

impl Context {
    /// Its name.
    pub fn name(&self) -> &str {
        self.arguments.first().map_or("", |name| name.rsplit('/').next().unwrap_or_default())
    }

    /// What follows its name.
    pub(crate) fn operands(&self) -> &[String] {
        self.arguments.get(1..).unwrap_or_default()
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An absolute path of the container.
    pub(crate) fn absolute(&self, path: &str) -> String {
        absolute(&self.directory, path)
    }

    /// A path for [`std::fs`].
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.host.path(&self.absolute(path))
    }

    /// Opens a path for this program.
    pub(crate) fn open(&self, path: &str, access: Access) -> io::Result<File> {
        if path.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = self.absolute(path);
        match path.as_str() {
            "/dev/stdin" | "/dev/fd/0" => Ok(Rc::clone(&self.stdin)),
            "/dev/stdout" | "/dev/fd/1" => Ok(Rc::clone(&self.stdout.file)),
            "/dev/stderr" | "/dev/fd/2" => Ok(Rc::clone(&self.stderr)),
            _ => Ok(self.host.open(&path, access)?),
        }
    }

    /// A named file for reading; `-` is stdin.
    pub(crate) fn input(&self, path: &str) -> io::Result<BufReader<Stream>> {
        let file = if path == "-" { Rc::clone(&self.stdin) } else { self.open(path, Access::Read)? };
        Ok(BufReader::with_capacity(CHUNK_BYTES, Stream(file)))
    }

    /// The same, with what a program says that has one input only.
    pub(crate) fn named_input(&self, path: &str) -> Result<BufReader<Stream>, Failure> {
        let cannot = |error: io::Error| Failure::Message(format!("can't open '{path}': {}", reason(&error)));
        self.input(path).map_err(cannot)
    }

    /// Says `name: message` on stderr. What stdout holds goes first.
    pub(crate) fn complain(&mut self, message: impl std::fmt::Display) {
        // Nobody is left to hear that this failed.
        let _ = self.stdout.flush();
        let _ =
            self.stderr.write(format!("{}: {message}\n", self.speaker.as_deref().unwrap_or(self.name())).as_bytes());
    }

    /// Says what went wrong with a file.
    pub(crate) fn complain_of(&mut self, path: &str, error: &io::Error) {
        self.complain(format_args!("{path}: {}", reason(error)));
    }
}

/// Joins, and takes `.` and `..` out by name: WASI resolves a path within the
/// directory it was opened under, so `..` out of a volume would not work.
pub fn absolute(directory: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What strerror(3) says.
pub fn reason(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let text = match error.kind() {
        Kind::NotFound => "No such file or directory",
        Kind::PermissionDenied => "Permission denied",
        Kind::AlreadyExists => "File exists",
        Kind::IsADirectory => "Is a directory",
        Kind::NotADirectory => "Not a directory",
        Kind::DirectoryNotEmpty => "Directory not empty",
        Kind::ReadOnlyFilesystem => "Read-only file system",
        Kind::StorageFull => "No space left on device",
        Kind::BrokenPipe => "Broken pipe",
        Kind::InvalidInput => "Invalid argument",
        Kind::ConnectionRefused => "Connection refused",
        Kind::ConnectionReset => "Connection reset by peer",
        Kind::ConnectionAborted => "Connection aborted",
        Kind::HostUnreachable => "No route to host",
        Kind::NetworkUnreachable => "Network is unreachable",
        Kind::TimedOut => "Connection timed out",
        Kind::AddrInUse => "Address in use",
        Kind::CrossesDevices => "Cross-device link",
        Kind::Unsupported => "Function not implemented",
        Kind::UnexpectedEof => "unexpected end of file",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or_default().to_owned();
        }
    };
    text.to_owned()
}

/// A [`File`] for what wants [`Read`] or [`Write`].
pub struct Stream(pub File);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(CHUNK_BYTES);
        let bytes = self.0.read(u32::try_from(length).unwrap_or(u32::MAX))?;
        let length = bytes.len().min(length);
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output: whole buffers, or whole lines when a person reads them.
pub struct Output {
    pub(crate) file: File,
    buffer: Vec<u8>,
    by_line: bool,
}

impl Output {
    /// Over an open file.
    pub fn new(file: File) -> Self {
        let by_line = file.is_terminal();
        Self { file, buffer: Vec::new(), by_line }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES || (self.by_line && bytes.contains(&b'\n')) {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            self.file.write(&buffer)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn paths_become_absolute_without_dots() {
        assert_eq!(absolute("/a/b", "../c/./d"), "/a/c/d");
        assert_eq!(absolute("/a", "/x//y/"), "/x/y");
        assert_eq!(absolute("/", "../.."), "/");
    }
}
