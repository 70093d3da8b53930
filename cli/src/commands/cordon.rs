//! `wk cordon`, `wk uncordon`: whether new pods may come to a node (upstream:
//! `kubectl/pkg/drain/cordon.go`).

use super::{
    Context, apply, dry_run_suffix,
    report::STRATEGIC_PATCH,
    select::{self, Found, Selected, Unnamed},
};
use crate::{
    args::{Choice, Cordon, DryRun},
    output,
    resources::query,
};
use anyhow::{Result, bail};
use serde_json::json;

/// What a node is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Cordoned,
    Uncordoned,
}

impl Wanted {
    fn word(self) -> &'static str {
        match self {
            Self::Cordoned => "cordoned",
            Self::Uncordoned => "uncordoned",
        }
    }
}

/// The nodes that a command names.
pub(super) async fn nodes(context: &Context, args: &Cordon) -> Result<Selected> {
    if args.nodes.is_empty() && args.selector.is_none() {
        bail!("a node's name or --selector is required");
    }
    if !args.nodes.is_empty() && args.selector.is_some() {
        bail!("error: cannot specify both a node name and a --selector option");
    }
    let bare = |word: &String| word.rsplit('/').next().unwrap_or(word).to_owned();
    let target: Vec<String> = std::iter::once("nodes".to_owned()).chain(args.nodes.iter().map(bare)).collect();
    let choice = Choice { selector: args.selector.clone(), ..Choice::default() };
    select::select(context, &target, &choice, Unnamed::Refused).await
}

pub(super) async fn run(context: &Context, args: &Cordon, wanted: Wanted) -> Result<()> {
    let selected = nodes(context, args).await?;
    let mut failures = selected.failures;
    for node in &selected.found {
        failures.extend(set(context, args.dry_run, node, wanted).await.err());
    }
    apply::first_failure(failures)
}

/// Makes one node so and says it.
pub(super) async fn set(context: &Context, dry_run: DryRun, node: &Found, wanted: Wanted) -> Result<()> {
    let (display, word, suffix) = (node.resource.display(node.name()), wanted.word(), dry_run_suffix(dry_run));
    let is_cordoned = node.object["spec"]["unschedulable"] == true;
    if is_cordoned == (wanted == Wanted::Cordoned) {
        return output::line(format_args!("{display} already {word}{suffix}"));
    }
    if dry_run != DryRun::Client {
        let parameters = query(&[("dryRun", if dry_run == DryRun::Server { "All" } else { "" })]);
        let value = if wanted == Wanted::Cordoned { json!(true) } else { json!(null) };
        let patch = json!({"spec": {"unschedulable": value}});
        context.rest.patch(&format!("{}{parameters}", node.path()), STRATEGIC_PATCH, &patch).await?;
    }
    output::line(format_args!("{display} {word}{suffix}"))
}
