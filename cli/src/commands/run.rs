//! `wk run`: one pod from an image; with `-i` joined and, with `--rm`, deleted
//! when it ends.

use super::{
    Context, attach, name_of, parse_duration,
    report::{Reporter, merge_into},
    wait,
};
use crate::{
    args::{Attach, DryRun, Run},
    output,
    resources::{Discovery, ResourceType, query},
    rest::JSON,
};
use anyhow::{Context as _, Result, bail};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use std::{io::Write, process::ExitCode};

pub(super) async fn run(context: &Context, args: &Run) -> Result<ExitCode> {
    let attaches = args.attach.unwrap_or(args.stdin);
    check(args, attaches)?;
    let discovery = context.discovery().await?;
    let pods = discovery.find("pods")?;
    let created = context.create(pods, pod(args)?, &args.change, "run").await?;
    let mut reporter = Reporter::new(&args.change)?;
    if !attaches {
        reporter.done(pods, &created, "created")?;
    }
    let service = if args.expose { Some(expose(context, &discovery, args, &mut reporter).await?) } else { None };
    if !attaches {
        return Ok(ExitCode::SUCCESS);
    }
    let end = tokio::select! {
        end = follow(context, args, pods, &created) => end,
        code = super::remote::interrupted() => code.map(ExitCode::from),
    };
    if args.rm {
        remove(context, args, pods, &created).await?;
        if let Some((resource, service)) = &service {
            remove(context, args, resource, service).await?;
        }
    }
    end
}

fn check(args: &Run, attaches: bool) -> Result<()> {
    if args.tty && !args.stdin {
        bail!("-i/--stdin is required for containers with -t/--tty=true");
    }
    if args.expose && args.port.is_none() {
        bail!("--port must be set when exposing a service");
    }
    if args.rm && !attaches {
        bail!("--rm should only be used for attached containers");
    }
    if attaches && args.change.dry_run != DryRun::None {
        bail!("--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)");
    }
    Ok(())
}

/// Joins the pod when it runs; shows its log when it has ended before.
async fn follow(context: &Context, args: &Run, pods: &ResourceType, created: &Value) -> Result<ExitCode> {
    let phase = |pod: &Value| pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
    let is_up = |pod: &Value| !matches!(phase(pod).as_str(), "" | "Pending");
    let pod = until(context, args, pods, created, is_up).await?;
    if phase(&pod) == "Running" {
        let attach = Attach {
            target: args.name.clone(),
            container: None,
            stdin: args.stdin,
            tty: args.tty,
            quiet: args.quiet,
            pod_running_timeout: args.pod_running_timeout.clone(),
        };
        if let Err(error) = attach::attach(context, &pod, &attach).await {
            let name = name_of(&pod);
            let told = crate::rest::describe_error(&error);
            writeln!(
                std::io::stderr(),
                "warning: couldn't attach to pod/{name}, falling back to streaming logs: {told}"
            )?;
            log(context, &pod, "").await?;
        }
    } else {
        log(context, &pod, "").await?;
    }
    if args.restart == "Always" {
        return Ok(ExitCode::SUCCESS);
    }
    let is_over = |pod: &Value| matches!(phase(pod).as_str(), "Succeeded" | "Failed");
    Ok(exit_code(&until(context, args, pods, created, is_over).await?))
}

/// The pod when `is_reached` takes it.
async fn until(
    context: &Context,
    args: &Run,
    pods: &ResourceType,
    pod: &Value,
    is_reached: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let mut seen = Value::Null;
    let see = |now: Option<&Value>| {
        let Some(now) = now else { bail!("pod {:?} was deleted", name_of(pod)) };
        seen = now.clone();
        Ok(is_reached(now))
    };
    let reached = wait::follow(context, pods, super::namespace_of(pod), name_of(pod), see);
    match tokio::time::timeout(parse_duration(&args.pod_running_timeout)?, reached).await {
        Ok(reached) => reached.map(|()| seen),
        Err(_) => bail!("timed out waiting for the condition"),
    }
}

