//! `wk describe`: one object in full, with what happened to it.
//!
//! The layout is kubectl's (`kubectl/pkg/describe/describe.go`): a label, two
//! spaces of padding, a value; nested parts indented by two.

mod events;
mod node;
mod page;
mod pod;
mod service;
mod workload;

pub(super) use events::{age, first_seen, last_seen};
pub(super) use page::{pairs, text};
pub(super) use pod::{tolerations, value_of};

use super::{Context, Selection, name_of};
use crate::{args::Describe, output, resources};
use anyhow::Result;
use page::Page;
use serde_json::Value;
use std::io::Write;

pub(super) async fn run(context: &Context, args: &Describe) -> Result<()> {
    let discovery = context.discovery().await?;
    let selection = Selection {
        labels: args.selector.as_deref().unwrap_or_default(),
        fields: "",
        all_namespaces: args.all_namespaces,
    };
    let mut first = true;
    for target in resources::targets(&discovery, &args.target)? {
        for object in context.objects(&target, &selection).await? {
            let separator = if std::mem::take(&mut first) { "" } else { "\n\n" };
            let text = describe(context, &target.resource.kind, &object).await?;
            write!(output::stdout(), "{separator}{text}")?;
        }
    }
    if first {
        writeln!(std::io::stderr(), "No resources found in {} namespace.", context.namespace())?;
    }
    Ok(())
}

async fn describe(context: &Context, kind: &str, object: &Value) -> Result<String> {
    let mut page = Page::default();
    match kind {
        "Pod" => pod::describe(&mut page, object),
        "Deployment" => {
            let sets = workload::replica_sets(context, object).await?;
            workload::describe_deployment(&mut page, object, &sets);
        }
        "ReplicaSet" => workload::describe_replica_set(&mut page, object),
        "Node" => {
            let pods = node::pods_on(context, name_of(object)).await?;
            let lease = node::lease(context, name_of(object)).await?;
            node::describe(&mut page, object, &pods, lease.as_ref());
        }
        "Service" => {
            let slices = service::slices(context, object).await?;
            service::describe(&mut page, object, &slices);
        }
        _ => page::describe_any(&mut page, object),
    }
    let events = events::of(context, object).await?;
    events::describe(&mut page, &events, context.now());
    Ok(page.finish())
}
