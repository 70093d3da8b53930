//! `wk exec`: a command in a running container.

use super::{
    Context, name_of, namespace_of,
    pod_choice::{self, Telling},
    pods_behind,
    remote::{self, End, Input, Output, Streams},
    terminal::{self, RawMode},
};
use crate::{args::Exec, resources};
use anyhow::{Result, bail};
use serde_json::Value;
use std::{io::Write, process::ExitCode};

/// A program to run in a container, and what to connect to it.
pub(super) struct Program<'a> {
    pub(super) container: &'a str,
    pub(super) command: &'a [String],
    pub(super) stdin: bool,
    pub(super) tty: bool,
}

impl Program<'_> {
    /// The path of the request; without a command it joins the container's own.
    pub(super) fn path(&self, pod: &Value) -> String {
        let Self { container, command, stdin, tty } = self;
        let verb = if command.is_empty() { "attach" } else { "exec" };
        let (namespace, name) = (namespace_of(pod), resources::encode(name_of(pod)));
        let mut path = format!("/api/v1/namespaces/{namespace}/pods/{name}/{verb}?container={container}&stdout=true");
        for word in *command {
            path.push_str(&format!("&command={}", resources::encode(word)));
        }
        // With a terminal everything comes over standard output.
        for (name, set) in [("stdin", *stdin), ("tty", *tty), ("stderr", !*tty)] {
            if set {
                path.push_str(&format!("&{name}=true"));
            }
        }
        path
    }
}

pub(super) async fn run(context: &Context, args: &Exec) -> Result<ExitCode> {
    if args.command.is_empty() {
        bail!("you must specify at least one command for the container");
    }
    let discovery = context.discovery().await?;
    let pod = pods_behind::one(context, &discovery, &args.target, &args.pod_running_timeout).await?;
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        bail!("cannot exec into a container in a completed pod; current phase is {phase}");
    }
    let telling = if args.quiet { Telling::Quiet } else { Telling::Aloud };
    let container = pod_choice::container(&pod, args.container.as_deref(), telling)?;
    let container = container["name"].as_str().unwrap_or_default();
    let tty = usable_terminal(args.stdin, args.tty, telling)?;
    let program = Program { container, command: &args.command, stdin: args.stdin, tty };
    connect(context, &pod, &program).await
}

/// Whether the program can have the user's terminal.
pub(super) fn usable_terminal(stdin: bool, tty: bool, telling: Telling) -> Result<bool> {
    if !stdin || !tty {
        return Ok(false);
    }
    if !terminal::is_terminal() {
        if telling == Telling::Aloud {
            writeln!(std::io::stderr(), "Unable to use a TTY - input is not a terminal or the right kind of file")?;
        }
        return Ok(false);
    }
    Ok(true)
}

/// Connects our own streams to the program until it ends.
pub(super) async fn connect(context: &Context, pod: &Value, program: &Program<'_>) -> Result<ExitCode> {
    let input = if program.stdin { Input::stdin() } else { Input::None };
    let streams = Streams { input, output: Output::Stdout, sizes: program.tty };
    let client = context.rest.client();
    let end = {
        let raw = program.tty.then(RawMode::enter).transpose()?;
        let path = program.path(pod);
        let end = tokio::select! {
            end = remote::run(&client, &path, streams) => end,
            code = remote::interrupted() => return Ok(ExitCode::from(code?)),
        };
        drop(raw);
        end?
    };
    Ok(End::exit_code(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_and_streams_are_in_the_path() {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop"}});
        let command = ["sh".to_owned(), "-c".to_owned(), "a & b".to_owned()];
        let program = Program { container: "c", command: &command, stdin: false, tty: false };
        let expected = "/api/v1/namespaces/shop/pods/web/exec?container=c&stdout=true&command=sh&command=-c&command=a%20%26%20b&stderr=true";
        assert_eq!(program.path(&pod), expected);
        let program = Program { container: "c", command: &[], stdin: true, tty: true };
        assert_eq!(
            program.path(&pod),
            "/api/v1/namespaces/shop/pods/web/attach?container=c&stdout=true&stdin=true&tty=true"
        );
    }
}
