//! `wk:toolbox/processes`: what the toolbox asks for, of open files and processes.
//!
//! Linked for the toolbox alone (`linker.rs`). Waiting is a host call that waits;
//! meanwhile other guests have the thread.

use super::{
    Process, ProcessEnd,
    lookup::CannotExecute,
    session::{Command, NotStarted, Session, Streams},
    signals::{Action, SIGNAL_MAX},
};
use crate::{
    files::{Access, CALL_BYTES_MAX, Disk, OpenFile},
    host::{HostState, ProcessCtx},
};
use bindings::wk::toolbox::processes::{self, Errno};
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use wasmtime::{
    Result,
    component::{HasSelf, Linker, Resource},
};
use wasmtime_wasi::I32Exit;

#[allow(missing_docs)] // generated
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../guests/toolbox/wit",
        world: "toolbox",
        imports: {
            default: trappable,
            "wk:toolbox/processes.[method]file.read": async | trappable,
            "wk:toolbox/processes.[method]file.read-or-signal": async | trappable,
            "wk:toolbox/processes.[method]file.write": async | trappable,
            "wk:toolbox/processes.[method]child.wait": async | trappable,
            "wk:toolbox/processes.[method]child.wait-or-signal": async | trappable,
            "wk:toolbox/processes.open": async | trappable,
            "wk:toolbox/processes.spawn": async | trappable,
            "wk:toolbox/processes.find": async | trappable,
            "wk:toolbox/processes.kill": async | trappable,
        },
        with: {
            "wk:toolbox/processes.file": crate::files::OpenFile,
            "wk:toolbox/processes.child": super::Child,
        },
        require_store_data_send: true,
    });
}

/// A process that the guest started.
pub struct Child(Arc<Process>);

/// Adds the interface.
///
/// # Errors
/// When the linker has it already.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> Result<()> {
    processes::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

type Answer<T> = Result<std::result::Result<T, Errno>>;

impl HostState {
    /// The session, while it lives: it ends this guest when it goes.
    fn session(&self) -> Result<Arc<Session>> {
        self.process.session.upgrade().ok_or_else(|| wasmtime::Error::msg("the session has ended"))
    }

    fn own(&self) -> &ProcessCtx {
        &self.process
    }

    fn push(&mut self, file: OpenFile) -> Result<Resource<OpenFile>> {
        Ok(self.table.push(file)?)
    }

    /// Files that are none of the disk's.
    fn special(&self, path: &str) -> Option<OpenFile> {
        let Streams { stdin, stdout, stderr } = &self.own().streams;
        match path {
            "/dev/null" => Some(OpenFile::null()),
            "/dev/stdin" | "/dev/fd/0" => Some(stdin.clone()),
            "/dev/stdout" | "/dev/fd/1" => Some(stdout.clone()),
            "/dev/stderr" | "/dev/fd/2" => Some(stderr.clone()),
            "/dev/tty" => self.session().ok()?.terminal.clone().map(OpenFile::terminal),
            _ => None,
        }
    }
}

impl processes::HostFile for HostState {
    async fn read(&mut self, file: Resource<OpenFile>, length: u32) -> Answer<Vec<u8>> {
        let file = self.table.get(&file)?.clone();
        let length = usize::try_from(length).unwrap_or(CALL_BYTES_MAX);
        Ok(file.read(length).await.map(Vec::from).map_err(|error| errno(&error)))
    }

