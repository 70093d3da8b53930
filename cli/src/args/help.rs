//! `wk --help`: the commands by what they are for. Clap lists them in one row.

use super::Args;
use clap::{Command, CommandFactory};
use std::fmt::Write;

/// What is for what. Every command that is not hidden is in one group.
const GROUPS: [(&str, &[&str]); 7] = [
    ("A cluster on this machine", &["up", "down", "status", "node", "ctr", "image", "snapshot", "server"]),
    (
        "Make and change objects",
        &["create", "run", "expose", "apply", "diff", "edit", "patch", "replace", "set", "label", "annotate", "delete"],
    ),
    ("See objects", &["get", "describe", "explain", "events", "wait"]),
    ("Rollouts and replicas", &["rollout", "scale", "autoscale"]),
    ("Inside pods", &["logs", "exec", "attach", "cp", "port-forward", "debug"]),
    ("Nodes and rights", &["top", "cordon", "uncordon", "drain", "taint", "auth"]),
    (
        "The API and this program",
        &[
            "cluster-info",
            "proxy",
            "api-resources",
            "api-versions",
            "config",
            "version",
            "options",
            "plugin",
            "completion",
        ],
    ),
];

/// Columns of a command's name.
const NAME_WIDTH: usize = 14;

/// The command line, with help that is grouped.
pub fn command() -> Command {
    let command = Args::command();
    let template = format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}{FOOT}", groups(&command));
    command.help_template(template)
}

/// The command that this process was called with, for messages.
pub fn command_word() -> String {
    let command = Args::command();
    let known = |word: &String| command.find_subcommand(word).is_some();
    std::env::args().skip(1).find(known).unwrap_or_default()
}

const FOOT: &str = "`wk COMMAND --help` says more about a command, `wk options` which options all of them have.\n";

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{title}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let _ = writeln!(text, "  {name:NAME_WIDTH$} {}", about.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = Args::command();
        let mut all: Vec<&str> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }

    #[test]
    fn the_help_names_commands_with_what_they_do() {
        let help = command().render_help().to_string();
        assert!(help.contains("See objects:\n  get            Show objects\n"), "{help}");
        assert!(help.contains("Usage: wk ["), "{help}");
    }
}
