//! `wk debug`: a container of one's own in a running pod, or a copy of the pod
//! with changes (upstream: `kubectl/pkg/cmd/debug`).

mod container;
mod profile;

use super::{
    Context, attach, name_of, namespace_of,
    report::STRATEGIC_PATCH,
    run::{self, pairs},
    select::{self, Found, Unnamed},
    wait,
};
use crate::{
    args::{Attach, Choice, Debug, Profile},
    output,
    resources::ResourceType,
    rest::{self, JSON},
};
use anyhow::{Context as _, Result, bail};
use container::Debugger;
use http::Method;
use serde_json::{Value, json};
use std::{io::Write, process::ExitCode};

pub(super) async fn run(context: &Context, args: &Debug) -> Result<ExitCode> {
    check(args)?;
    let debugger = Debugger::new(args)?;
    let mut code = ExitCode::SUCCESS;
    for pod in &pods(context, args).await? {
        let (pods, pod) = (&pod.resource, &pod.object);
        let (debugged, container) = match &args.copy.copy_to {
            Some(_) => copy(context, args, &debugger, pods, pod).await?,
            None => add(context, &debugger, pods, pod).await.map(|(pod, name)| (pod, Some(name)))?,
        };
        if let Some(container) = container.filter(|_| args.attach.unwrap_or(args.stdin)) {
            code = join(context, args, pods, &debugged, &container).await?;
        }
    }
    Ok(code)
}