    async fn read_or_signal(
        &mut self,
        file: Resource<OpenFile>,
        length: u32,
        timeout_millis: Option<u32>,
    ) -> Answer<Vec<u8>> {
        let process = self.own().process.clone();
        let readable = self.table.get(&file)?.clone();
        let over = async {
            match timeout_millis {
                Some(millis) => tokio::time::sleep(Duration::from_millis(millis.into())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased; // what was typed after ^C is not for who was interrupted
            () = process.interrupted() => Ok(Err(Errno::Intr)),
            () = readable.readable() => self.read(file, length).await,
            () = over => Ok(Err(Errno::Again)),
        }
    }

    async fn write(&mut self, file: Resource<OpenFile>, bytes: Vec<u8>) -> Answer<()> {
        let file = self.table.get(&file)?.clone();
        Ok(file.write(bytes.into()).await.map_err(|error| errno(&error)))
    }

    fn is_terminal(&mut self, file: Resource<OpenFile>) -> Result<bool> {
        Ok(self.table.get(&file)?.as_terminal().is_some())
    }

    fn duplicate(&mut self, file: Resource<OpenFile>) -> Result<Resource<OpenFile>> {
        let file = self.table.get(&file)?.clone();
        self.push(file)
    }

    fn drop(&mut self, file: Resource<OpenFile>) -> Result<()> {
        self.table.delete(file)?;
        Ok(())
    }
}

impl processes::HostChild for HostState {
    fn pid(&mut self, child: Resource<Child>) -> Result<u32> {
        Ok(self.table.get(&child)?.0.pid)
    }

    async fn wait(&mut self, child: Resource<Child>) -> Result<processes::End> {
        let process = self.table.get(&child)?.0.clone();
        Ok(end(process.wait().await))
    }

    async fn wait_or_signal(&mut self, child: Resource<Child>) -> Result<Option<processes::End>> {
        let (own, process) = (self.own().process.clone(), self.table.get(&child)?.0.clone());
        tokio::select! {
            biased; // what has ended is told
            ended = process.wait() => Ok(Some(end(ended))),
            () = own.interrupted() => Ok(None),
        }
    }

    fn poll(&mut self, child: Resource<Child>) -> Result<Option<processes::End>> {
        Ok(self.table.get(&child)?.0.end().map(end))
    }

    fn drop(&mut self, child: Resource<Child>) -> Result<()> {
        self.table.delete(child)?;
        Ok(())
    }
}

impl processes::Host for HostState {
    fn stdin(&mut self) -> Result<Resource<OpenFile>> {
        self.push(self.own().streams.stdin.clone())
    }

    fn stdout(&mut self) -> Result<Resource<OpenFile>> {
        self.push(self.own().streams.stdout.clone())
    }

    fn stderr(&mut self) -> Result<Resource<OpenFile>> {
        self.push(self.own().streams.stderr.clone())
    }

    async fn open(&mut self, path: String, access: processes::Access) -> Answer<Resource<OpenFile>> {
        if let Some(file) = self.special(&path) {
            return Ok(Ok(self.push(file)?));
        }
        let access = match access {
            processes::Access::Read => Access::Read,
            processes::Access::Write => Access::Write,
            processes::Access::Append => Access::Append,
            processes::Access::ReadWrite => Access::ReadWrite,
        };
        let container = self.session()?.container.clone();
        match Disk::open(container.rootfs.preopens(), &path, access).await {
            Ok(disk) => Ok(Ok(self.push(OpenFile::disk(disk))?)),
            Err(error) => Ok(Err(errno(&error))),
        }
    }

    fn pipe(&mut self) -> Result<(Resource<OpenFile>, Resource<OpenFile>)> {
        let (reader, writer) = OpenFile::pipe();
        Ok((self.push(reader)?, self.push(writer)?))
    }

    fn from_bytes(&mut self, bytes: Vec<u8>) -> Result<Resource<OpenFile>> {
        self.push(OpenFile::bytes(bytes.into()))
    }

    async fn spawn(
        &mut self,
        command: processes::Command,
        stdin: Resource<OpenFile>,
        stdout: Resource<OpenFile>,
        stderr: Resource<OpenFile>,
    ) -> Answer<Resource<Child>> {
        let streams = Streams {
            stdin: self.table.get(&stdin)?.clone(),
            stdout: self.table.get(&stdout)?.clone(),
            stderr: self.table.get(&stderr)?.clone(),
        };
        let processes::Command { arguments, environment, working_directory, search, background } = command;
        let command = Command { arguments, environment, working_dir: working_directory, streams, background };
        let parent = self.own().process.pid;
        match self.session()?.spawn(parent, command, &search).await {
            Ok(process) => Ok(Ok(self.table.push(Child(process))?)),
            Err(error) => Ok(Err(match error {
                NotStarted::CannotExecute(CannotExecute::Missing(_)) => Errno::Noent,
                NotStarted::CannotExecute(CannotExecute::Denied(_)) => Errno::Acces,
                NotStarted::CannotExecute(CannotExecute::Format(_)) => Errno::Noexec,
                NotStarted::Runtime(wk_cri::Error::ResourceExhausted(_)) => Errno::Again,
                NotStarted::Runtime(_) => Errno::Io,
            })),
        }
    }

    async fn find(&mut self, program: String, search: String, directory: String) -> Result<Option<String>> {
        let session = self.session()?;
        Ok(session.launcher.places(&session.container, &search, &directory).locate(&program).await)
    }

    fn list_processes(&mut self) -> Result<Vec<processes::Process>> {
        let list = self.session()?.processes().list();
        Ok(list.iter().map(|process| describe(process)).collect())
    }

    fn pid(&mut self) -> Result<u32> {
        Ok(self.own().process.pid)
    }

    async fn kill(&mut self, pid: u32, signal: u8) -> Answer<()> {
        let Some(process) = self.session()?.processes().get(pid) else { return Ok(Err(Errno::Srch)) };
        if signal > SIGNAL_MAX {
            return Ok(Err(Errno::Inval));
        }
        // Signal 0 only asks whether there is such a process.
        if signal != 0 {
            process.signal(signal);
        }
        // Who ends itself does not get to its next instruction.
        if self.own().process.is_ending() {
            std::future::pending::<()>().await;
        }
        Ok(Ok(()))
    }

    fn set_action(&mut self, signal: u8, action: processes::Action) -> Answer<()> {
        let action = match action {
            processes::Action::Default => Action::Default,
            processes::Action::Ignore => Action::Ignore,
            processes::Action::Catch => Action::Catch,
        };
        Ok(if self.own().process.set_action(signal, action) { Ok(()) } else { Err(Errno::Inval) })
    }

    fn caught_signals(&mut self) -> Result<u64> {
        Ok(self.own().process.take_caught())
    }

    fn terminal_size(&mut self) -> Result<Option<processes::Size>> {
        let session = self.session()?;
        let size = session.terminal.as_ref().and_then(|terminal| terminal.size());
        Ok(size.map(|size| processes::Size { columns: size.width, rows: size.height }))
    }

    fn set_raw(&mut self, raw: bool) -> Answer<()> {
        match &self.session()?.terminal {
            Some(terminal) => terminal.set_raw(raw),
            None => return Ok(Err(Errno::Inval)), // ENOTTY, which the contract does not have
        }
        Ok(Ok(()))
    }

    fn exit(&mut self, code: u8) -> Result<()> {
        Err(I32Exit(i32::from(code)).into())
    }
}

/// As ps shows it.
fn describe(process: &Process) -> processes::Process {
    let usage = &process.account.own;
    let is_running = usage.is_running.load(Relaxed);
    processes::Process {
        pid: process.pid,
        parent: process.parent,
        command: process.command.clone(),
        cpu_nanos: usage.cpu_nanos.load(Relaxed),
        memory_bytes: usage.memory_bytes.load(Relaxed),
        state: if is_running { "R" } else { "S" }.to_owned(),
        started_at_unix_seconds: u64::try_from(process.started_at.0 / 1_000_000_000).unwrap_or(0),
    }
}

/// An end as a parent sees it.
fn end(end: ProcessEnd) -> processes::End {
    match end {
        ProcessEnd::Exited(code) => processes::End::Exited(code.to_le_bytes()[0]),
        ProcessEnd::Signalled(signal) => processes::End::Signalled(signal),
    }
}

fn errno(error: &io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::NotFound => Errno::Noent,
        io::ErrorKind::IsADirectory => Errno::Isdir,
        io::ErrorKind::NotADirectory => Errno::Notdir,
        io::ErrorKind::ReadOnlyFilesystem => Errno::Rofs,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Errno::Nospc,
        io::ErrorKind::BrokenPipe => Errno::Pipe,
        io::ErrorKind::PermissionDenied => Errno::Acces,
        // What leads out of the root, a loop of links, the wrong direction.
        io::ErrorKind::CrossesDevices => Errno::Perm,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Errno::Inval,
        _ if error.raw_os_error() == Some(libc::EBADF) => Errno::Inval,
        _ => Errno::Io,
    }
}
