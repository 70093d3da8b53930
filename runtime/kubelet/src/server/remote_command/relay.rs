//! Between a connected client and a running command, until one of them ends.

use super::{
    Client, FromClient, Wanted,
    status::{self, Status, Verb},
};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use std::{io, time::Duration};
use tokio::sync::{mpsc, watch};
use wk_cri::{ExecSession, Output, TerminalSize};

use super::ToClient;

/// After the end was said, how long the client may take to close the connection.
/// Closing it here at once could lose what is still on its way to the client.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// Relays until the command ends (and says how) or the client goes (which ends
/// the command, since its session is dropped).
///
/// # Errors
/// The connection's.
pub async fn run(
    client: Client,
    session: Result<ExecSession, wk_cri::Error>,
    wanted: Wanted,
    verb: Verb,
) -> io::Result<()> {
    let Client { mut input, mut output, mut gone } = client;
    let status = match session {
        Err(error) => status::failed(&verb, &error.to_string()),
        Ok(ExecSession { stdin, output: produced, resize, exit }) => {
            let produced = async {
                relay_output(produced, output.as_mut(), wanted).await?;
                Ok::<_, io::Error>(match exit.await {
                    Ok(Ok(exit_code)) => status::ended(&verb, exit_code),
                    Ok(Err(error)) => status::failed(&verb, &error.to_string()),
                    Err(_) => status::failed(&verb, "the runtime has gone"),
                })
            };
            tokio::select! {
                status = produced => status?,
                () = relay_input(&mut input, stdin, resize, wanted) => return Ok(()),
                () = &mut gone => return Ok(()),
            }
        }
    };
    finish(input, output, &status).await
}

async fn finish(
    mut input: BoxStream<'static, FromClient>,
    mut output: Box<dyn ToClient>,
    status: &Status,
) -> io::Result<()> {
    output.finish(status).await?;
    let goodbye = async { while !matches!(input.next().await, None | Some(FromClient::Gone)) {} };
    // Either way it is over.
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, goodbye).await;
    Ok(())
}

async fn relay_output(
    mut produced: mpsc::Receiver<Output>,
    client: &mut dyn ToClient,
    wanted: Wanted,
) -> io::Result<()> {
    while let Some(piece) = produced.recv().await {
        let is_wanted = match &piece {
            Output::Stdout(_) => wanted.stdout,
            Output::Stderr(_) => wanted.stderr,
        };
        if is_wanted {
            client.output(piece).await?;
        }
    }
    Ok(())
}

/// Returns only when the client has gone.
async fn relay_input(
    input: &mut BoxStream<'static, FromClient>,
    stdin: Option<mpsc::Sender<Bytes>>,
    resize: watch::Sender<TerminalSize>,
    wanted: Wanted,
) {
    // Kept when it is not wanted: dropping it is end of file, and the container's
    // guest may have other clients.
    let (mut stdin, _unused) = if wanted.stdin { (stdin, None) } else { (None, stdin) };
    while let Some(said) = input.next().await {
        match said {
            FromClient::Stdin(bytes) => {
                if let Some(sender) = &stdin
                    && sender.send(bytes).await.is_err()
                {
                    stdin = None; // the command reads no more
                }
            }
            FromClient::StdinEnd => stdin = None,
            FromClient::Resize(size) => {
                resize.send_replace(size);
            }
            FromClient::Gone => return,
        }
    }
    std::future::pending().await
}
