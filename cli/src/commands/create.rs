//! `wk create`: objects from files or from flags; fails when they exist.

pub(super) mod access;
mod data;
mod network;
mod workload;

use super::{Context, apply, apply::resource_of, parse_duration, report::Reporter};
use crate::{
    args::{
        Change, Create, CreateBudget, CreateKind, CreateNamed, CreatePriorityClass, CreateQuota, CreateSecret,
        CreateToken,
    },
    manifest,
    output::{self, Format, Objects},
    rest::{self, ApiError, JSON},
};
use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};

pub(super) async fn run(context: &Context, args: &Create) -> Result<()> {
    let Some(kind) = &args.kind else { return from_files(context, args).await };
    match kind {
        CreateKind::Token(args) => return token(context, args).await,
        CreateKind::Job(args) => {
            let job = workload::job(context, args).await?;
            return create(context, &args.named.change, "jobs.batch", job).await;
        }
        CreateKind::Role(args) => {
            let rules = access::rules(&context.discovery().await?, &args.rules)?;
            return create(
                context,
                &args.named.change,
                "roles.rbac.authorization.k8s.io",
                access::role("Role", &args.named, rules),
            )
            .await;
        }
        CreateKind::Clusterrole(args) => {
            let role = access::cluster_role(&context.discovery().await?, args)?;
            return create(context, &args.named.change, "clusterroles.rbac.authorization.k8s.io", role).await;
        }
        _ => {}
    }
    let (named, resource, object) = object(kind)?;
    create(context, &named.change, resource, object).await
}

/// The kinds that are made from the words alone.
fn object(kind: &CreateKind) -> Result<(&CreateNamed, &'static str, Value)> {
    Ok(match kind {
        CreateKind::Deployment(args) => (&args.named, "deployments.apps", workload::deployment(args)),
        CreateKind::Cronjob(args) => (&args.named, "cronjobs.batch", workload::cron_job(args)),
        CreateKind::Namespace(named) => (named, "namespaces", namespace(named)),
        CreateKind::Configmap(args) => (&args.named, "configmaps", data::config_map(args)?),
        CreateKind::Secret(CreateSecret::Generic(args)) => (&args.data.named, "secrets", data::generic(args)?),
        CreateKind::Secret(CreateSecret::Tls { named, cert, key, append_hash }) => {
            (named, "secrets", data::tls(named, cert, key, *append_hash)?)
        }
        CreateKind::Secret(CreateSecret::DockerRegistry(args)) => {
            (&args.named, "secrets", data::docker_registry(args)?)
        }
        CreateKind::Quota(args) => (&args.named, "resourcequotas", quota(args)?),
        CreateKind::Service(args) => (network::named(args), "services", network::service(args)?),
        CreateKind::Serviceaccount(named) => (named, "serviceaccounts", bare("v1", "ServiceAccount", named)),
        CreateKind::Rolebinding(args) => {
            (&args.named, "rolebindings.rbac.authorization.k8s.io", access::role_binding(args)?)
        }
        CreateKind::Clusterrolebinding(args) => {
            (&args.named, "clusterrolebindings.rbac.authorization.k8s.io", access::cluster_role_binding(args)?)
        }
        CreateKind::Poddisruptionbudget(args) => (&args.named, "poddisruptionbudgets.policy", budget(args)?),
        CreateKind::Priorityclass(args) => (&args.named, "priorityclasses.scheduling.k8s.io", priority_class(args)),
        CreateKind::Ingress(args) => (&args.named, "ingresses.networking.k8s.io", network::ingress(args)?),
        CreateKind::Token(_) | CreateKind::Job(_) | CreateKind::Role(_) | CreateKind::Clusterrole(_) => {
            unreachable!("these ask the server first and were handled before")
        }
    })
}

async fn create(context: &Context, change: &Change, resource: &str, object: Value) -> Result<()> {
    let discovery = context.discovery().await?;
    let resource = discovery.find(resource)?;
    let refused = refusal(&object);
    let created = context.create(resource, object, change, "create").await;
    let created = created.map_err(|error| in_kubectls_frame(error, refused))?;
    Reporter::new(change)?.done(resource, &created, "created")
}

/// What kubectl puts before the server's words, if anything.
fn refusal(object: &Value) -> Option<String> {
    Some(match object["kind"].as_str()? {
        "Secret" => "failed to create secret ".to_owned(),
        "ResourceQuota" => "failed to create quota: ".to_owned(),
        "Service" => format!("failed to create {} service: ", object["spec"]["type"].as_str().unwrap_or_default()),
        "Role" | "ClusterRole" | "Namespace" => return None,
        "PodDisruptionBudget" => "failed to create poddisruptionbudgets: ".to_owned(),
        kind => format!("failed to create {}: ", kind.to_lowercase()),
    })
}

fn in_kubectls_frame(error: anyhow::Error, frame: Option<String>) -> anyhow::Error {
    match (error.downcast_ref::<ApiError>(), frame) {
        (Some(api), Some(frame)) => {
            let message = api.status["message"].as_str().unwrap_or_default();
            anyhow::anyhow!("{frame}{message}")
        }
        _ => error,
    }
}

async fn from_files(context: &Context, args: &Create) -> Result<()> {
    if args.files.is_empty() {
        bail!("must specify one of -f and -k, or what to create");
    }
    if let Some(path) = &args.raw {
        let answer = context.rest.send(Method::POST, path, JSON, Some((JSON, manifest::raw(&args.files)?))).await?;
        return output::line(answer.body);
    }
    let query = args.change.query_as("wk-create", &args.validate)?;
    let discovery = context.discovery().await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = Vec::new();
    for manifest in manifest::read_selected(&args.files, args.selector.as_deref()).await? {
        let resource = resource_of(&discovery, &manifest)?;
        let mut object = manifest.object.clone();
        if args.save_config {
            object = apply::remember(&object, resource, context.namespace_of(resource, manifest.namespace())?);
        }
        match context.create_as(resource, object, &args.change, query.clone()).await {
            Ok(created) => reporter.done(resource, &created, "created")?,
            Err(error) => failures.push(rest::with_source(error, "creating", &manifest.source)),
        }
    }
    apply::first_failure(failures)
}

