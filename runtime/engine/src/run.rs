//! One guest from instantiation to its end.
//!
//! [`Program::prepare`] does everything that can fail because of the host
//! (opening directories), and gives a future that runs the guest. How it ended
//! is an [`End`]; `container.rs` and `exec.rs` turn that into states and codes.

use crate::{
    cpu::Metered,
    cpu::SharedThrottle,
    epoch::Ticker,
    files::{GuestStdin, GuestStdout},
    host::{HostState, ModuleHostState, ProcessCtx},
    limits::{self, Account, MemoryLimiter, OomKilled},
    processes::session::Streams,
};
use futures::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe, path::PathBuf, sync::Arc};
use wasmtime::{Engine, Result, Store, Trap, WasmBacktrace};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, p2::bindings::CommandPre};
use wk_network::PodPort;

/// Names of a trap's backtrace that go into its message.
const FRAMES_SHOWN: usize = 6;

/// A signal's number added to this is the exit code, as a shell says it.
const SIGNAL_BASE: i32 = 128;

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with a code.
    Exited(i32),
    /// At its memory limit.
    OutOfMemory(String),
    /// In a trap; the code is the one of the signal a native program would get.
    Trapped { code: i32, message: String },
    /// It could not even be started, or the host is at fault.
    Failed(String),
}

/// A directory of the host that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preopen {
    pub host: PathBuf,
    pub guest: String,
    pub readonly: bool,
}

/// Everything that makes one run of a program.
pub(crate) struct Guest {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    pub preopens: Vec<Preopen>,
    pub streams: Streams,
    pub port: PodPort,
    pub account: Account,
    pub memory_limit_bytes: u64,
    pub throttle: Option<SharedThrottle>,
    /// For the toolbox's calls.
    pub process: ProcessCtx,
}

/// Compiled code with its imports resolved: instantiating it is a matter of
/// microseconds.
pub(crate) enum Program {
    /// A command of WASI 0.2.
    Component(CommandPre<HostState>),
    /// A command of WASI 0.1, run as it is: inside a component its exit code
    /// would become 0 or 1.
    Module(wasmtime::InstancePre<ModuleHostState>),
}

impl Program {
    /// Makes ready to run. The future may be dropped at any time, which ends
    /// the guest and frees all it has.
    ///
    /// # Errors
    /// When a directory cannot be opened.
    pub fn prepare(&self, guest: Guest, ticker: Arc<Ticker>) -> Result<Metered> {
        let (account, throttle) = (guest.account.clone(), guest.throttle.clone());
        let running = match self {
            Self::Component(pre) => run_component(pre.clone(), guest)?.boxed(),
            Self::Module(pre) => run_module(pre.clone(), guest)?.boxed(),
        };
        let running = AssertUnwindSafe(running).catch_unwind().map(|end| match end {
            Ok(result) => classify(result),
            Err(panic) => End::Failed(format!("a host function panicked: {}", panic_message(panic.as_ref()))),
        });
        Ok(Metered::new(running.boxed(), account, ticker, throttle))
    }
}

fn run_component(
    pre: CommandPre<HostState>,
    guest: Guest,
) -> Result<impl Future<Output = Result<Result<(), ()>>> + Send> {
    let wasi = wasi(&guest)?.build();
    let limiter = MemoryLimiter::new(guest.account, guest.memory_limit_bytes);
    let state = HostState { table: limits::resource_table(), wasi, port: guest.port, limiter, process: guest.process };
    let mut store = Store::new(engine_of(&pre), state);
    limits::apply(&mut store, |state| &mut state.limiter);
    Ok(async move {
        let command = pre.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    })
}

fn run_module(
    pre: wasmtime::InstancePre<ModuleHostState>,
    guest: Guest,
) -> Result<impl Future<Output = Result<Result<(), ()>>> + Send> {
    let wasi = wasi(&guest)?.build_p1();
    let limiter = MemoryLimiter::new(guest.account, guest.memory_limit_bytes);
    let mut store = Store::new(pre.module().engine(), ModuleHostState { wasi, limiter });
    limits::apply(&mut store, |state| &mut state.limiter);
    Ok(async move {
        let instance = pre.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await.map(Ok)
    })
}

fn engine_of(pre: &CommandPre<HostState>) -> &Engine {
    pre.instance_pre().engine()
}

