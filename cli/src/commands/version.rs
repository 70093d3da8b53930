//! `wk version`: of the client and of the server.

use super::Context;
use crate::{
    args::Version,
    output::{self, json_text, yaml},
};
use anyhow::{Result, bail};
use serde_json::json;

pub(super) async fn run(context: &Context, args: &Version) -> Result<()> {
    let client = format!("v{}", env!("CARGO_PKG_VERSION"));
    let server = if args.client { None } else { Some(context.rest.get("/version").await?) };
    match args.output.as_deref() {
        None => {
            output::line(format_args!("Client Version: {client}"))?;
            let Some(server) = server else { return Ok(()) };
            output::line(format_args!("Server Version: {}", server["gitVersion"].as_str().unwrap_or("unknown")))
        }
        Some(format) => {
            let mut document = json!({"clientVersion": {"gitVersion": client}});
            if let Some(server) = server {
                document["serverVersion"] = server;
            }
            match format {
                "json" => output::line(json_text(&document)?),
                "yaml" => output::line(yaml::to_string(&document).trim_end()),
                _ => bail!("--output must be 'yaml' or 'json'"),
            }
        }
    }
}
