//! `wk node`: the power switches of the local server's nodes. Asks its control
//! socket.

use crate::{
    args::{Global, Node},
    client,
    compose::power::State,
    control::client::Control,
    output,
};
use anyhow::Result;
use std::{io::Write, process::ExitCode};

pub(super) async fn run(global: &Global, command: Node) -> Result<ExitCode> {
    let control = Control::new(&client::data_dir(global)?);
    let (names, state, done) = match command {
        Node::Stop { names } => (names, State::Off, "stopped"),
        Node::Start { names } => (names, State::On, "started"),
    };
    let mut out = output::stdout();
    for name in names {
        control.turn_node(&name, state).await?;
        writeln!(out, "node/{name} {done}")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