fn wasi(guest: &Guest) -> Result<WasiCtxBuilder> {
    let mut builder = WasiCtxBuilder::new();
    builder.args(&guest.args).envs(&guest.env).max_random_size(limits::RANDOM_BYTES_MAX);
    let Streams { stdin, stdout, stderr } = guest.streams.clone();
    builder.stdin(GuestStdin(stdin)).stdout(GuestStdout(stdout)).stderr(GuestStdout(stderr));
    // wasi-libc does not look at it yet: only guests that ask WASI themselves start there.
    if !guest.working_dir.is_empty() {
        builder.initial_cwd(&guest.working_dir);
    }
    for Preopen { host, guest, readonly } in &guest.preopens {
        let perms = if *readonly { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        builder
            .preopened_dir(host, guest, perms)
            .map_err(|error| error.context(format!("open {} for {guest}", host.display())))?;
    }
    Ok(builder)
}

/// What the result of a run means.
fn classify(result: Result<Result<(), ()>>) -> End {
    let error = match result {
        Ok(Ok(())) => return End::Exited(0),
        Ok(Err(())) => return End::Exited(1),
        Err(error) => error,
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return End::Exited(exit.0);
    }
    if let Some(oom) = error.downcast_ref::<OomKilled>() {
        return End::OutOfMemory(oom.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => End::Trapped { code: SIGNAL_BASE + signal_of(*trap), message: trap_message(*trap, &error) },
        None => End::Failed(format!("{error:#}")),
    }
}

/// The signal that a native program gets for the same mistake.
fn signal_of(trap: Trap) -> i32 {
    match trap {
        Trap::StackOverflow | Trap::MemoryOutOfBounds | Trap::NullReference => libc::SIGSEGV,
        Trap::HeapMisaligned => libc::SIGBUS,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => libc::SIGFPE,
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => libc::SIGILL,
        _ => libc::SIGABRT,
    }
}

fn trap_message(trap: Trap, error: &wasmtime::Error) -> String {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::to_string).unwrap_or_default();
    let all: Vec<String> = backtrace.lines().filter_map(frame_name).collect();
    let own: Vec<&str> = all.iter().map(String::as_str).filter(|name| !is_plumbing(name)).take(FRAMES_SHOWN).collect();
    if own.is_empty() { trap.to_string() } else { format!("{trap} in {}", own.join(" < ")) }
}

/// The function's name in a line of a backtrace, such as
/// `0: 0x5b9 - crash.wasm!crash[0123456789abcdef]::main`, without the hashes.
fn frame_name(line: &str) -> Option<String> {
    let (_, place) = line.split_once(" - ")?;
    let name = place.split_once('!').map_or(place, |(_, name)| name).trim();
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut pieces = name.split('[');
    let mut clean = pieces.next()?.to_owned();
    for piece in pieces {
        match piece.split_once(']') {
            Some((hash, rest)) if is_hash(hash) => clean.push_str(rest),
            _ => clean.extend(["[", piece]),
        }
    }
    Some(clean)
}

/// Whether a frame is of the language's own machinery, which says nothing about
/// the program: how a panic gets to its trap, and what calls `main`.
fn is_plumbing(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    ["std::", "core::", "alloc::", "__", "rust_", "abort", "_start", "wasi:cli/run"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_apart() {
        assert_eq!(classify(Ok(Ok(()))), End::Exited(0));
        assert_eq!(classify(Ok(Err(()))), End::Exited(1));
        assert_eq!(classify(Err(I32Exit(7).into())), End::Exited(7));
        let oom = classify(Err(OomKilled { wanted_bytes: 2, limit_bytes: 1 }.into()));
        assert!(matches!(oom, End::OutOfMemory(_)), "{oom:?}");
        let trapped = classify(Err(Trap::UnreachableCodeReached.into()));
        assert!(matches!(trapped, End::Trapped { code: 134, .. }), "{trapped:?}");
        assert_eq!(classify(Err(wasmtime::Error::msg("no such file"))), End::Failed("no such file".to_owned()));
    }

    #[test]
    fn a_frame_is_named_by_its_function() {
        let line = "    0:    0x5b9 - crash.wasm!crash[d123b7a1a2ed1472]::deeper";
        assert_eq!(frame_name(line).as_deref(), Some("crash::deeper"));
        assert_eq!(frame_name("  1: 0x1 - a.wasm!<[u8; 4] as Read>::read").as_deref(), Some("<[u8; 4] as Read>::read"));
        assert_eq!(frame_name("error while executing at wasm backtrace:"), None);
        assert!(is_plumbing("<core::option::Option<u8>>::unwrap") && !is_plumbing("crash::main"));
    }
}
