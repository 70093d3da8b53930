//! A server of one's own, and the two command lines that talk to it.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Names the guests are loaded under.
pub const HELLO: &str = "kiamol/ch02-hello-kiamol";

/// How long a test waits for anything before it says what it saw last. Generous:
/// machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The command lines under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Wk,
    Kubectl,
}

impl Tool {
    pub const BOTH: [Self; 2] = [Self::Wk, Self::Kubectl];
}

/// A server in a directory of its own, killed when dropped.
pub struct Server {
    child: Child,
    directory: tempfile::TempDir,
    args: Vec<String>,
    disk: Option<Disk>,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags.
    pub fn start_with(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), None, args)
    }

    /// The same with a data directory on a disk of its own.
    pub fn start_on_disk(megabytes: u32, args: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::mount(directory.path(), megabytes);
        Self::start_in(directory, Some(disk), args)
    }

    fn start_in(directory: tempfile::TempDir, disk: Option<Disk>, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let child = spawn(launch(directory.path(), disk.as_ref(), &args), directory.path());
        Self { child, directory, args, disk }
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.disk.as_ref().map_or(self.directory.path(), Disk::path)
    }

    /// What the server has said since it was started.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("server.log")).unwrap()
    }

    /// Its disk, when it has one of its own.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A server with this guest loaded as `tag`.
    pub fn with_image(guest: &Path, tag: &str) -> Self {
        let server = Self::start();
        server.load(guest, tag);
        server
    }

    /// `wk image load`.
    pub fn load(&self, guest: &Path, tag: &str) {
        self.ok(Tool::Wk, &["image", "load", guest.to_str().unwrap(), "--tag", tag]);
    }

    /// Sends a signal and waits until the process is gone.
    pub fn stop(&mut self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap();
    }

    /// Starts it again in the same directory.
    pub fn restart(&mut self) {
        self.child = spawn(self.launch(), self.directory.path());
    }

    /// Starts it again in the same directory, where it may refuse to: whether it
    /// is ready, else what it said.
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.child = self.launch();
        if is_ready(&mut self.child) {
            return Ok(());
        }
        // It closed its output: it is ending.
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{}", self.log());
        Err(self.log())
    }

    /// Starts it again, and kills it that long after, whatever it is at.
    pub fn restart_and_kill_after(&mut self, moment: Duration) {
        self.child = self.launch();
        std::thread::sleep(moment);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn launch(&self) -> Child {
        launch(self.directory.path(), self.disk.as_ref(), &self.args)
    }

    /// A command, ready to run.
    pub fn command(&self, tool: Tool, args: &[&str]) -> Command {
        let mut command = match tool {
            Tool::Wk => wk(),
            Tool::Kubectl => Command::new("kubectl"),
        };
        command
            .args(args)
            .env("KUBECONFIG", self.directory().join("kubeconfig"))
            .env("WK_DATA_DIR", self.directory())
            // kubectl caches discovery by host name and port, and ports come back.
            .env("KUBECACHEDIR", self.directory.path().join("kubectl-cache"))
            .env("HOME", self.directory.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, tool: Tool, args: &[&str]) -> Output {
        self.command(tool, args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn ok(&self, tool: Tool, args: &[&str]) -> String {
        let output = self.run(tool, args);
        assert!(output.status.success(), "{tool:?} {args:?} failed:\n{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must fail; its standard error.
    pub fn fails(&self, tool: Tool, args: &[&str]) -> String {
        let output = self.run(tool, args);
        assert!(!output.status.success(), "{tool:?} {args:?} succeeded:\n{}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Writes a file beside the data of the server; its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs a command again and again until `accept` takes its output.
    pub fn until(&self, args: &[&str], what: &str, accept: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.run(Tool::Wk, args);
            let seen = text(&output.stdout);
            if output.status.success() && accept(&seen) {
                return seen;
            }
            assert!(
                Instant::now() < deadline,
                "never {what}; last seen:\n{seen}{}\n{}",
                text(&output.stderr),
                self.state()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Pods and events, for a failed test.
    fn state(&self) -> String {
        let pods = self.run(Tool::Wk, &["get", "pods,events", "-A", "-o", "wide"]);
        text(&pods.stdout)
    }

    /// Waits for a condition the way a user does.
    pub fn wait_for(&self, tool: Tool, condition: &str, target: &[&str]) {
        let condition = format!("--for=condition={condition}");
        let mut args = vec!["wait", condition.as_str(), "--timeout=90s"];
        args.extend(target);
        let output = self.run(tool, &args);
        assert!(output.status.success(), "{tool:?} {args:?}: {}\n{}", text(&output.stderr), self.state());
    }

    /// A port-forward in the background, and its local address.
    pub fn forward(&self, tool: Tool, target: &str, port: u16) -> Forward {
        let port = format!(":{port}");
        self.forward_command(self.command(tool, &["port-forward", target, &port]))
    }

    /// The same from a prepared command.
    pub fn forward_command(&self, mut command: Command) -> Forward {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let line = first_line(child.stdout.take().unwrap(), "Forwarding from 127.0.0.1:");
        let local = line.split(" -> ").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        Forward { child, local }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running port-forward, ended when dropped.
pub struct Forward {
    pub child: Child,
    pub local: SocketAddr,
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small disk in memory over a directory, in a user and mount namespace that a
/// process keeps open. Ordinary users may make one on most systems; where they
/// may not, the test fails and says so. Gone when dropped.
pub struct Disk {
    keeper: Child,
    path: PathBuf,
}

impl Disk {
    /// Mounts it; `directory` is empty.
    pub fn mount(directory: &Path, megabytes: u32) -> Self {
        let script = "mount -t tmpfs -o size=$1m,mode=0700 tmpfs \"$0\" && echo mounted && exec cat";
        let mut keeper = Command::new("unshare")
            .args(["-Urm", "sh", "-c", script])
            .arg(directory)
            .arg(megabytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        first_line(keeper.stdout.take().unwrap(), "mounted");
        let root = PathBuf::from(format!("/proc/{}/root", keeper.id()));
        Self { path: root.join(directory.strip_prefix("/").unwrap()), keeper }
    }

    /// Where it is seen from outside.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that runs what follows inside.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "-U", "-m", "-t", &self.keeper.id().to_string()]);
        command
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [1 << 20, 4096, 1] {
            while ballast.write(&vec![0; size]).is_ok_and(|written| written > 0) {}
        }
    }

    /// Gives it back.
    pub fn clear(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn wk() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wk"))
}

fn launch(directory: &Path, disk: Option<&Disk>, args: &[String]) -> Child {
    let log = std::fs::File::create(directory.join("server.log")).unwrap();
    let inside = |disk: &Disk| {
        let mut command = disk.inside();
        command.arg(env!("CARGO_BIN_EXE_wk"));
        command
    };
    disk.map_or_else(wk, inside)
        .args(["server", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory)
        .args(args)
        .env("HOME", directory)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Waits until it is ready.
fn spawn(mut child: Child, directory: &Path) -> Child {
    if !is_ready(&mut child) {
        let _ = child.kill();
        panic!("the server did not get ready:\n{}", std::fs::read_to_string(directory.join("server.log")).unwrap());
    }
    child
}

/// Waits until it says so, ends, or takes too long.
fn is_ready(child: &mut Child) -> bool {
    let lines = lines(child.stdout.take().unwrap());
    let deadline = Instant::now() + PATIENCE;
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.starts_with("wk is ready") {
            // The rest is read and dropped, so that the server never waits for a reader.
            std::thread::spawn(move || lines.into_iter().for_each(drop));
            return true;
        }
    }
    false
}

/// The first line that begins with `prefix`; the rest is read and dropped, so
/// that the writer never waits for a reader.
fn first_line(output: impl std::io::Read + Send + 'static, prefix: &str) -> String {
    let mut lines = BufReader::new(output).lines();
    let mut seen = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if line.starts_with(prefix) {
            std::thread::spawn(move || lines.for_each(drop));
            return line;
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    panic!("no line begins with {prefix:?} in:\n{seen}");
}

/// The lines of a running command, as they come.
pub fn lines(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

/// Waits for a line that `accept` takes.
pub fn next_matching(lines: &mpsc::Receiver<String>, accept: impl Fn(&str) -> bool) {
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        if accept(&line) {
            return;
        }
        seen.push(line);
    }
    panic!("the line never came; seen:\n{}", seen.join("\n"));
}

/// Waits until `condition` holds, for what no command shows.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One HTTP/1.1 request over a fresh connection; the whole answer.
pub fn fetch(address: SocketAddr) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
