//! `wk server`.

use crate::args::{Global, Server};
use anyhow::Result;
use std::process::ExitCode;

pub(super) fn run(_global: &Global, _server: Server) -> Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
