//! `--force=true` as Go's flags read it: clap's switches take no value.

use clap::{ArgAction, Command};
use std::ffi::OsString;

/// Turns `--switch=true` into `--switch` and leaves `--switch=false` out, for
/// the switches of the command that the words name. Words after `--` stay.
pub fn without_booleans(command: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut current = command;
    let mut path = vec![command];
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    kept.extend(words.next());
    for word in words.by_ref() {
        let Some(text) = word.to_str() else {
            kept.push(word);
            continue;
        };
        if text == "--" {
            kept.push(word);
            break;
        }
        match switch(&path, text) {
            Some((name, true)) => kept.push(format!("--{name}").into()),
            Some((_, false)) => {}
            None => {
                if let Some(found) = current.find_subcommand(text) {
                    current = found;
                    path.push(found);
                }
                kept.push(word);
            }
        }
    }
    kept.extend(words);
    kept
}

/// The name and value of `--name=true` when `name` is a switch.
fn switch<'a>(path: &[&Command], word: &'a str) -> Option<(&'a str, bool)> {
    let (name, value) = word.strip_prefix("--")?.split_once('=')?;
    let value = value.parse().ok()?;
    let is_switch = path
        .iter()
        .flat_map(|command| command.get_arguments())
        .any(|argument| argument.get_long() == Some(name) && matches!(argument.get_action(), ArgAction::SetTrue));
    is_switch.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &str) -> String {
        let words = line.split(' ').map(OsString::from);
        let kept = without_booleans(&crate::args::Args::command(), words);
        kept.iter().map(|word| word.to_str().expect("made from text")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn switches_take_true_and_false() {
        assert_eq!(read("wk drain n --force=true --ignore-daemonsets=false"), "wk drain n --force");
        assert_eq!(read("wk label pods --overwrite=true a=true"), "wk label pods --overwrite a=true");
    }

    #[test]
    fn what_is_no_switch_stays() {
        let lines = ["wk delete pod x --wait=false", "wk exec p -- x --force=true", "wk get pods --output=true"];
        for line in lines {
            assert_eq!(read(line), line);
        }
    }
}
