//! `wk version`: of the client and of the server.

use super::Context;
use crate::output;
use anyhow::Result;

pub(super) async fn run(context: &Context) -> Result<()> {
    output::line(format_args!("Client Version: v{}", env!("CARGO_PKG_VERSION")))?;
    let server = context.rest.get("/version").await?;
    output::line(format_args!("Server Version: {}", server["gitVersion"].as_str().unwrap_or("unknown")))
}