/// Metadata as kubectl prints it before the server has seen the object.
fn metadata(named: &CreateNamed) -> Value {
    json!({"creationTimestamp": null, "name": named.name})
}

fn bare(api_version: &str, kind: &str, named: &CreateNamed) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata(named)})
}

fn namespace(named: &CreateNamed) -> Value {
    let mut namespace = bare("v1", "Namespace", named);
    namespace["spec"] = json!({});
    namespace["status"] = json!({});
    namespace
}

/// A number, or text such as a percentage or a port's name.
fn number_or_text(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

fn budget(args: &CreateBudget) -> Result<Value> {
    let mut budget = bare("policy/v1", "PodDisruptionBudget", &args.named);
    let labels: Vec<String> = args.selector.split(',').map(str::to_owned).collect();
    let labels = super::run::pairs(&labels, "selector")?;
    let labels: serde_json::Map<String, Value> = labels.into_iter().map(|(key, value)| (key, value.into())).collect();
    budget["spec"] = json!({"selector": {"matchLabels": labels}});
    match (&args.min_available, &args.max_unavailable) {
        (Some(least), None) => budget["spec"]["minAvailable"] = number_or_text(least),
        (None, Some(most)) => budget["spec"]["maxUnavailable"] = number_or_text(most),
        (None, None) => bail!("one of min-available or max-unavailable must be specified"),
        (Some(_), Some(_)) => bail!("min-available and max-unavailable cannot be both specified"),
    }
    budget["status"] = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    Ok(budget)
}

fn priority_class(args: &CreatePriorityClass) -> Value {
    let mut class = bare("scheduling.k8s.io/v1", "PriorityClass", &args.named);
    class["value"] = args.value.into();
    class["preemptionPolicy"] = args.preemption_policy.clone().into();
    if args.global_default {
        class["globalDefault"] = true.into();
    }
    if !args.description.is_empty() {
        class["description"] = args.description.clone().into();
    }
    class
}

fn quota(args: &CreateQuota) -> Result<Value> {
    let mut quota = bare("v1", "ResourceQuota", &args.named);
    quota["spec"] = json!({});
    if !args.hard.is_empty() {
        let pairs: Vec<String> = args.hard.split(',').map(str::to_owned).collect();
        let pairs = super::run::pairs(&pairs, "argument value")?;
        quota["spec"]["hard"] = pairs.into_iter().map(|(name, quantity)| (name, Value::from(quantity))).collect();
    }
    if !args.scopes.is_empty() {
        quota["spec"]["scopes"] = json!(args.scopes);
    }
    quota["status"] = json!({});
    Ok(quota)
}

/// Asks the server for a token and prints only that.
async fn token(context: &Context, args: &CreateToken) -> Result<()> {
    let mut request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": args.audience}});
    if let Some(duration) = &args.duration {
        request["spec"]["expirationSeconds"] = parse_duration(duration)?.as_secs().into();
    }
    if let (Some(kind), Some(name)) = (&args.bound_object_kind, &args.bound_object_name) {
        let api_version = match kind.as_str() {
            "Pod" | "Secret" | "Node" => "v1",
            _ => bail!("supported --bound-object-kind values are Node, Pod, Secret"),
        };
        request["spec"]["boundObjectRef"] = json!({"apiVersion": api_version, "kind": kind, "name": name});
        if let Some(uid) = &args.bound_object_uid {
            request["spec"]["boundObjectRef"]["uid"] = uid.clone().into();
        }
    }
    let discovery = context.discovery().await?;
    let accounts = discovery.find("serviceaccounts")?;
    let path = format!("{}/token", accounts.object(context.namespace(), &args.name));
    let answer = context.rest.create(&path, &request).await;
    let answer = answer.map_err(|error| in_kubectls_frame(error, Some("failed to create token: ".to_owned())))?;
    match &args.output {
        None => output::line(answer["status"]["token"].as_str().unwrap_or_default()),
        Some(format) => Objects { items: vec![(accounts.clone(), answer)], single: true, ..Objects::default() }
            .print(&Format::parse(Some(format))?, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;

    /// The object that a command line makes.
    pub(super) fn made(line: &str) -> Result<Value> {
        let words = std::iter::once("wk").chain(line.split(' '));
        let args = Args::try_parse_from(words)?;
        let crate::args::Command::Client(command) = args.command else { bail!("no client command") };
        let crate::args::ClientCommand::Create(create) = *command else { bail!("not create") };
        object(&create.kind.expect("a kind is named")).map(|(_, _, object)| object)
    }

    #[test]
    fn budgets_need_one_bound() {
        let budget = made("create pdb web --selector app=web --max-unavailable 50%").expect("valid");
        let expected = json!({"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": "50%"});
        assert_eq!(budget["spec"], expected);
        let budget = made("create pdb web --selector app=web --min-available 1").expect("valid");
        assert_eq!(budget["spec"]["minAvailable"], 1);
        assert!(made("create pdb web --selector app=web").is_err());
    }

    #[test]
    fn files_and_kinds_exclude_each_other() {
        assert!(Args::try_parse_from(["wk", "create", "-f", "x.yaml"]).is_ok());
        assert!(Args::try_parse_from(["wk", "create", "-f", "x.yaml", "namespace", "x"]).is_err());
    }
}
