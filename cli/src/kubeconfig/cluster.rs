//! The entries of a local cluster in the user's kubeconfig: a cluster and a
//! context of one name, and a user. They are recognised again by the authority
//! that signed the cluster's certificates, which no other cluster has.

use super::{Document, Kubeconfig, Section};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The name of the user that a cluster's context belongs with.
fn user_of(name: &str) -> String {
    format!("{name}-admin")
}

/// The cluster and the user of the kubeconfig that a server wrote.
///
/// # Errors
/// When it does not have them.
fn parts(server: &Document) -> Result<(&Value, &Value)> {
    let cluster = server.entries(Section::Clusters).next().context("the server's kubeconfig has no cluster")?.1;
    let user = server.entries(Section::Users).next().context("the server's kubeconfig has no user")?.1;
    Ok((cluster, user))
}

fn authority(cluster: &Value) -> Option<&str> {
    cluster["certificate-authority-data"].as_str()
}

/// Adds the cluster of a server's own kubeconfig under `name`, or brings it up to
/// date, and makes it the current one. The rest of a context, such as its
/// namespace, stays.
///
/// # Errors
/// When `name` is that of a context which this program has not made.
pub fn add(config: &mut Kubeconfig, name: &str, server: &Document) -> Result<()> {
    let (cluster, user) = parts(server)?;
    let merged = config.merged();
    let user_name = user_of(name);
    let known = merged.get(Section::Contexts, name);
    if known.is_some_and(|known| known["cluster"] != name || known["user"] != *user_name) {
        bail!("the kubeconfig has a context {name:?} of something else; give this one another name with --context");
    }
    let mut context = known.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    context.insert("cluster".to_owned(), name.into());
    context.insert("user".to_owned(), json!(user_name));
    let entries = [
        (Section::Clusters, name, cluster.clone()),
        (Section::Users, user_name.as_str(), user.clone()),
        (Section::Contexts, name, Value::Object(context)),
    ];
    for (section, name, content) in entries {
        config.document_of(section, name).set(section, name, content);
    }
    config.set_current_context(name);
    Ok(())
}

/// Removes what [`add`] made for the cluster of a server's own kubeconfig; the
/// names of the contexts. What other contexts use stays.
///
/// # Errors
/// When the server's kubeconfig is not one.
pub fn remove(config: &mut Kubeconfig, server: &Document) -> Result<Vec<String>> {
    let ours = authority(parts(server)?.0).map(str::to_owned);
    let merged = config.merged();
    let is_ours = |name: &str, context: &Value| {
        context["cluster"] == name
            && context["user"] == *user_of(name)
            && ours.is_some()
            && merged.get(Section::Clusters, name).and_then(authority) == ours.as_deref()
    };
    let contexts = merged.entries(Section::Contexts).filter(|(name, context)| is_ours(name, context));
    let removed: Vec<String> = contexts.map(|(name, _)| name.to_owned()).collect();
    for name in &removed {
        config.remove(Section::Contexts, name);
        let left = config.merged();
        let is_used = |key: &str, wanted: &str| left.entries(Section::Contexts).any(|(_, found)| found[key] == *wanted);
        if !is_used("cluster", name) {
            config.remove(Section::Clusters, name);
        }
        let user = user_of(name);
        if !is_used("user", &user) {
            config.remove(Section::Users, &user);
        }
        if left.current_context() == Some(name) {
            config.set_current_context("");
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeconfig::Sources;

    const THEIRS: &str = "\
clusters: [{name: work, cluster: {server: https://work}}]
contexts: [{name: work, context: {cluster: work, user: me}}]
users: [{name: me, user: {token: t}}]
current-context: work
";

    fn server(port: u16, authority: &str) -> Document {
        let text = json!({
            "clusters": [{"name": "wk", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": authority,
            }}],
            "users": [{"name": "wk-admin", "user": {"client-key-data": authority}}],
        });
        Document::parse(&text.to_string()).expect("valid")
    }

    fn with_file<T>(content: &str, work: impl FnOnce(&Sources) -> T) -> T {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config");
        std::fs::write(&path, content).expect("writes");
        work(&Sources { paths: vec![path] })
    }

    #[test]
    fn a_cluster_comes_and_goes_without_a_trace() {
        with_file(THEIRS, |sources| {
            let before = sources.read().expect("reads").merged();
            sources.edit(|config| add(config, "wk", &server(1, "CA"))).expect("adds");
            sources.edit(|config| add(config, "wk", &server(2, "CA"))).expect("updates");
            let merged = sources.read().expect("reads").merged();
            assert_eq!(merged.current_context(), Some("wk"));
            assert_eq!(merged.get(Section::Clusters, "wk").expect("there")["server"], "https://127.0.0.1:2");
            assert_eq!(merged.entries(Section::Contexts).count(), 2);

            let other = sources.edit(|config| remove(config, &server(2, "another"))).expect("looks");
            assert!(other.is_empty(), "a cluster with another authority is not this one");
            let removed = sources.edit(|config| remove(config, &server(2, "CA"))).expect("removes");
            assert_eq!(removed, ["wk"]);
            let mut after = sources.read().expect("reads").merged();
            assert_eq!(after.current_context(), None);
            after.set_current_context("work");
            assert_eq!(after.to_value(), before.to_value());
        });
    }

    #[test]
    fn a_namespace_that_the_user_has_set_stays() {
        with_file("", |sources| {
            sources.edit(|config| add(config, "wk", &server(1, "CA"))).expect("adds");
            let change = |config: &mut Kubeconfig| {
                let context = json!({"cluster": "wk", "user": "wk-admin", "namespace": "mine"});
                config.document_of(Section::Contexts, "wk").set(Section::Contexts, "wk", context);
                Ok(())
            };
            sources.edit(change).expect("changes");
            sources.edit(|config| add(config, "wk", &server(1, "CA"))).expect("adds again");
            let merged = sources.read().expect("reads").merged();
            assert_eq!(merged.get(Section::Contexts, "wk").expect("there")["namespace"], "mine");
        });
    }

    #[test]
    fn a_context_of_something_else_is_not_taken_over() {
        with_file(THEIRS, |sources| {
            let error = sources.edit(|config| add(config, "work", &server(1, "CA"))).expect_err("theirs");
            assert!(error.to_string().contains("--context"), "{error}");
            assert_eq!(sources.read().expect("reads").merged().current_context(), Some("work"));
        });
    }

    #[test]
    fn what_another_context_uses_stays() {
        with_file("", |sources| {
            sources.edit(|config| add(config, "wk", &server(1, "CA"))).expect("adds");
            let second = json!({"cluster": "wk", "user": "wk-admin", "namespace": "two"});
            let change = |config: &mut Kubeconfig| {
                config.document_of(Section::Contexts, "two").set(Section::Contexts, "two", second);
                Ok(())
            };
            sources.edit(change).expect("changes");
            assert_eq!(sources.edit(|config| remove(config, &server(1, "CA"))).expect("removes"), ["wk"]);
            let merged = sources.read().expect("reads").merged();
            assert!(merged.get(Section::Clusters, "wk").is_some() && merged.get(Section::Users, "wk-admin").is_some());
        });
    }
}
