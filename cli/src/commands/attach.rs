//! `wk attach`: the streams of a container's own program.

use super::{
    Context,
    exec::{self, Program},
    name_of, namespace_of,
    pod_choice::{self, Telling},
    pods_behind,
};
use crate::{args::Attach, output};
use anyhow::{Result, bail};
use serde_json::Value;
use std::{io::Write, process::ExitCode};

pub(super) async fn run(context: &Context, args: &Attach) -> Result<ExitCode> {
    let discovery = context.discovery().await?;
    let pod = pods_behind::one(context, &discovery, &args.target, &args.pod_running_timeout).await?;
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        bail!("cannot attach a container in a completed pod; current phase is {phase}");
    }
    attach(context, &pod, args).await
}

/// Joins the streams of one container of a running pod.
pub(super) async fn attach(context: &Context, pod: &Value, args: &Attach) -> Result<ExitCode> {
    let telling = if args.quiet { Telling::Quiet } else { Telling::Aloud };
    let container = pod_choice::container(pod, args.container.as_deref(), telling);
    let container = match (container, &args.container) {
        (Err(_), Some(name)) => {
            bail!("cannot attach to the container: container {name} not found in pod {}", name_of(pod))
        }
        (container, _) => container?,
    };
    let name = container["name"].as_str().unwrap_or_default();
    let has_tty = container["tty"] == true;
    if args.tty && !has_tty && telling == Telling::Aloud {
        writeln!(std::io::stderr(), "error: Unable to use a TTY - container {name} did not allocate one")?;
    }
    // A container with a terminal has no separate standard error.
    let tty = exec::usable_terminal(args.stdin, has_tty, telling)?;
    if telling == Telling::Aloud {
        writeln!(std::io::stderr(), "If you don't see a command prompt, try pressing enter.")?;
    }
    let code = exec::connect(context, pod, &Program { container: name, command: &[], stdin: args.stdin, tty }).await?;
    if args.stdin && tty && telling == Telling::Aloud && pod["spec"]["restartPolicy"] == "Always" {
        let (pod_name, namespace) = (name_of(pod), namespace_of(pod));
        output::line(format_args!(
            "Session ended, resume using 'wk attach {pod_name} -c {name} -n {namespace} -i -t' command when the pod is running"
        ))?;
    }
    Ok(code)
}
