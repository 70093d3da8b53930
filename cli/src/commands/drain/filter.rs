//! Which pods of a node a drain may remove (upstream:
//! `kubectl/pkg/drain/filters.go`).

use crate::{
    args::Drain,
    commands::{name_of, namespace_of},
};
use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::Value;

const DAEMON_SET_FATAL: &str = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_SET_WARNING: &str = "ignoring DaemonSet-managed Pods";
const LOCAL_STORAGE_FATAL: &str = "Pods with local storage (use --delete-emptydir-data to override)";
const LOCAL_STORAGE_WARNING: &str = "deleting Pods with local storage";
const UNMANAGED_FATAL: &str = "Pods that declare no controller (use --force to override)";
const UNMANAGED_WARNING: &str = "deleting Pods that declare no controller";

/// On pods that the API server only mirrors.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Goes,
    GoesWithWarning(String),
    Stays,
    StaysWithWarning(String),
    Forbids(String),
}

/// What the flags allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    force: bool,
    ignore_daemonsets: bool,
    delete_emptydir_data: bool,
    skip_deleted_seconds: i64,
    now: Timestamp,
}

/// The DaemonSet that controls a pod.
pub(super) fn daemon_set(pod: &Value) -> Option<&str> {
    let owner = controller(pod)?;
    (owner["kind"] == "DaemonSet" && owner["apiVersion"] == "apps/v1").then(|| owner["name"].as_str())?
}

