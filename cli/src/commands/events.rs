//! `wk events`: what happened, oldest first (upstream: `kubectl/pkg/cmd/events`).

use super::{
    Context,
    describe::{age, first_seen, last_seen},
};
use crate::{
    args::Events,
    output::{self, Format, Objects, table::Table},
    resources::{self, query},
    rest::{ApiError, JSON},
};
use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::Value;
use std::io::Write;

pub(super) async fn run(context: &Context, args: &Events) -> Result<()> {
    let discovery = context.discovery().await?;
    let resource = discovery.find("events")?;
    let fields = match &args.about {
        None => String::new(),
        Some(about) => {
            let target = resources::targets(&discovery, std::slice::from_ref(about))?.pop();
            let target =
                target.filter(|target| target.names.len() == 1).context("--for must be in resource/name form")?;
            format!("involvedObject.kind={},involvedObject.name={}", target.resource.kind, target.names[0])
        }
    };
    let collection = resource.collection((!args.all_namespaces).then_some(context.namespace()));
    let selection = query(&[("fieldSelector", &fields)]);
    let list = context.rest.get(&format!("{collection}{selection}")).await?;
    let mut events = list["items"].as_array().cloned().unwrap_or_default();
    events.retain(|event| is_wanted(args, event));
    events.sort_by_key(last_seen);
    if let Some(format) = &args.output {
        let events = super::with_type(resource, events);
        let items = events.into_iter().map(|event| (resource.clone(), event)).collect();
        return Objects { items, ..Objects::default() }.print(&Format::parse(Some(format))?, true);
    }
    if events.is_empty() && !args.watch {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", context.namespace()) };
        return Ok(writeln!(std::io::stderr(), "No events found{place}.")?);
    }
    let mut printer = Printer { table: Table::default(), headings: !args.no_headers, args };
    printer.print(&events, context.now())?;
    if !args.watch {
        return Ok(());
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let parameters = query(&[("fieldSelector", &fields), ("resourceVersion", version), ("watch", "true")]);
    let mut watch = context.rest.watch(&format!("{collection}{parameters}"), JSON).await?;
    while let Some(event) = watch.next().await? {
        match event["type"].as_str() {
            Some("ERROR") => return Err(ApiError { status: event["object"].clone() }.into()),
            Some("ADDED" | "MODIFIED") if is_wanted(args, &event["object"]) => {
                printer.print(std::slice::from_ref(&event["object"]), context.now())?;
            }
            _ => {}
        }
    }
    bail!("the server ended the watch")
}

fn is_wanted(args: &Events, event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    args.types.is_empty() || args.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
}

struct Printer<'a> {
    table: Table,
    headings: bool,
    args: &'a Events,
}

impl Printer<'_> {
    fn print(&mut self, events: &[Value], now: Timestamp) -> Result<()> {
        let mut rows = Vec::new();
        if std::mem::take(&mut self.headings) {
            let headings = ["NAMESPACE", "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned);
            rows.push(headings[usize::from(!self.args.all_namespaces)..].to_vec());
        }
        rows.extend(events.iter().map(|event| row(event, self.args.all_namespaces, now)));
        let mut out = output::stdout();
        write!(out, "{}", self.table.layout(&rows))?;
        Ok(out.flush()?)
    }
}

fn row(event: &Value, namespace: bool, now: Timestamp) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let count = event["series"]["count"].as_i64().or_else(|| event["count"].as_i64()).unwrap_or(1);
    let last = age(last_seen(event), now);
    let seen = if count > 1 { format!("{last} (x{count} over {})", age(first_seen(event), now)) } else { last };
    let about = &event["involvedObject"];
    let object = format!("{}/{}", text(&about["kind"]), text(&about["name"]));
    let message = text(&event["message"]).trim().to_owned();
    let mut row = vec![seen, text(&event["type"]), text(&event["reason"]), object, message];
    if namespace {
        row.insert(0, text(&event["metadata"]["namespace"]));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_row() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("valid");
        let event = json!({"metadata": {"namespace": "n"}, "type": "Normal", "reason": "Pulled", "count": 2, "message": "m\n",
            "involvedObject": {"kind": "Pod", "name": "web"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:55Z"});
        assert_eq!(row(&event, true, now), ["n", "5s (x2 over 60s)", "Normal", "Pulled", "Pod/web", "m"]);
    }
}