/// Shows a container's log to its end; an empty name is the only container's.
pub(super) async fn log(context: &Context, pod: &Value, container: &str) -> Result<()> {
    let parameters = query(&[("container", container), ("follow", "true")]);
    let path = format!("/api/v1/namespaces/{}/pods/{}/log{parameters}", super::namespace_of(pod), name_of(pod));
    let mut body = context.rest.stream(Method::GET, &path, "*/*", None).await?.into_body();
    while let Some(frame) = body.frame().await {
        let data = frame.context("the log broke off")?.into_data().unwrap_or_default();
        let mut out = output::stdout();
        out.write_all(&data)?;
        out.flush()?;
    }
    Ok(())
}

/// The code of the only container, said when it is not zero.
fn exit_code(pod: &Value) -> ExitCode {
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    let code = ended["exitCode"].as_i64().unwrap_or(i64::from(pod["status"]["phase"] == "Failed"));
    if code == 0 {
        return ExitCode::SUCCESS;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (super::namespace_of(pod), name_of(pod));
    let _ = writeln!(
        std::io::stderr(),
        "pod {namespace}/{name} terminated ({})\n{}",
        text(&ended["reason"]),
        text(&ended["message"])
    );
    ExitCode::from(u8::try_from(code & 0xff).ok().filter(|code| *code != 0).unwrap_or(1))
}

async fn remove(context: &Context, args: &Run, resource: &ResourceType, object: &Value) -> Result<()> {
    let path = resource.object(super::namespace_of(object), name_of(object));
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let sent = context.rest.send(Method::DELETE, &path, JSON, Some((JSON, serde_json::to_vec(&options)?))).await;
    if crate::rest::none_if_missing(sent)?.is_some() && !args.quiet {
        output::line(format_args!("{} {:?} deleted", resource.display("").trim_end_matches('/'), name_of(object)))?;
    }
    Ok(())
}

async fn expose(
    context: &Context,
    discovery: &Discovery,
    args: &Run,
    reporter: &mut Reporter,
) -> Result<(ResourceType, Value)> {
    let services = discovery.find("services")?.clone();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": args.name},
        "spec": {"selector": labels(args)?, "ports": [{"port": args.port, "protocol": "TCP", "targetPort": args.port}]},
    });
    let created = context.create(&services, service, &args.change, "run").await?;
    reporter.done(&services, &created, "created")?;
    Ok((services, created))
}

fn pod(args: &Run) -> Result<Value> {
    let mut container = json!({"name": args.name, "image": args.image, "resources": {}});
    if !args.args.is_empty() {
        container[if args.command { "command" } else { "args" }] = json!(args.args);
    }
    if !args.env.is_empty() {
        let pairs = pairs(&args.env, "env")?;
        container["env"] = pairs.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    if let Some(port) = args.port {
        container["ports"] = json!([{ "containerPort": port }]);
    }
    if let Some(policy) = &args.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    if args.stdin {
        container["stdin"] = true.into();
        container["stdinOnce"] = true.into();
    }
    if args.tty {
        container["tty"] = true.into();
    }
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"creationTimestamp": null, "name": args.name, "labels": labels(args)?},
        "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": args.restart},
        "status": {},
    });
    if !args.annotations.is_empty() {
        let pairs = pairs(&args.annotations, "annotation")?;
        pod["metadata"]["annotations"] = pairs.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    }
    if let Some(account) = &args.serviceaccount {
        pod["spec"]["serviceAccountName"] = account.clone().into();
    }
    if let Some(overrides) = &args.overrides {
        let overrides: Value = serde_json::from_str(overrides).context("invalid --overrides")?;
        merge_into(&mut pod, &overrides);
    }
    Ok(pod)
}

fn labels(args: &Run) -> Result<Map<String, Value>> {
    let Some(text) = &args.labels else { return Ok(Map::from_iter([("run".to_owned(), args.name.clone().into())])) };
    let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
    Ok(pairs(&parts, "label")?.into_iter().map(|(name, value)| (name, value.into())).collect())
}

/// `NAME=VALUE` each.
pub(super) fn pairs(texts: &[String], what: &str) -> Result<Vec<(String, String)>> {
    let split = |text: &String| match text.split_once('=').filter(|(name, _)| !name.is_empty()) {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("invalid {what}: {text}"),
    };
    texts.iter().map(split).collect()
}
