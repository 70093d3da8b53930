//! From the names in a path to what the kubelet's workers last saw.

use super::{
    Config, Error,
    route::{ContainerPath, PodPath},
};
use crate::handle::{ContainerView, LogError, PodView};
use std::sync::Arc;
use wk_cri::{ContainerId, SandboxId};

/// The pod.
///
/// # Errors
/// [`Error::NotFound`].
pub fn pod(config: &Config, path: &PodPath) -> Result<Arc<PodView>, Error> {
    let pod = config.kubelet.pod(&path.namespace, &path.name, path.uid.as_deref());
    pod.ok_or_else(|| Error::NotFound("pod does not exist".to_owned()))
}

/// The sandbox that the pod's connections go to.
///
/// # Errors
/// [`Error::NotFound`] when it has none.
pub fn sandbox(config: &Config, path: &PodPath) -> Result<SandboxId, Error> {
    let PodPath { namespace, name, .. } = path;
    let none = || Error::NotFound(format!("failed to find sandbox for pod {name}_{namespace}"));
    pod(config, path)?.sandbox.clone().ok_or_else(none)
}

/// The running container that a command goes to.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub fn running_container(config: &Config, path: &ContainerPath) -> Result<ContainerId, Error> {
    let pod = pod(config, &path.pod)?;
    let container = pod.running_container(&path.container).map(|container| container.id.clone());
    container.ok_or_else(|| Error::NotFound(format!("container not found (\"{}\")", path.container)))
}

/// Which run of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The newest that has a log.
    Latest,
    /// The one before.
    Previous,
}

/// The container whose log is meant.
///
/// # Errors
/// [`Error::NotFound`] for a name that the pod does not have, else
/// [`Error::BadRequest`] with the reason why there is no log.
pub fn logged_container<'a>(pod: &'a PodView, container: &str, run: Run) -> Result<&'a ContainerView, Error> {
    let path = match run {
        Run::Latest => pod.log_path(container),
        Run::Previous => pod.previous_log_path(container),
    };
    let path = path.map_err(|error| match error {
        LogError::NoSuchContainer { .. } => Error::NotFound(error.to_string()),
        LogError::Waiting { .. } | LogError::NoPrevious { .. } => Error::BadRequest(error.to_string()),
    })?;
    let logged = pod.containers.iter().find(|view| view.log_path == path);
    Ok(logged.expect("the path is one of the pod's containers'"))
}
