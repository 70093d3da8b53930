//! `wk explain`: what the fields of a kind mean, from the server's OpenAPI v3
//! documents (upstream: `kubectl/pkg/cmd/explain`, `kubectl/pkg/explain/v2`).

mod page;
mod schema;
mod wrap;

use super::Context;
use crate::{
    args::Explain,
    output,
    resources::{Discovery, ResourceType},
    rest::{Bare, Rest},
};
use anyhow::{Context as _, Result, bail};
use schema::Document;
use std::io::Write;

pub(super) async fn run(context: &Context, args: &Explain) -> Result<()> {
    let word = match args.target.as_slice() {
        [word] => word,
        [] => bail!(
            "You must specify the type of resource to explain. Use \"wk api-resources\" for a complete list of supported resources."
        ),
        _ => bail!("We accept only this format: explain RESOURCE"),
    };
    if args.output != "plaintext" {
        bail!("unrecognized format: {}", args.output);
    }
    let discovery = context.discovery().await?;
    let (resource, path) = asked(&discovery, word).map_err(|error| Bare(error.to_string()))?;
    let mut version = resource.clone();
    if let Some(api_version) = &args.api_version {
        let (group, name) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        (version.group, version.version) = (group.to_owned(), name.to_owned());
    }
    let document = document(&context.rest, &version).await?;
    let page = page::render(&document, &version, &path, args.recursive)?;
    write!(output::stdout(), "{}", page.heading)?;
    writeln!(output::stdout(), "{}", page.body?)?;
    Ok(())
}

/// `deployments.spec.replicas` is a type and a path; so is
/// `deployments.apps.spec.replicas`, where `apps` is the group.
fn asked<'a>(discovery: &'a Discovery, word: &str) -> Result<(&'a ResourceType, Vec<String>)> {
    let word = word.strip_suffix('.').unwrap_or(word);
    let (name, rest) = word.split_once('.').unwrap_or((word, ""));
    let fields = |path: &str| path.split('.').filter(|_| !path.is_empty()).map(str::to_owned).collect();
    for resource in discovery.called(name).filter(|resource| !resource.group.is_empty()) {
        let after_group = rest.strip_prefix(&resource.group);
        if let Some(path) = after_group.filter(|path| path.is_empty() || path.starts_with('.')) {
            return Ok((resource, fields(path.trim_start_matches('.'))));
        }
    }
    Ok((discovery.find(name)?, fields(rest)))
}

/// The document of a resource's group and version.
async fn document(rest: &Rest, resource: &ResourceType) -> Result<Document> {
    let index = rest.get("/openapi/v3").await.context("failed to fetch list of groupVersions")?;
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let entry = &index["paths"][format!("{root}/{}", resource.api_version())]["serverRelativeURL"];
    let Some(path) = entry.as_str() else { bail!("couldn't find resource for \"{}\"", schema::title(resource)) };
    Ok(Document::new(rest.get(path).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_may_stand_between_type_and_fields() {
        let resource = |plural: &str| json!({"resource": plural, "singularResource": "", "responseKind": {"kind": ""}});
        let group = |name: &str, plural: &str| json!({"metadata": {"name": name}, "versions": [{"version": "v1", "resources": [resource(plural)]}]});
        let groups =
            json!({"items": [group("", "events"), group("events.k8s.io", "events"), group("apps", "deployments")]});
        let discovery = Discovery::parse(&[groups]);
        let read = |word: &str| {
            let (resource, path) = asked(&discovery, word).expect(word);
            (resource.group.clone(), path.join("/"))
        };
        let pair = |group: &str, path: &str| (group.to_owned(), path.to_owned());
        assert_eq!(read("events.reason"), pair("", "reason"));
        assert_eq!(read("events.events.k8s.io.reason"), pair("events.k8s.io", "reason"));
        assert_eq!(read("deployments.apps"), pair("apps", ""));
        assert_eq!(read("deployments.spec.replicas."), pair("apps", "spec/replicas"));
        assert!(asked(&discovery, "widgets.spec").is_err());
    }
}
