//! `wk get`: the server's tables, or objects in another format; `-w` follows.

mod order;

use super::{Context, Selection, apply, name_of, with_type};
use crate::{
    args::Get,
    manifest,
    output::{
        self, Format, Objects,
        table::{self, Table, View},
    },
    resources::{self, Discovery, Target, query},
    rest::{self, ApiError, TABLE},
};
use anyhow::{Context as _, Result, bail};
use http::Method;
use http_body_util::BodyExt;
use order::Order;
use serde_json::{Value, json};
use std::io::Write;

pub(super) async fn run(context: &Context, args: &Get) -> Result<()> {
    if let Some(path) = &args.raw {
        return raw(context, args, path).await;
    }
    check(args)?;
    let format = Format::with_template(args.output.as_deref(), args.template.as_deref())?;
    let discovery = context.discovery().await?;
    let targets = targets(context, &discovery, args).await?;
    let is_selected = args.selector.is_some() || args.field_selector.is_some();
    if is_selected && args.files.is_empty() && targets.iter().any(|target| !target.names.is_empty()) {
        bail!("name cannot be provided when a selector is specified");
    }
    if args.watch || args.watch_only {
        let [target] = targets.as_slice() else { bail!("you may only specify a single resource type") };
        return watch(context, args, target, &format).await;
    }
    match format {
        Format::Table { wide } => print_tables(context, args, &targets, wide).await,
        format => print_objects(context, args, &targets, &format).await,
    }
}

/// `--raw`: the answer as it comes.
async fn raw(context: &Context, args: &Get, path: &str) -> Result<()> {
    if !args.target.is_empty() || !args.files.is_empty() {
        bail!("arguments may not be passed when --raw is specified");
    }
    let mut body = context.rest.stream(Method::GET, path, "*/*", None).await?.into_body();
    while let Some(frame) = body.frame().await {
        let data = frame.context("the answer broke off")?.into_data().unwrap_or_default();
        output::stdout().write_all(&data)?;
    }
    Ok(output::stdout().flush()?)
}

fn check(args: &Get) -> Result<()> {
    if args.target.is_empty() && args.files.is_empty() {
        bail!(NOTHING_NAMED);
    }
    if args.output_watch_events && !args.watch && !args.watch_only {
        bail!("--output-watch-events option can only be used with --watch or --watch-only");
    }
    Ok(())
}

/// What kubectl says to who names no type.
pub(super) const NOTHING_NAMED: &str = "You must specify the type of resource to get. Use \"wk api-resources\" for a complete list of supported resources.";

async fn targets(context: &Context, discovery: &Discovery, args: &Get) -> Result<Vec<Target>> {
    if args.files.is_empty() {
        return resources::targets(discovery, &args.target);
    }
    let mut targets = Vec::new();
    for manifest in manifest::read(&args.files).await? {
        let resource = apply::resource_of(discovery, &manifest)?.clone();
        context.namespace_of(&resource, manifest.namespace())?;
        let name = manifest.name().to_owned();
        match targets.last_mut().filter(|last: &&mut Target| last.resource == resource) {
            Some(last) => last.names.push(name),
            None => targets.push(Target { resource, names: vec![name] }),
        }
    }
    Ok(targets)
}

fn view(args: &Get) -> View<'_> {
    View {
        wide: false,
        namespace: args.all_namespaces,
        labels: args.show_labels,
        kind_prefix: args.show_kind,
        label_columns: &args.label_columns,
    }
}

fn selection(args: &Get) -> Selection<'_> {
    Selection {
        labels: args.selector.as_deref().unwrap_or_default(),
        fields: args.field_selector.as_deref().unwrap_or_default(),
        all_namespaces: args.all_namespaces,
    }
}

async fn print_objects(context: &Context, args: &Get, targets: &[Target], format: &Format) -> Result<()> {
    let order = args.sort_by.as_deref().map(Order::parse).transpose()?;
    let mut items = Vec::new();
    let mut failures = Vec::new();
    for target in targets.iter().flat_map(one_by_one) {
        match context.objects(&target, &selection(args)).await {
            Ok(objects) => items.extend(objects.into_iter().map(|object| (target.resource.clone(), object))),
            Err(error) if args.ignore_not_found && is_missing(&error) => {}
            Err(error) => failures.push(error),
        }
    }
    let single = matches!(targets, [target] if target.names.len() == 1);
    if failures.is_empty() || !items.is_empty() {
        if let Some(order) = &order {
            items.sort_by(|(_, a), (_, b)| order.compare(a, b));
        }
        Objects { items, single, managed_fields: args.show_managed_fields }.print(format, !args.no_headers)?;
    }
    apply::first_failure(failures)
}

