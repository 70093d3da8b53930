//! One file per command. Each takes what was typed and a cluster, and prints.

mod annotate;
mod api_resources;
mod apply;
mod attach;
mod auth;
mod autoscale;
mod cluster_info;
mod config;
mod cordon;
mod cp;
mod create;
mod ctr;
mod debug;
mod delete;
mod describe;
mod diff;
mod down;
mod drain;
mod edit;
mod events;
mod exec;
mod explain;
mod expose;
mod get;
mod image;
pub(crate) use image::IMAGES_DIRECTORY;
mod label;
mod logs;
mod node;
mod patch;
mod plugin;
mod pod_choice;
mod pods_behind;
mod port_forward;
mod proxy;
mod remote;
mod replace;
mod report;
mod rollout;
mod run;
mod scale;
mod select;
mod server;
mod set;
mod snapshot;
mod status;
mod taint;
mod terminal;
mod top;
mod up;
mod version;
mod wait;

use crate::{
    args::{Args, ClientCommand, Command, DryRun},
    client::{self, Cluster},
    resources::{Discovery, ResourceType, Target},
    rest::{Manner, Rest},
};
use anyhow::{Context as _, Result, bail};
use clap::CommandFactory;
use serde_json::Value;
use std::{io::Write, path::Path, process::ExitCode, time::Duration};

/// Runs the command.
///
/// # Errors
/// Whatever the command could not do; `main` prints it.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Server(server) => server::run(&args.global, server),
        Command::Up(up) => client_runtime()?.block_on(up::run(&args.global, up)),
        Command::Down(down) => down::run(&args.global, &down),
        Command::Status(status) => client_runtime()?.block_on(status::run(&args.global, &status)),
        Command::Ctr(ctr) => client_runtime()?.block_on(ctr::run(&args.global, ctr)),
        Command::Node(node) => client_runtime()?.block_on(node::run(&args.global, node)),
        Command::Snapshot(snapshot) => client_runtime()?.block_on(snapshot::run(&args.global, snapshot)),
        Command::Config(config) => config::run(&args.global, config),
        Command::Image(image) => image::run(&args.global, image),
        Command::Compile { kind, code } => Ok(compile(&kind, &code)),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "wk", &mut crate::output::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Plugin(plugin) => plugin::run(&plugin).map(|()| ExitCode::SUCCESS),
        Command::Options => options().map(|()| ExitCode::SUCCESS),
        Command::Kustomize { directories } => {
            let directory = directories.first().map_or("DIR", String::as_str);
            bail!("kustomizations are not built in: `kustomize build {directory}` prints one, `wk apply -f -` takes it")
        }
        Command::Client(command) => client_runtime()?.block_on(async {
            let mut global = args.global;
            if command.has_own_user() {
                global.user = None;
            }
            let context = Context::connect(&global).await?;
            let code = run_client(&context, *command).await?;
            match context.rest.warnings() {
                0 => Ok(code),
                _ if !global.warnings_as_errors => Ok(code),
                1 => bail!("1 warning received"),
                count => bail!("{count} warnings received"),
            }
        }),
    }
}

/// What the server reads when it runs this.
fn compile(kind: &str, code: &Path) -> ExitCode {
    let compiled = wk_engine::compiler::compile(kind, code);
    compiled.map_or_else(
        |failure| {
            let _ = writeln!(std::io::stderr(), "{failure}"); // nobody listens: the code says enough
            ExitCode::from(failure.exit_code())
        },
        |()| ExitCode::SUCCESS,
    )
}

/// The flags of every command, in the words of their help.
fn options() -> Result<()> {
    use std::io::Write;
    let args = Args::command();
    let mut list = clap::Command::new("wk")
        .help_template("{all-args}\n")
        .disable_help_flag(true)
        .args(args.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.clone().hide_short_help(false)));
    let mut out = crate::output::stdout();
    writeln!(out, "The following options can be passed to any command:\n")?;
    Ok(write!(out, "{}", list.render_long_help())?)
}

/// One thread: a client command is over before a second one would have started.
fn client_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the async runtime")
}

