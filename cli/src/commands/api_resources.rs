//! `wk api-resources`, `wk api-versions`: which kinds the server knows.

use super::Context;
use crate::{
    args::ApiResources,
    output::{self, table::Table},
    resources::ResourceType,
};
use anyhow::{Result, bail};
use std::{collections::BTreeSet, io::Write};

pub(super) async fn run(context: &Context, args: &ApiResources) -> Result<()> {
    let mut resources = context.discovery().await?.resources.clone();
    resources.retain(|resource| {
        args.namespaced.is_none_or(|namespaced| namespaced == resource.namespaced)
            && args.api_group.as_ref().is_none_or(|group| *group == resource.group)
            && args.verbs.iter().all(|verb| resource.verbs.contains(verb))
            && args.categories.iter().all(|category| resource.categories.contains(category))
    });
    resources.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
    match args.sort_by.as_deref() {
        None => {}
        Some("name") => resources.sort_by(|a, b| a.plural.cmp(&b.plural)),
        Some("kind") => resources.sort_by(|a, b| a.kind.cmp(&b.kind)),
        Some(_) => bail!("--sort-by accepts only name or kind"),
    }
    let wide = match args.output.as_deref() {
        None => false,
        Some("wide") => true,
        Some("name") => return resources.iter().try_for_each(|resource| output::line(resource.qualified())),
        Some(other) => bail!("--output {other} is not available"),
    };
    let mut rows = Vec::new();
    if !args.no_headers {
        let mut headings = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_owned).to_vec();
        headings.extend(wide.then(|| ["VERBS", "CATEGORIES"].map(str::to_owned)).into_iter().flatten());
        rows.push(headings);
    }
    rows.extend(resources.into_iter().map(|resource| row(resource, wide)));
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}

fn row(resource: ResourceType, wide: bool) -> Vec<String> {
    let (version, shorts) = (resource.api_version(), resource.short_names.join(","));
    let mut row = vec![resource.plural, shorts, version, resource.namespaced.to_string(), resource.kind];
    if wide {
        row.extend([resource.verbs.join(","), resource.categories.join(",")]);
    }
    row
}

pub(super) async fn versions(context: &Context) -> Result<()> {
    let discovery = context.discovery().await?;
    let versions: BTreeSet<String> = discovery.resources.iter().map(ResourceType::api_version).collect();
    versions.iter().try_for_each(output::line)
}