/// A target per name, so that one that is missing does not hide the others.
fn one_by_one(target: &Target) -> Vec<Target> {
    if target.names.is_empty() {
        return vec![target.clone()];
    }
    let one = |name: &String| Target { resource: target.resource.clone(), names: vec![name.clone()] };
    target.names.iter().map(one).collect()
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ApiError>().is_some_and(|api| api.reason() == "NotFound")
}

async fn print_tables(context: &Context, args: &Get, targets: &[Target], wide: bool) -> Result<()> {
    let several = targets.len() > 1;
    let view = View { wide, kind_prefix: several || args.show_kind, ..view(args) };
    let mut failures = Vec::new();
    let mut printed = 0;
    for target in targets {
        let tables = match tables_of(context, args, target).await {
            // What was found is shown; what was not is said after it.
            Ok((tables, missing)) => {
                failures.extend(missing);
                tables
            }
            Err(error) if args.ignore_not_found && is_missing(&error) => continue,
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        let view = View { namespace: view.namespace && target.resource.namespaced, ..view };
        let text = layout(&tables, target, view, !args.no_headers);
        if !text.is_empty() {
            let separator = if several && printed > 0 { "\n" } else { "" };
            write!(output::stdout(), "{separator}{text}")?;
            printed += 1;
        }
    }
    if printed == 0 && failures.is_empty() && !args.ignore_not_found {
        say_nothing_found(context, args, targets)?;
    }
    apply::first_failure(failures)
}

/// One table per request: the pages of a list, or one per name.
async fn tables_of(context: &Context, args: &Get, target: &Target) -> Result<(Vec<Value>, Vec<anyhow::Error>)> {
    if !target.names.is_empty() {
        let mut tables = Vec::new();
        let mut failures = Vec::new();
        for name in &target.names {
            let part = args.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
            let path = format!("{}{part}", target.resource.object(context.namespace(), name));
            match context.rest.send(Method::GET, &path, TABLE, None).await {
                Ok(answer) => tables.push(answer.body),
                Err(error) if args.ignore_not_found && is_missing(&error) => {}
                Err(error) => failures.push(error),
            }
        }
        return Ok((tables, failures));
    }
    Ok((list_tables(context, args, target).await?, Vec::new()))
}

async fn list_tables(context: &Context, args: &Get, target: &Target) -> Result<Vec<Value>> {
    let selection = selection(args);
    let collection = context.collection(&target.resource, &selection);
    let order = args.sort_by.as_deref().map(Order::parse).transpose()?;
    let chunk = args.chunk_size.to_string();
    let mut tables = Vec::new();
    let mut token = String::new();
    loop {
        let parameters = query(&[
            // Pages cannot be sorted one by one, and sorting needs the whole objects.
            ("limit", if order.is_some() || args.chunk_size == 0 { "" } else { &chunk }),
            ("includeObject", if order.is_some() { "Object" } else { "" }),
            ("labelSelector", selection.labels),
            ("fieldSelector", selection.fields),
            ("continue", &token),
        ]);
        let mut table = context.rest.send(Method::GET, &format!("{collection}{parameters}"), TABLE, None).await?.body;
        if let (Some(order), Some(rows)) = (&order, table["rows"].as_array_mut()) {
            rows.sort_by(|a, b| order.compare(&a["object"], &b["object"]));
        }
        token = table["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        tables.push(table);
        if token.is_empty() {
            return Ok(tables);
        }
    }
}

fn layout(tables: &[Value], target: &Target, view: View<'_>, headers: bool) -> String {
    let prefix = if view.kind_prefix { target.resource.display("") } else { String::new() };
    let mut rows: Vec<Vec<String>> = tables.iter().flat_map(|table| table::rows(table, view, &prefix)).collect();
    if rows.is_empty() {
        return String::new();
    }
    if let Some(table) = tables.first().filter(|_| headers) {
        rows.insert(0, table::headings(table, view));
    }
    Table::default().layout(&rows)
}

fn say_nothing_found(context: &Context, args: &Get, targets: &[Target]) -> Result<()> {
    let namespaced = targets.iter().all(|target| target.resource.namespaced);
    if args.all_namespaces || !namespaced {
        writeln!(std::io::stderr(), "No resources found")?;
    } else {
        writeln!(std::io::stderr(), "No resources found in {} namespace.", context.namespace())?;
    }
    Ok(())
}

/// Lists, then prints each change until interrupted or the server ends it.
async fn watch(context: &Context, args: &Get, target: &Target, format: &Format) -> Result<()> {
    let selection = selection(args);
    let collection = context.collection(&target.resource, &selection);
    let fields = match target.names.as_slice() {
        [] => selection.fields.to_owned(),
        [name] => format!("metadata.name={name}"),
        _ => bail!("you may only specify a single name with --watch"),
    };
    let accept = if matches!(format, Format::Table { .. }) { TABLE } else { rest::JSON };
    let wide = matches!(format, Format::Table { wide: true });
    let view = View { wide, ..view(args) };
    let mut printer = WatchPrinter {
        format,
        view,
        table: Table::default(),
        columns: Value::Null,
        headers: !args.no_headers,
        events: args.output_watch_events,
        target,
    };
    let selectors = [("labelSelector", selection.labels), ("fieldSelector", fields.as_str())];
    let list = context.rest.send(Method::GET, &format!("{collection}{}", query(&selectors)), accept, None).await?.body;
    if !args.watch_only {
        printer.list(&list)?;
    }
    let mut version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    loop {
        let parameters = query(&[
            selectors[0],
            selectors[1],
            ("resourceVersion", &version),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
        ]);
        let mut events = context.rest.watch(&format!("{collection}{parameters}"), accept).await?;
        while let Some(event) = events.next().await? {
            if event["type"] == "ERROR" {
                return Err(ApiError { status: event["object"].clone() }.into());
            }
            if let Some(newer) = version_of(&event["object"]) {
                version = newer;
            }
            if event["type"] != "BOOKMARK" {
                printer.event(event["type"].as_str().unwrap_or_default(), &event["object"])?;
            }
        }
    }
}

fn version_of(object: &Value) -> Option<String> {
    let own = object["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty());
    let of_row = object["rows"][0]["object"]["metadata"]["resourceVersion"].as_str();
    own.or(of_row).map(str::to_owned)
}

struct WatchPrinter<'a> {
    format: &'a Format,
    view: View<'a>,
    table: Table,
    columns: Value,
    headers: bool,
    /// Whether the first column says what happened.
    events: bool,
    target: &'a Target,
}

impl WatchPrinter<'_> {
    fn list(&mut self, list: &Value) -> Result<()> {
        if matches!(self.format, Format::Table { .. }) {
            return self.rows("ADDED", list);
        }
        let items = list["items"].as_array().cloned().unwrap_or_default();
        with_type(&self.target.resource, items).iter().try_for_each(|object| self.event("ADDED", object))
    }

    fn event(&mut self, kind: &str, object: &Value) -> Result<()> {
        if matches!(self.format, Format::Table { .. }) {
            return self.rows(kind, object);
        }
        if *self.format == Format::Name {
            return output::line(self.target.resource.display(name_of(object)));
        }
        let object = if self.events { json!({"object": object, "type": kind}) } else { object.clone() };
        let items = vec![(self.target.resource.clone(), object)];
        Objects { items, single: true, managed_fields: false }.print(self.format, self.headers)
    }

    fn rows(&mut self, kind: &str, table: &Value) -> Result<()> {
        let mut table = table.clone();
        table::remember_columns(&mut self.columns, &mut table);
        let prefix = if self.view.kind_prefix { self.target.resource.display("") } else { String::new() };
        let mut rows = table::rows(&table, self.view, &prefix);
        if rows.is_empty() {
            return Ok(());
        }
        let mut kinds = vec![kind.to_owned(); rows.len()];
        if std::mem::take(&mut self.headers) {
            rows.insert(0, table::headings(&table, self.view));
            kinds.insert(0, "EVENT".to_owned());
        }
        if self.events {
            rows.iter_mut().zip(kinds).for_each(|(row, kind)| row.insert(0, kind));
        }
        let mut out = output::stdout();
        write!(out, "{}", self.table.layout(&rows))?;
        Ok(out.flush()?)
    }
}
