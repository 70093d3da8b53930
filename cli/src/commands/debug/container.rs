//! The container to debug with, in a pod that runs or in a copy of it. Pure but
//! for names, which are random.

use super::{env, profile};
use crate::{args::Debug, output};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use wk_platform::Entropy;

/// Letters of a name's random end.
const SUFFIX_LENGTH: usize = 5;

pub(super) struct Debugger<'a> {
    args: &'a Debug,
    env: Vec<Value>,
    images: Vec<(&'a str, &'a str)>,
}

impl<'a> Debugger<'a> {
    /// # Errors
    /// A variable or an image that is no pair.
    pub(super) fn new(args: &'a Debug) -> Result<Self> {
        let pair = |text: &'a String| match text.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some(pair) => Ok(pair),
            None => bail!("{text} must be formatted as key=value"),
        };
        let images = args.copy.set_image.iter().map(pair).collect::<Result<_>>()?;
        Ok(Self { args, env: env(args)?, images })
    }

    /// A container to add to a running pod.
    ///
    /// # Errors
    /// When standard output is gone.
    pub(super) fn ephemeral(&self, pod: &Value) -> Result<Value> {
        let mut container = json!({
            "name": self.name(pod)?,
            "image": self.args.image,
            "terminationMessagePolicy": "File",
            "resources": {},
        });
        self.configure(&mut container);
        if let Some(target) = &self.args.target {
            container["targetContainerName"] = target.clone().into();
        }
        profile::apply_to_added(self.args.profile, &mut container);
        Ok(container)
    }

    /// A copy of a pod, and which of its containers to join.
    ///
    /// # Errors
    /// There is nothing to change.
    pub(super) fn copy(&self, pod: &Value) -> Result<(Value, Option<String>)> {
        let mut copied = self.bare_copy(pod);
        let containers = names(&copied, &["containers", "initContainers"]);
        let named = self.args.container.clone().filter(|name| containers.contains(name));
        let is_new = named.is_none();
        if is_new && self.args.image.is_none() {
            if self.images.is_empty() {
                bail!("you must specify image when creating new container");
            }
            return Ok((copied, None));
        }
        let name = match named {
            Some(name) => name,
            None => self.name(&copied)?,
        };
        if let (true, Some(list)) = (is_new, copied["spec"]["containers"].as_array_mut()) {
            list.push(json!({"name": name, "terminationMessagePolicy": "File"}));
        }
        if let Some(container) = container_mut(&mut copied, &name) {
            self.configure(container);
        }
        profile::apply_to_copy(self.args, &mut copied, &name);
        Ok((copied, Some(name)))
    }

    /// What a copy takes over, with other images.
    fn bare_copy(&self, pod: &Value) -> Value {
        let copy = &self.args.copy;
        let metadata = &pod["metadata"];
        let mut copied =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": copy.copy_to}, "spec": pod["spec"]});
        for field in ["namespace", "labels", "annotations"] {
            if !metadata[field].is_null() {
                copied["metadata"][field] = metadata[field].clone();
            }
        }
        if let Some(spec) = copied["spec"].as_object_mut() {
            spec.remove("ephemeralContainers");
            if !copy.same_node {
                spec.remove("nodeName");
            }
            if let Some(shared) = copy.share_processes {
                spec.insert("shareProcessNamespace".to_owned(), shared.into());
            }
        }
        for container in copied["spec"]["containers"].as_array_mut().into_iter().flatten() {
            let image =
                |wanted: &str| self.images.iter().rev().find(|(name, _)| *name == wanted).map(|(_, image)| *image);
            if let Some(image) = image(container["name"].as_str().unwrap_or_default()).or_else(|| image("*")) {
                container["image"] = image.into();
            }
        }
        copied
    }

    /// What the flags say of the container.
    fn configure(&self, container: &mut Value) {
        let args = self.args;
        if !args.command.is_empty() && args.arguments_only {
            container["args"] = json!(args.command);
        } else if !args.command.is_empty() {
            container["command"] = json!(args.command);
            if let Some(fields) = container.as_object_mut() {
                fields.remove("args");
            }
        }
        if !self.env.is_empty() {
            container["env"] = json!(self.env);
        }
        if let Some(image) = &args.image {
            container["image"] = image.clone().into();
        }
        if !args.image_pull_policy.is_empty() {
            container["imagePullPolicy"] = args.image_pull_policy.clone().into();
        }
        for (field, wanted) in [("stdin", args.stdin), ("tty", args.tty)] {
            match container.as_object_mut() {
                Some(fields) if !wanted => drop(fields.remove(field)),
                _ => container[field] = true.into(),
            }
        }
    }

    /// The one that was given, or one that no container has.
    fn name(&self, pod: &Value) -> Result<String> {
        if let Some(name) = &self.args.container {
            return Ok(name.clone());
        }
        let taken = names(pod, &["containers", "initContainers", "ephemeralContainers"]);
        let entropy = Entropy::system();
        let mut random = std::iter::repeat_with(|| format!("debugger-{}", entropy.suffix(SUFFIX_LENGTH)));
        let name = random.find(|name| !taken.contains(name)).unwrap_or_default();
        if !self.args.quiet {
            output::line(format_args!("Defaulting debug container name to {name}."))?;
        }
        Ok(name)
    }
}

