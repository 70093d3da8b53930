//! The fake's connections and commands. Each is a future that its runtime owns.

use super::{Port, Script};
use crate::{Error, ExecOptions, ExecSession, ExecSyncOutput, Output};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, oneshot, watch},
};

/// Bytes in flight each way on a forwarded connection.
pub(super) const CONNECTION_BYTES: usize = 64 * 1024;

/// Pieces in flight on a command's streams.
const PIECES_MAX: usize = 16;

/// Longest HTTP request head that a scripted port reads.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Plays the listener's side of one connection.
pub(super) async fn serve_port(port: Port, mut stream: DuplexStream) {
    // The other side may go away at any time; that is the end of it.
    let _ = match port {
        Port::Echo => {
            let (mut read, mut write) = tokio::io::split(stream);
            tokio::io::copy(&mut read, &mut write).await.map(drop)
        }
        Port::Http(status) => answer_http(status, &mut stream).await,
        Port::Silent => {
            let mut sink = tokio::io::sink();
            tokio::io::copy(&mut stream, &mut sink).await.map(drop)
        }
        Port::Serve(serve) => {
            serve(stream).await;
            Ok(())
        }
    };
}

async fn answer_http(status: u16, stream: &mut DuplexStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        head.push(stream.read_u8().await?);
    }
    let head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}

/// What a command leaves that needs no stdin.
pub(super) fn run_command(script: &Script, command: &[String]) -> Result<ExecSyncOutput, Error> {
    if let Some(output) = script.commands.get(command) {
        return Ok(output.clone());
    }
    let output = |stdout: String, exit_code| ExecSyncOutput { stdout: stdout.into(), stderr: Bytes::new(), exit_code };
    match command.first().map(String::as_str) {
        Some("true" | "cat") => Ok(output(String::new(), 0)),
        Some("false") => Ok(output(String::new(), 1)),
        Some("echo") => Ok(output(command.get(1..).unwrap_or_default().join(" ") + "\n", 0)),
        Some(program) => Err(Error::NotFound(format!("no program {program:?} in the container"))),
        None => Err(Error::InvalidArgument("no command".to_owned())),
    }
}

/// A session, and the future that plays its command: `cat` gives its stdin
/// back, any other command says its output and ends.
pub(super) fn session(
    options: &ExecOptions,
    result: ExecSyncOutput,
) -> (ExecSession, impl Future<Output = ()> + Send + 'static + use<>) {
    let (output_sender, output) = mpsc::channel(PIECES_MAX);
    let (stdin, stdin_receiver) = mpsc::channel(PIECES_MAX);
    let (exit_sender, exit) = oneshot::channel();
    let (resize, _) = watch::channel(crate::TerminalSize::default());
    let stdin = options.stdin.then_some(stdin);
    let echoes = options.command.first().is_some_and(|program| program == "cat");
    let play = async move {
        let exit_code = result.exit_code;
        say(&output_sender, result).await;
        if echoes {
            echo(stdin_receiver, &output_sender).await;
        }
        drop(output_sender);
        let _ = exit_sender.send(Ok(exit_code)); // the session may be gone
    };
    (ExecSession { stdin, output, resize, exit }, play)
}

async fn say(output: &mpsc::Sender<Output>, result: ExecSyncOutput) {
    let pieces = [Output::Stdout(result.stdout), Output::Stderr(result.stderr)];
    for piece in pieces {
        let (Output::Stdout(bytes) | Output::Stderr(bytes)) = &piece;
        if !bytes.is_empty() && output.send(piece).await.is_err() {
            return;
        }
    }
}

async fn echo(mut stdin: mpsc::Receiver<Bytes>, output: &mpsc::Sender<Output>) {
    while let Some(bytes) = stdin.recv().await {
        if output.send(Output::Stdout(bytes)).await.is_err() {
            return;
        }
    }
}
