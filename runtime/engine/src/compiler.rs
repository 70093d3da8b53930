//! Where images are compiled: in a process of its own, or on a thread of this one.
//!
//! A compilation takes tens of megabytes and maps as much of the binary; in a
//! process of its own all of that is gone when it is done, and a component made to
//! break a compiler breaks nobody else. `programs.rs` asks and checks what it
//! gets; the command line gives [`compile`] to the process.

use crate::{code_file, programs::engine_config};
use std::{
    ffi::OsString,
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, process::Command, runtime::Handle, time::timeout};
use wasmtime::Engine;
use wk_images::WasmKind;

/// How much the compiler gives way to everything else.
const NICENESS: libc::c_int = 10;

/// The longest a compilation may take. The largest programs at hand (70 MB) take
/// one minute; what takes this long is made to.
const TIME_MAX: Duration = Duration::from_secs(1200);

/// Who compiles.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// A thread: for tests, and for programs that embed the engine.
    Thread,
    /// A program that calls [`compile`] with the last two arguments it gets, which
    /// are `component` or `module` and where to put the code.
    Process {
        /// Its path.
        program: PathBuf,
        /// Its first arguments.
        args: Vec<OsString>,
    },
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The wasm is at fault: it will never compile.
    #[error("{0:#}")]
    Wasm(wasmtime::Error),
    /// The host is: its disk, its memory.
    #[error("{0}")]
    Host(String),
}

/// Exit codes of [`Compiler::Process`]; its standard error says the rest.
const WASM_FAILED: u8 = 1;
const HOST_FAILED: u8 = 2;

impl Failure {
    /// What the process that calls [`compile`] ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Wasm(_) => WASM_FAILED,
            Self::Host(_) => HOST_FAILED,
        }
    }

    fn host(operation: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Host(format!("{operation}: {error}"))
    }
}

impl Compiler {
    /// Compiles `wasm` to the file `code`. Called on a thread of a tokio runtime
    /// that may block.
    pub(crate) fn run(&self, kind: WasmKind, wasm: Vec<u8>, code: &Path) -> Result<(), Failure> {
        match self {
            Self::Thread => on_a_thread(kind, wasm, code.to_owned()),
            Self::Process { program, args } => {
                let mut command = Command::new(program);
                command.args(args).arg(name_of(kind)).arg(code);
                let running = in_a_process(command, wasm);
                let timed_out = |_| Err(Failure::Host(format!("the compiler was not done after {TIME_MAX:?}")));
                Handle::current().block_on(async { timeout(TIME_MAX, running).await.unwrap_or_else(timed_out) })
            }
        }
    }
}

/// Compiles the wasm on standard input to a file, for [`Compiler::Process`].
///
/// # Errors
/// What is wrong with the wasm, or with the host.
pub fn compile(kind: &str, code: &Path) -> Result<(), Failure> {
    give_way();
    let known = [WasmKind::Component, WasmKind::Module].into_iter().find(|known| name_of(*known) == kind);
    let kind = known.ok_or_else(|| Failure::Host(format!("{kind:?} is neither \"component\" nor \"module\"")))?;
    let mut wasm = Vec::new();
    io::stdin().lock().read_to_end(&mut wasm).map_err(Failure::host("read the wasm"))?;
    compile_to(kind, &wasm, code)
}

fn compile_to(kind: WasmKind, wasm: &[u8], code: &Path) -> Result<(), Failure> {
    let made = precompile(kind, wasm).map_err(Failure::Wasm)?;
    code_file::write(code, &made).map_err(Failure::host("keep compiled code"))
}

fn precompile(kind: WasmKind, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let engine = Engine::new(&engine_config())?;
    match kind {
        WasmKind::Component => engine.precompile_component(wasm),
        WasmKind::Module => engine.precompile_module(wasm),
    }
}

fn name_of(kind: WasmKind) -> &'static str {
    match kind {
        WasmKind::Component => "component",
        WasmKind::Module => "module",
    }
}

async fn in_a_process(mut command: Command, wasm: Vec<u8>) -> Result<(), Failure> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(Failure::host("start the compiler"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read all says why by itself.
        let _ = stdin.write_all(&wasm).await;
    }
    drop(wasm);
    let output = child.wait_with_output().await.map_err(Failure::host("wait for the compiler"))?;
    said(output.status, String::from_utf8_lossy(&output.stderr).trim())
}

/// What the end of the process means.
fn said(status: ExitStatus, stderr: &str) -> Result<(), Failure> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(WASM_FAILED) => {
            Err(Failure::Wasm(wasmtime::Error::msg(stderr.to_owned())))
        }
        (None, Some(libc::SIGKILL)) => {
            Err(Failure::Host("the compiler was killed: is there enough memory?".to_owned()))
        }
        _ => Err(Failure::Host(format!("the compiler failed ({status}): {stderr}"))),
    }
}

/// Runs where it does not get in the way of guests. The threads of wasmtime's
/// compiler pool inherit the niceness, since they are first made here.
fn on_a_thread(kind: WasmKind, wasm: Vec<u8>, code: PathBuf) -> Result<(), Failure> {
    let work = move || {
        give_way();
        compile_to(kind, &wasm, &code)
    };
    let thread = std::thread::Builder::new().name("wk-compile".to_owned()).spawn(work);
    let thread = thread.map_err(Failure::host("start a thread"))?;
    thread.join().unwrap_or_else(|_| Err(Failure::Host("the compiler panicked".to_owned())))
}

#[allow(unsafe_code)]
fn give_way() {
    // SAFETY: the call only changes the priority of the calling thread.
    // JUSTIFICATION: std has no thread priorities.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(program: &str, args: &[&str]) -> Result<(), String> {
        let args = args.iter().map(OsString::from).collect();
        let compiler = Compiler::Process { program: program.into(), args };
        // More than a pipe holds.
        let wasm = vec![0; 1 << 20];
        let work = move || compiler.run(WasmKind::Module, wasm, Path::new("/dev/null"));
        tokio::task::spawn_blocking(work).await.unwrap().map_err(|failure| match failure {
            Failure::Wasm(error) => format!("wasm: {error}"),
            Failure::Host(message) => format!("host: {message}"),
        })
    }

    #[tokio::test]
    async fn a_process_says_what_is_wrong_with_the_wasm() {
        let said = run("sh", &["-c", "echo not a module >&2; exit 1"]).await;
        assert_eq!(said, Err("wasm: not a module".to_owned()));
    }

    #[tokio::test]
    async fn what_else_goes_wrong_with_a_process_is_the_hosts_fault() {
        let full = run("sh", &["-c", "echo no space left >&2; exit 2"]).await.unwrap_err();
        assert!(full.starts_with("host: ") && full.contains("no space left"), "{full}");
        let killed = run("sh", &["-c", "kill -9 $$"]).await.unwrap_err();
        assert!(killed.starts_with("host: ") && killed.contains("enough memory"), "{killed}");
        let missing = run("/nonexistent", &[]).await.unwrap_err();
        assert!(missing.starts_with("host: ") && missing.contains("start the compiler"), "{missing}");
    }

    #[tokio::test]
    async fn a_process_gets_the_whole_wasm_and_where_the_code_goes() {
        let checked = "test $(wc -c) = 1048576 && test \"$1 $2\" = 'module /dev/null'";
        assert_eq!(run("sh", &["-c", checked, "sh"]).await, Ok(()));
    }
}