fn names(pod: &Value, lists: &[&str]) -> Vec<String> {
    let containers = lists.iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    containers.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

/// A container of a pod, by its name.
pub(super) fn container_mut<'a>(pod: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let spec = pod["spec"].as_object_mut()?;
    let lists = spec.iter_mut().filter(|(field, _)| matches!(field.as_str(), "containers" | "initContainers"));
    let mut containers = lists.flat_map(|(_, list)| list.as_array_mut().into_iter().flatten());
    containers.find(|container| container["name"] == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, ClientCommand, Command};
    use clap::Parser;

    fn with<T>(line: &str, work: impl FnOnce(Debugger<'_>) -> T) -> T {
        let args = Args::try_parse_from(format!("wk debug web {line}").split(' ')).expect(line);
        let Command::Client(command) = args.command else { panic!("no client command") };
        let ClientCommand::Debug(args) = *command else { panic!("not debug") };
        work(Debugger::new(&args).expect(line))
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
            "spec": {"nodeName": "node-1", "ephemeralContainers": [{"name": "old"}], "containers": [
                {"name": "c", "image": "x", "args": ["y"], "readinessProbe": {}}, {"name": "d", "image": "z"}]},
            "status": {"phase": "Running"},
        })
    }

    #[test]
    fn an_added_container_has_what_was_typed() {
        let line = "--image sh -c me -it --target c --env A=b -q -- sh -c";
        let container = with(line, |debugger| debugger.ephemeral(&pod())).expect("made");
        let expected = json!({"name": "me", "image": "sh", "stdin": true, "tty": true, "targetContainerName": "c",
            "env": [{"name": "A", "value": "b"}], "command": ["sh", "-c"], "terminationMessagePolicy": "File",
            "resources": {}});
        assert_eq!(container, expected);
        let container = with("--image sh --profile general", |debugger| debugger.ephemeral(&pod())).expect("made");
        assert!(container["name"].as_str().is_some_and(|name| name.len() == "debugger-abcde".len()), "{container}");
        assert_eq!(container["securityContext"]["capabilities"]["add"], json!(["SYS_PTRACE"]));
    }

    #[test]
    fn a_copy_is_free_of_its_node_and_selectors() {
        let line = "--copy-to two --container c --set-image *=v2,d=w -- run";
        let (copied, container) = with(line, |debugger| debugger.copy(&pod())).expect("made");
        assert_eq!(container.as_deref(), Some("c"));
        assert_eq!(copied["metadata"], json!({"name": "two", "namespace": "n"}));
        assert!(copied["spec"]["nodeName"].is_null() && copied["spec"]["ephemeralContainers"].is_null());
        let containers = json!([{"name": "c", "image": "v2", "command": ["run"], "readinessProbe": {}}, {"name": "d", "image": "w"}]);
        assert_eq!(copied["spec"]["containers"], containers);
        let line = "--copy-to two --image e -c new --same-node --profile general --keep-labels";
        let (copied, _) = with(line, |debugger| debugger.copy(&pod())).expect("made");
        assert_eq!(
            (&copied["spec"]["nodeName"], &copied["spec"]["containers"][2]["image"]),
            (&json!("node-1"), &json!("e"))
        );
        assert!(
            copied["spec"]["containers"][0]["readinessProbe"].is_null()
                && copied["spec"]["shareProcessNamespace"] == true
        );
        assert_eq!(copied["metadata"]["labels"], json!({"a": "b"}));
    }
}