/// The commands whose exit code says more than done or failed, then the others.
async fn run_client(context: &Context, command: ClientCommand) -> Result<ExitCode> {
    match command {
        ClientCommand::Auth(args) => auth::run(context, &args).await,
        ClientCommand::Diff(args) => Ok(diff::run(context, &args).await),
        ClientCommand::Exec(args) => exec::run(context, &args).await,
        ClientCommand::Attach(args) => attach::run(context, &args).await,
        ClientCommand::Debug(args) => debug::run(context, &args).await,
        ClientCommand::Run(args) => run::run(context, &args).await,
        command => run_plain(context, command).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn run_plain(context: &Context, command: ClientCommand) -> Result<()> {
    match command {
        ClientCommand::Apply(args) => apply::run(context, &args).await,
        ClientCommand::Get(args) => get::run(context, &args).await,
        ClientCommand::Describe(args) => describe::run(context, &args).await,
        ClientCommand::Create(args) => create::run(context, &args).await,
        ClientCommand::Expose(args) => expose::run(context, &args).await,
        ClientCommand::Delete(args) => delete::run(context, &args).await,
        ClientCommand::Label(args) => label::run(context, &args).await,
        ClientCommand::Annotate(args) => annotate::run(context, &args).await,
        ClientCommand::Patch(args) => patch::run(context, &args).await,
        ClientCommand::Edit(args) => edit::run(context, &args).await,
        ClientCommand::Replace(args) => replace::run(context, &args).await,
        ClientCommand::Set(args) => set::run(context, &args).await,
        ClientCommand::Rollout(args) => rollout::run(context, &args).await,
        ClientCommand::Scale(args) => scale::run(context, &args).await,
        ClientCommand::Wait(args) => wait::run(context, &args).await,
        ClientCommand::Logs(args) => logs::run(context, &args).await,
        ClientCommand::Cp(args) => cp::run(context, &args).await,
        ClientCommand::PortForward(args) => port_forward::run(context, &args).await,
        ClientCommand::Cordon(args) => cordon::run(context, &args, cordon::Wanted::Cordoned).await,
        ClientCommand::Uncordon(args) => cordon::run(context, &args, cordon::Wanted::Uncordoned).await,
        ClientCommand::Drain(args) => drain::run(context, &args).await,
        ClientCommand::Taint(args) => taint::run(context, &args).await,
        ClientCommand::Events(args) => events::run(context, &args).await,
        ClientCommand::Explain(args) => explain::run(context, &args).await,
        ClientCommand::ClusterInfo(args) => cluster_info::run(context, &args).await,
        ClientCommand::Top(args) => top::run(context, &args).await,
        ClientCommand::Proxy(args) => proxy::run(context, &args).await,
        ClientCommand::Autoscale(args) => autoscale::run(context, &args).await,
        ClientCommand::ApiResources(args) => api_resources::run(context, &args).await,
        ClientCommand::ApiVersions => api_resources::versions(context).await,
        ClientCommand::Version(args) => version::run(context, &args).await,
        ClientCommand::Auth(_)
        | ClientCommand::Diff(_)
        | ClientCommand::Exec(_)
        | ClientCommand::Attach(_)
        | ClientCommand::Debug(_)
        | ClientCommand::Run(_) => {
            unreachable!("these have an exit code of their own and were handled before")
        }
    }
}

/// What every client command has.
pub(crate) struct Context {
    rest: Rest,
    cluster: Cluster,
    clock: wk_platform::Clock,
}

impl Context {
    async fn connect(global: &crate::args::Global) -> Result<Self> {
        let timeout = request_timeout(&global.request_timeout)?;
        let cluster = client::connect(global).await?;
        let server = cluster.url.parse().context("read the server's address")?;
        let rest = Rest::new(cluster.client.clone(), Manner { server, timeout, verbosity: global.verbosity });
        Ok(Self { rest, cluster, clock: wk_platform::Clock::system() })
    }

    fn namespace(&self) -> &str {
        &self.cluster.namespace
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    async fn discovery(&self) -> Result<Discovery> {
        Discovery::load(&self.rest).await
    }

    /// The namespace of a manifest: its own, unless `-n` says something else.
    fn namespace_of<'a>(&'a self, resource: &ResourceType, own: Option<&'a str>) -> Result<&'a str> {
        match own.filter(|_| resource.namespaced) {
            Some(own) if self.cluster.namespace_given && own != self.namespace() => bail!(
                "the namespace from the provided object {own:?} does not match the namespace {:?}. You must pass '--namespace={own}' to perform this operation.",
                self.namespace()
            ),
            Some(own) => Ok(own),
            None => Ok(self.namespace()),
        }
    }

    /// The objects of `target` as they are now: by name, or the selected ones.
    async fn objects(&self, target: &Target, selection: &Selection<'_>) -> Result<Vec<Value>> {
        let resource = &target.resource;
        if target.names.is_empty() {
            let path = format!("{}{}", self.collection(resource, selection), selection.query());
            let mut list = self.rest.get(&path).await?;
            return Ok(with_type(resource, list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()));
        }
        let mut objects = Vec::new();
        for name in &target.names {
            objects.push(self.rest.get(&resource.object(self.namespace(), name)).await?);
        }
        Ok(objects)
    }

    /// All objects of the target's type in a namespace.
    async fn objects_in(&self, target: &Target, namespace: &str) -> Result<Vec<Value>> {
        let mut list = self.rest.get(&target.resource.collection(Some(namespace))).await?;
        Ok(with_type(&target.resource, list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()))
    }

    fn collection(&self, resource: &ResourceType, selection: &Selection<'_>) -> String {
        resource.collection((!selection.all_namespaces).then_some(self.namespace()))
    }
}

/// Which objects of a collection.
#[derive(Clone, Copy, Default)]
struct Selection<'a> {
    labels: &'a str,
    fields: &'a str,
    all_namespaces: bool,
}

impl Selection<'_> {
    fn query(&self) -> String {
        crate::resources::query(&[("labelSelector", self.labels), ("fieldSelector", self.fields)])
    }
}

/// Items of a list lack their type; printing and naming needs it.
fn with_type(resource: &ResourceType, mut items: Vec<Value>) -> Vec<Value> {
    for item in &mut items {
        item["apiVersion"] = resource.api_version().into();
        item["kind"] = resource.kind.clone().into();
    }
    items
}

/// `metadata.name`
fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// `metadata.namespace`
fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// A `LabelSelector` as the query of a list has it.
fn label_selector(selector: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    for rule in selector["matchExpressions"].as_array().into_iter().flatten() {
        let (key, values) = (text(&rule["key"]), rule["values"].as_array().into_iter().flatten().map(text));
        let values = values.collect::<Vec<_>>().join(",");
        parts.push(match rule["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    parts.join(",")
}

/// ` (dry run)` and its server form, as kubectl ends its lines.
fn dry_run_suffix(dry_run: DryRun) -> &'static str {
    match dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    }
}

/// `--request-timeout`: zero is for ever.
fn request_timeout(text: &str) -> Result<Option<Duration>> {
    let duration = parse_duration(text).ok().context(
        "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)",
    )?;
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// `30s`, `1m30s`, `500ms`, `2h`; a bare number counts seconds.
///
/// # Errors
/// `invalid duration`.
fn parse_duration(text: &str) -> Result<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().ok().with_context(|| format!("invalid duration {text:?}"))?;
    Duration::try_from(span).with_context(|| format!("invalid duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(parse_duration("90").expect("valid"), Duration::from_secs(90));
        assert_eq!(parse_duration("1m30s").expect("valid"), Duration::from_secs(90));
        assert_eq!(parse_duration("500ms").expect("valid"), Duration::from_millis(500));
        assert!(parse_duration("soon").is_err() && parse_duration("-3s").is_err());
    }

    #[test]
    fn selectors_become_queries() {
        let selector = serde_json::json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"},
            {"key": "g", "operator": "Exists"}, {"key": "h", "operator": "NotIn", "values": ["i"]}]});
        assert_eq!(label_selector(&selector), "a=b,c in (d,e),!f,g,h notin (i)");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
