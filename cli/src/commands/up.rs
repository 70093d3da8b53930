//! `wk up`: a server in the background, ready, and in the user's kubeconfig.
//!
//! ```text
//!   up.lock ─▶ running? ─no─▶ start ─▶ its ready line ─▶ kubeconfig ─▶ nodes Ready
//!                  └──yes──────────────────────────────────▲
//! ```
//!
//! The server is this program again, in a session of its own. Its standard output
//! is a pipe until it is ready, so that both its readiness and its end are told
//! and not polled for.

use super::parse_duration;
use crate::{
    args::{Global, Up},
    client,
    control::{client::Control, lock::ServerProcess, protocol::ServerStatus},
    data_dir::{DataDir, Settings},
    kubeconfig::{self, Sources},
    output,
};
use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use std::{
    collections::BTreeSet,
    io::{IsTerminal, Read, Seek, SeekFrom, Write},
    process::{ExitCode, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    time::{Instant, timeout_at},
};

/// The context's name unless `--context` says another.
const CONTEXT: &str = "wk";

/// What a server that begins to serve says on its standard output.
pub(super) const READY: &str = "wk is ready at ";

/// Between two looks at `/readyz`. The server is ready, or as good as, when this
/// begins, so there is hardly ever a second one.
const READYZ_INTERVAL: Duration = Duration::from_millis(50);

/// Lines of the log that are shown when it does not name a reason.
const LOG_LINES_SHOWN: usize = 10;

pub(super) async fn run(global: &Global, args: Up) -> Result<ExitCode> {
    let started = Instant::now();
    let patience = parse_duration(&args.wait).context("--wait")?;
    let data_dir = DataDir::new(client::data_dir(global)?)?;
    data_dir.prepare()?;
    let _only_one = data_dir.lock_changes()?;
    let up = Upping { data_dir, global, deadline: started + patience.max(Duration::from_millis(1)) };
    let waits = !patience.is_zero();
    match ServerProcess::find(up.data_dir.path())? {
        Some(process) => up.go_on(&process, &args, waits).await?,
        None => {
            // Before it begins: a server that fails at once has written why by the time we look.
            let log_from = up.data_dir.log_length();
            let mut child = up.spawn(&args)?;
            let starting = up.start(&mut child, &args, waits, Begun { started, log_from });
            tokio::select! {
                result = starting => result?,
                _ = tokio::signal::ctrl_c() => return stop(child).await,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// When a server was started, and where its part of the log begins.
struct Begun {
    started: Instant,
    log_from: u64,
}

struct Upping<'a> {
    data_dir: DataDir,
    global: &'a Global,
    deadline: Instant,
}

impl Upping<'_> {
    /// A server runs already: what is missing is made up for.
    async fn go_on(&self, process: &ServerProcess, args: &Up, waits: bool) -> Result<()> {
        let status = Control::new(self.data_dir.path()).status().await;
        let status = status.with_context(|| format!("the server (process {}) does not answer", process.pid()))?;
        output::line(format_args!("wk is already running at https://{} (process {})", status.address, status.pid))?;
        let other_nodes = args.nodes.is_some_and(|nodes| nodes as usize != status.nodes.len());
        if other_nodes || args.listen.is_some_and(|listen| listen.port() != 0 && listen != status.address) {
            output::line("It keeps its settings; `wk down` and `wk up` start it with others.")?;
        }
        self.add_to_kubeconfig(args)?;
        if waits {
            self.until_ready(&status).await?;
        }
        Ok(())
    }

    fn spawn(&self, args: &Up) -> Result<Child> {
        let program = std::env::current_exe().context("find this program")?;
        let settings = Settings::of(args, &self.data_dir.settings()?);
        let log = self.data_dir.open_log()?;
        let mut command = tokio::process::Command::new(program);
        command.args(["server", "--background", "--data-dir"]).arg(self.data_dir.path());
        command.args(settings.to_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let child = command.spawn().context("start the server")?;
        self.data_dir.remember(&settings)?;
        Ok(child)
    }

    async fn start(&self, child: &mut Child, args: &Up, waits: bool, begun: Begun) -> Result<()> {
        let Begun { started, log_from } = begun;
        progress("starting the server");
        let address = match timeout_at(self.patient_until(waits), ready_line(child)).await {
            Ok(Ok(Some(address))) => address,
            Ok(Ok(None)) => {
                let ended = child.wait().await.context("wait for the server")?;
                bail!(self.why_it_ended(&ended.to_string(), log_from));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!(
                "the server is not ready after {}; it goes on starting, see {}",
                seconds(started.elapsed()),
                self.data_dir.log_path().display()
            ),
        };
        let api_after = started.elapsed();
        output::line(format_args!("wk is running at {address} after {}", seconds(api_after)))?;
        self.add_to_kubeconfig(args)?;
        if waits {
            let status = Control::new(self.data_dir.path()).status().await?;
            let ready = self.until_ready(&status);
            tokio::select! {
                ready = ready => ready?,
                ended = child.wait() => {
                    let ended = ended.context("wait for the server")?;
                    bail!(self.why_it_ended(&ended.to_string(), log_from));
                }
            }
        }
        say_what_next()
    }

    /// A server that is not waited for has its time to begin to serve all the same.
    fn patient_until(&self, waits: bool) -> Instant {
        if waits { self.deadline } else { self.deadline + Duration::from_secs(60) }
    }

    fn why_it_ended(&self, ended: &str, log_from: u64) -> String {
        let path = self.data_dir.log_path();
        let mut text = String::new();
        let read = std::fs::File::open(&path).and_then(|mut log| {
            log.seek(SeekFrom::Start(log_from))?;
            log.read_to_string(&mut text)
        });
        let reason = match read {
            Ok(_) => reason_in(&text).unwrap_or_else(|| ended.to_owned()),
            Err(error) => format!("{ended}, and its log cannot be read: {error}"),
        };
        let hint = if reason.contains("Address already in use") {
            "\nAnother program listens there; choose another address with --listen."
        } else {
            ""
        };
        format!("the server did not start: {reason}{hint}\nIts log is {}", path.display())
    }

    fn add_to_kubeconfig(&self, args: &Up) -> Result<()> {
        if args.no_kubeconfig {
            return Ok(());
        }
        let server = self.data_dir.kubeconfig()?;
        let (name, sources) = (self.global.context.as_deref().unwrap_or(CONTEXT), Sources::of(self.global)?);
        let path = sources.edit(|config| {
            kubeconfig::cluster::add(config, name, &server)?;
            Ok(config.default_path().to_owned())
        })?;
        output::line(format_args!("Context {name:?} is the current one in {}", path.display()))
    }

    /// Waits until the API and every node of the process are ready.
    async fn until_ready(&self, status: &ServerStatus) -> Result<()> {
        let client = client::of_document(&self.data_dir.kubeconfig()?).await?;
        let readyz = || http::Request::get("/readyz").body(Vec::new());
        while client.request_text(readyz()?).await.is_err() {
            if Instant::now() + READYZ_INTERVAL > self.deadline {
                bail!("the API is not ready; see {}", self.data_dir.log_path().display());
            }
            tokio::time::sleep(READYZ_INTERVAL).await;
        }
        let mut missing: BTreeSet<String> = status.nodes.iter().map(|node| node.name.clone()).collect();
        let all = missing.len();
        if timeout_at(self.deadline, nodes_ready(client, &mut missing, all)).await.is_err() {
            let names = missing.into_iter().collect::<Vec<_>>().join(", ");
            bail!("not Ready in time: {names}; see {}", self.data_dir.log_path().display());
        }
        clear_progress();
        output::line(format_args!("{all} of {all} nodes Ready"))
    }
}

/// The address in the line that a ready server writes; `None` when it ended before.
async fn ready_line(child: &mut Child) -> Result<Option<String>> {
    let output = child.stdout.take().context("the server has no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.context("read the server's output")? {
        if let Some(rest) = line.strip_prefix(READY) {
            return Ok(Some(rest.split(' ').next().unwrap_or_default().to_owned()));
        }
    }
    Ok(None)
}

/// Returns when `missing` is empty.
async fn nodes_ready(client: kube::Client, missing: &mut BTreeSet<String>, all: usize) {
    let mut nodes = watcher(Api::<Node>::all(client), watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .filter_map(|node| async move { node.ok() })
        .boxed();
    while !missing.is_empty() {
        progress(&format!("{} of {all} nodes Ready", all - missing.len()));
        let Some(node) = nodes.next().await else { return };
        if super::status::is_ready(&node) {
            missing.remove(node.metadata.name.as_deref().unwrap_or_default());
        }
    }
}

/// What a log gives as the reason of an end.
fn reason_in(log: &str) -> Option<String> {
    let error = log.lines().rev().find_map(|line| line.strip_prefix("error: "));
    if let Some(error) = error {
        return Some(error.to_owned());
    }
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
    (!shown.is_empty()).then(|| format!("the last lines of its log are\n{}", shown.join("\n")))
}

/// The user has changed their mind: a server that is half up is no use.
async fn stop(mut child: Child) -> Result<ExitCode> {
    if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
        // It has not been waited for, so the number is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ = child.wait().await;
    Err(anyhow!("interrupted; the server has been stopped"))
}

/// One line that is written over, for who looks at a terminal.
fn progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{text} ...");
        let _ = out.flush();
    }
}

fn clear_progress() {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K");
        let _ = out.flush();
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn say_what_next() -> Result<()> {
    output::line(
        "\nTry next, with wk or kubectl:\n\
         \x20 wk image load program.wasm --tag me/program\n\
         \x20 wk create deployment web --image me/program\n\
         \x20 wk get pods -o wide\n\
         \x20 wk status\n\
         \x20 wk down",
    )
}