fn controller(pod: &Value) -> Option<&Value> {
    pod["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

impl Policy {
    pub(super) fn new(args: &Drain, now: Timestamp) -> Self {
        Self {
            force: args.force,
            ignore_daemonsets: args.ignore_daemonsets,
            delete_emptydir_data: args.delete_emptydir_data,
            skip_deleted_seconds: args.skip_wait_for_delete_timeout,
            now,
        }
    }

    /// `daemon_set` says whether the pod's DaemonSet exists, or how it is missing.
    pub(super) fn verdict(&self, pod: &Value, daemon_set: Option<&Result<(), String>>) -> Verdict {
        if self.is_long_deleted(pod) || pod["metadata"]["annotations"][MIRROR].is_string() {
            return Verdict::Stays;
        }
        if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return Verdict::Goes;
        }
        let mut warning = None;
        match daemon_set {
            Some(Err(missing)) if self.force => warning = Some(missing.clone()),
            Some(Err(missing)) => return Verdict::Forbids(missing.clone()),
            Some(Ok(())) if self.ignore_daemonsets => return Verdict::StaysWithWarning(DAEMON_SET_WARNING.to_owned()),
            Some(Ok(())) => return Verdict::Forbids(DAEMON_SET_FATAL.to_owned()),
            None => {}
        }
        let has_local_storage =
            pod["spec"]["volumes"].as_array().into_iter().flatten().any(|volume| !volume["emptyDir"].is_null());
        if has_local_storage && !self.delete_emptydir_data {
            return Verdict::Forbids(LOCAL_STORAGE_FATAL.to_owned());
        }
        if has_local_storage {
            warning = Some(LOCAL_STORAGE_WARNING.to_owned());
        }
        match controller(pod) {
            None if !self.force => return Verdict::Forbids(UNMANAGED_FATAL.to_owned()),
            None => warning = Some(UNMANAGED_WARNING.to_owned()),
            Some(_) => {}
        }
        warning.map_or(Verdict::Goes, Verdict::GoesWithWarning)
    }

    fn is_long_deleted(&self, pod: &Value) -> bool {
        let at = pod["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let is_late = |at: Timestamp| self.now.duration_since(at).as_secs() > self.skip_deleted_seconds;
        self.skip_deleted_seconds > 0 && at.is_some_and(is_late)
    }
}

/// The pods that go, and the warnings of all in one line.
///
/// # Errors
/// What forbids the drain.
pub(super) fn sort_out(verdicts: Vec<(Verdict, Value)>) -> Result<(Vec<Value>, String)> {
    let (mut going, mut warnings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (verdict, pod) in verdicts {
        let named = format!("{}/{}", namespace_of(&pod), name_of(&pod));
        match verdict {
            Verdict::Goes => going.push(pod),
            Verdict::Stays => {}
            Verdict::StaysWithWarning(text) => add(&mut warnings, text, named),
            Verdict::Forbids(text) => add(&mut errors, text, named),
            Verdict::GoesWithWarning(text) => {
                add(&mut warnings, text, named);
                going.push(pod);
            }
        }
    }
    let lines = |groups: Vec<(String, Vec<String>)>, before: &str| -> Vec<String> {
        groups.into_iter().map(|(text, pods)| format!("{before}{text}: {}", pods.join(", "))).collect()
    };
    match lines(errors, "cannot delete ").as_slice() {
        [] => Ok((going, lines(warnings, "").join("; "))),
        [one] => bail!("{one}"),
        several => bail!("[{}]", several.join(", ")),
    }
}

fn add(groups: &mut Vec<(String, Vec<String>)>, text: String, pod: String) {
    match groups.iter_mut().find(|(existing, _)| *existing == text) {
        Some((_, pods)) => pods.push(pod),
        None => groups.push((text, vec![pod])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(args: &Drain) -> Policy {
        Policy::new(args, Timestamp::from_second(1_000).expect("valid"))
    }

    fn managed() -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}})
    }

    #[test]
    fn flags_decide_what_may_go() {
        let none = policy(&Drain::default());
        assert_eq!(none.verdict(&managed(), None), Verdict::Goes);
        let bare = json!({"metadata": {"name": "p"}});
        assert_eq!(none.verdict(&bare, None), Verdict::Forbids(UNMANAGED_FATAL.to_owned()));
        let force = policy(&Drain { force: true, ..Drain::default() });
        assert_eq!(force.verdict(&bare, None), Verdict::GoesWithWarning(UNMANAGED_WARNING.to_owned()));
        assert_eq!(none.verdict(&managed(), Some(&Ok(()))), Verdict::Forbids(DAEMON_SET_FATAL.to_owned()));
        let ignore = policy(&Drain { ignore_daemonsets: true, ..Drain::default() });
        assert_eq!(ignore.verdict(&managed(), Some(&Ok(()))), Verdict::StaysWithWarning(DAEMON_SET_WARNING.to_owned()));
        let mut local = managed();
        local["spec"] = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        assert_eq!(none.verdict(&local, None), Verdict::Forbids(LOCAL_STORAGE_FATAL.to_owned()));
        let mut done = bare.clone();
        done["status"] = json!({"phase": "Succeeded"});
        assert_eq!(none.verdict(&done, None), Verdict::Goes);
        let mut mirror = bare;
        mirror["metadata"]["annotations"] = json!({MIRROR: "x"});
        assert_eq!(force.verdict(&mirror, None), Verdict::Stays);
    }

    #[test]
    fn pods_that_have_long_been_ending_are_left() {
        let mut pod = managed();
        pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:00Z".into();
        let skip = policy(&Drain { skip_wait_for_delete_timeout: 10, ..Drain::default() });
        assert_eq!(skip.verdict(&pod, None), Verdict::Stays);
        assert_eq!(policy(&Drain::default()).verdict(&pod, None), Verdict::Goes);
    }

    #[test]
    fn one_forbidden_pod_stops_all() {
        let warned = Verdict::GoesWithWarning(UNMANAGED_WARNING.to_owned());
        let (going, warnings) = sort_out(vec![(warned.clone(), managed()), (warned, managed())]).expect("allowed");
        assert_eq!((going.len(), warnings.as_str()), (2, "deleting Pods that declare no controller: n/p, n/p"));
        let error =
            sort_out(vec![(Verdict::Goes, managed()), (Verdict::Forbids(DAEMON_SET_FATAL.to_owned()), managed())]);
        let expected = format!("cannot delete {DAEMON_SET_FATAL}: n/p");
        assert_eq!(error.expect_err("forbidden").to_string(), expected);
    }
}
