//! Which cluster a command talks to: kubectl's rules, then the local server.
//!
//! `--kubeconfig`, `$KUBECONFIG`, `~/.kube/config` (upstream:
//! `client-go/tools/clientcmd/loader.go`); when none of them names a cluster,
//! the kubeconfig that `wk server` wrote into its data directory.

use crate::{args::Global, kubeconfig::Sources};
use anyhow::{Context, Result, bail};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use std::path::{Path, PathBuf};

/// A client and the namespace that applies when a command names none.
pub struct Cluster {
    /// The client.
    pub client: kube::Client,
    /// `-n`, else the context's, else `default`.
    pub namespace: String,
    /// URL of the API.
    pub url: String,
    /// Whether `-n` was given.
    pub namespace_given: bool,
}

/// Connects by the rules above. Nothing is sent yet.
///
/// # Errors
/// When no kubeconfig can be read, or the context does not exist.
pub async fn connect(global: &Global) -> Result<Cluster> {
    let mut config = match (kubeconfig(global)?, &global.api) {
        (Some(kubeconfig), None) => of_kubeconfig(kubeconfig, global).await?,
        (Some(kubeconfig), Some(_)) if kubeconfig.current_context.is_some() || global.context.is_some() => {
            of_kubeconfig(kubeconfig, global).await?
        }
        (_, Some(url)) => kube::Config::new(parse_url(url)?),
        (None, None) => bail!(nothing_configured(global)?),
    };
    // A watch is silent for as long as nothing happens.
    config.read_timeout = None;
    config.write_timeout = None;
    choose_server(&mut config, global)?;
    choose_identity(&mut config, global);
    let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let url = config.cluster_url.to_string();
    let client = kube::Client::try_from(config).context("connect to the cluster")?;
    Ok(Cluster { client, namespace, url, namespace_given: global.namespace.is_some() })
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, global: &Global) -> Result<kube::Config> {
    let named = |name: &String| kubeconfig.auth_infos.iter().any(|user| user.name == *name);
    if let Some(user) = global.user.as_ref().filter(|user| !named(user)) {
        bail!("auth info {user:?} does not exist");
    }
    let options = KubeConfigOptions {
        context: global.context.clone(),
        cluster: global.cluster.clone(),
        user: global.user.clone(),
    };
    kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(explain_config)
}

fn parse_url(url: &str) -> Result<http::Uri> {
    let scheme = if url.contains("://") { "" } else { "http://" };
    format!("{scheme}{url}").parse().with_context(|| format!("invalid --server {url:?}"))
}

/// `--server` and how it is recognised, over what the kubeconfig says.
fn choose_server(config: &mut kube::Config, global: &Global) -> Result<()> {
    if let Some(url) = &global.api {
        config.cluster_url = parse_url(url)?;
    }
    if let Some(file) = &global.certificate_authority {
        anyhow::ensure!(file.exists(), "unable to read certificate-authority {}: no such file", file.display());
        config.root_cert_file = Some(file.clone());
    }
    if global.tls_server_name.is_some() {
        config.tls_server_name = global.tls_server_name.clone();
    }
    config.accept_invalid_certs |= global.insecure_skip_tls_verify;
    Ok(())
}

/// `--token`, `--client-certificate` and `--as` over what the kubeconfig says.
fn choose_identity(config: &mut kube::Config, global: &Global) {
    if let Some(token) = &global.token {
        // The server asks a certificate first, so a token is shown alone.
        config.auth_info = AuthInfo { token: Some(token.clone().into()), ..Default::default() };
    }
    let file = |path: &Path| path.display().to_string();
    if let (Some(certificate), Some(key)) = (&global.client_certificate, &global.client_key) {
        let (client_certificate, client_key) = (Some(file(certificate)), Some(file(key)));
        config.auth_info = AuthInfo { client_certificate, client_key, ..Default::default() };
    }
    if global.act_as.is_some() {
        config.auth_info.impersonate = global.act_as.clone();
    }
    if global.act_as_uid.is_some() {
        config.auth_info.impersonate_uid = global.act_as_uid.clone();
    }
    if !global.act_as_group.is_empty() {
        config.auth_info.impersonate_groups = Some(global.act_as_group.clone());
    }
}

/// A client for the cluster of a kubeconfig that a server wrote.
///
/// # Errors
/// When the kubeconfig is not whole.
pub async fn of_document(document: &crate::kubeconfig::Document) -> Result<kube::Client> {
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(document.to_client()?, &options).await.map_err(explain_config)?;
    kube::Client::try_from(config).context("connect to the cluster")
}

fn explain_config(error: kube::config::KubeconfigError) -> anyhow::Error {
    use kube::config::KubeconfigError::{CurrentContextNotSet, LoadClusterOfContext, LoadContext};
    match error {
        LoadContext(name) => anyhow::anyhow!("context {name:?} does not exist"),
        LoadClusterOfContext(name) => anyhow::anyhow!("cluster {name:?} does not exist"),
        CurrentContextNotSet => anyhow::anyhow!("the kubeconfig has no current context; choose one with --context"),
        other => other.into(),
    }
}

/// The kubeconfig that applies; `None` when nothing names a cluster.
fn kubeconfig(global: &Global) -> Result<Option<Kubeconfig>> {
    let found = match Sources::of(global) {
        Ok(sources) => Some(sources.read()?),
        Err(_) => None, // no home directory: there may be a local server all the same
    };
    let is_given = global.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty());
    match found {
        Some(found) if is_given => {
            if !found.exists() {
                bail!("kubeconfig {} does not exist", found.default_path().display());
            }
            return found.merged().to_client().map(Some);
        }
        Some(found) => {
            let merged = found.merged();
            if merged.current_context().is_some() || global.context.is_some() && found.exists() {
                return merged.to_client().map(Some);
            }
        }
        None => {}
    }
    let local = data_dir(global)?.join("kubeconfig");
    if !local.exists() {
        return Ok(None);
    }
    Kubeconfig::read_from(&local).map(Some).with_context(|| format!("read kubeconfig {}", local.display()))
}

fn nothing_configured(global: &Global) -> Result<String> {
    let local = data_dir(global)?.join("kubeconfig");
    Ok(format!(
        "no cluster is configured: neither $KUBECONFIG nor ~/.kube/config names one, and no server has written {}; start one with `wk up`",
        local.display()
    ))
}

/// The user's home directory.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// `--data-dir`, else `$XDG_DATA_HOME/wk`, else `~/.local/share/wk`.
///
/// # Errors
/// When there is no home directory to put it in.
pub fn data_dir(global: &Global) -> Result<PathBuf> {
    if let Some(path) = &global.data_dir {
        return Ok(path.clone());
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()) {
        return Ok(PathBuf::from(data).join("wk"));
    }
    let home = home().context("there is no $HOME to keep the data in; give --data-dir")?;
    Ok(home.join(".local/share/wk"))
}
