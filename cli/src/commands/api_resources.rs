//! `wk api-resources`: which kinds the server knows.

use super::Context;
use crate::output::{self, table::Table};
use anyhow::Result;
use std::io::Write;

pub(super) async fn run(context: &Context) -> Result<()> {
    let mut rows = vec![["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_owned).to_vec()];
    for resource in context.discovery().await?.resources {
        let (version, shorts) = (resource.api_version(), resource.short_names.join(","));
        rows.push(vec![resource.plural, shorts, version, resource.namespaced.to_string(), resource.kind]);
    }
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}