fn check(args: &Debug) -> Result<()> {
    let copy = &args.copy;
    if args.attach == Some(true) && args.image.is_none() && args.container.is_none() {
        bail!("you must specify --container or create a new container using --image in order to attach.");
    }
    if copy.copy_to.is_some() {
        if args.image.is_none() && copy.set_image.is_empty() && args.command.is_empty() {
            bail!("you must specify --image, --set-image or command arguments.");
        }
        if !args.command.is_empty() && args.container.is_none() && args.image.is_none() {
            bail!("you must specify an existing container or a new image when specifying args.");
        }
    } else {
        for (given, flag) in
            [(copy.replace, "replace"), (copy.same_node, "same-node"), (!copy.set_image.is_empty(), "set-image")]
        {
            if given {
                bail!("--{flag} may only be used with --copy-to.");
            }
        }
        if args.image.is_none() {
            bail!("you must specify --image when not using --copy-to.");
        }
    }
    if args.pods.is_empty() && args.files.is_empty() {
        bail!("NAME or filename is required for debug");
    }
    if !matches!(args.image_pull_policy.as_str(), "" | "Always" | "IfNotPresent" | "Never") {
        bail!("invalid image pull policy: {}", args.image_pull_policy);
    }
    if let Some(target) = &args.target {
        if copy.copy_to.is_some() {
            bail!("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        if !args.quiet {
            output::line(format_args!(
                "Targeting container {target:?}. If you don't see processes from this container it may be because the container runtime doesn't support this feature."
            ))?;
        }
    }
    if args.tty && !args.stdin {
        bail!("-i/--stdin is required for containers with -t/--tty=true");
    }
    if args.profile == Profile::Legacy {
        writeln!(
            std::io::stderr(),
            "--profile=legacy is deprecated and will be removed in the future. It is recommended to explicitly specify a profile, for example \"--profile=general\"."
        )?;
    }
    Ok(())
}

/// The pods that the words or files name.
async fn pods(context: &Context, args: &Debug) -> Result<Vec<Found>> {
    let mut words = args.pods.clone();
    if !words.is_empty() && !words.iter().any(|word| word.contains('/')) {
        words.insert(0, "pods".to_owned());
    }
    let choice = Choice { files: args.files.clone(), ..Choice::default() };
    let mut selected = select::select(context, &words, &choice, Unnamed::Refused).await?;
    if let Some(failure) = selected.failures.pop() {
        return Err(failure);
    }
    for found in &selected.found {
        match found.resource.kind.as_str() {
            "Pod" => {}
            "Node" => bail!(
                "debugging nodes is not supported: a node is a part of the wk process and has no namespaces of its own; `wk describe node {name}` and `wk ctr ps --node {name}` show what it does",
                name = found.name()
            ),
            kind => {
                let ResourceType { group, version, .. } = &found.resource;
                bail!("\"{group}/{version}, Kind={kind}\" not supported by debug")
            }
        }
    }
    Ok(selected.found)
}

/// Adds a container to a running pod.
async fn add(context: &Context, debugger: &Debugger<'_>, pods: &ResourceType, pod: &Value) -> Result<(Value, String)> {
    let container = debugger.ephemeral(pod)?;
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let before = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten().map(|one| &one["name"]);
    let order: Vec<Value> = before.chain([&container["name"]]).map(|name| json!({ "name": name })).collect();
    let patch = json!({"spec": {"$setElementOrder/ephemeralContainers": order, "ephemeralContainers": [container]}});
    let path = format!("{}/ephemeralcontainers", pods.object(namespace_of(pod), name_of(pod)));
    let answer = context.rest.patch(&path, STRATEGIC_PATCH, &patch).await?;
    Ok((answer.body, name))
}

/// Creates a changed copy; the name of the container to join, if any.
async fn copy(
    context: &Context,
    args: &Debug,
    debugger: &Debugger<'_>,
    pods: &ResourceType,
    pod: &Value,
) -> Result<(Value, Option<String>)> {
    let (copied, container) = debugger.copy(pod)?;
    let created = context.rest.create(&pods.collection(Some(namespace_of(pod))), &copied).await?;
    if args.copy.replace {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
        let path = pods.object(namespace_of(pod), name_of(pod));
        context.rest.send(Method::DELETE, &path, JSON, Some((JSON, serde_json::to_vec(&options)?))).await?;
    }
    Ok((created, container))
}

/// Joins the container when it runs; shows its log when it has ended before.
async fn join(context: &Context, args: &Debug, pods: &ResourceType, pod: &Value, container: &str) -> Result<ExitCode> {
    let mut seen = Value::Null;
    wait::follow(context, pods, namespace_of(pod), name_of(pod), |now| {
        seen = now.cloned().with_context(|| format!("pod {:?} was deleted", name_of(pod)))?;
        let state = state_of(&seen, container);
        if let Some(message) = state["waiting"]["message"].as_str().filter(|_| !args.quiet) {
            writeln!(std::io::stderr(), "Warning: container {container}: {message}")?;
        }
        Ok(state["running"].is_object() || state["terminated"].is_object())
    })
    .await?;
    if state_of(&seen, container)["terminated"].is_object() {
        return run::log(context, &seen, container).await.map(|()| ExitCode::SUCCESS);
    }
    let attach = Attach {
        target: name_of(pod).to_owned(),
        container: Some(container.to_owned()),
        stdin: args.stdin,
        tty: args.tty,
        quiet: args.quiet,
        pod_running_timeout: String::new(),
    };
    match attach::attach(context, &seen, &attach).await {
        Ok(code) => Ok(code),
        Err(error) => {
            let (name, told) = (name_of(pod), rest::describe_error(&error));
            writeln!(
                std::io::stderr(),
                "warning: couldn't attach to pod/{name}, falling back to streaming logs: {told}"
            )?;
            run::log(context, &seen, container).await.map(|()| ExitCode::SUCCESS)
        }
    }
}

fn state_of<'a>(pod: &'a Value, container: &str) -> &'a Value {
    const NONE: &Value = &Value::Null;
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    statuses.find(|status| status["name"] == container).map_or(NONE, |status| &status["state"])
}

/// `NAME=VALUE` each, as a container has them.
fn env(args: &Debug) -> Result<Vec<Value>> {
    let variables = pairs(&args.env, "env")?;
    Ok(variables.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect())
}
