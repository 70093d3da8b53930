//! What a probe or a hook is done to, and how it is reached: a pod's address need
//! not be reachable from the kubelet, so connections go through the runtime's
//! `port_forward`, commands through its `exec_sync`.

use super::Outcome;
use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, ExecAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use std::{sync::Arc, time::Duration};
use wk_cri::{ByteStream, ContainerId, Error, RuntimeService, SandboxId};

/// How much of a command's output a failed probe says (upstream: `maxReadLength`).
const EXEC_OUTPUT_BYTES_MAX: usize = 10 * 1024;

/// What a probe is done to.
#[derive(Clone)]
pub struct Target {
    /// The runtime that has it.
    pub runtime: Arc<dyn RuntimeService>,
    /// The pod's sandbox.
    pub sandbox: SandboxId,
    /// The container.
    pub container: ContainerId,
    /// The pod's address, for `Host` headers and messages.
    pub address: String,
}

/// Runs a command in the container; its exit code decides.
pub(super) async fn exec(target: &Target, exec: &ExecAction, timeout: Duration) -> Outcome {
    let command = exec.command.clone().unwrap_or_default();
    let shown = command.join(" ");
    let late = || Outcome::Failed(format!("command timed out: {shown:?} timed out after {timeout:?}"));
    let run = target.runtime.exec_sync(&target.container, command, timeout);
    let output = match tokio::time::timeout(timeout, run).await {
        Err(_) | Ok(Err(Error::DeadlineExceeded(_))) => return late(),
        Ok(Err(error)) => return Outcome::Errored(rpc(&error)),
        Ok(Ok(output)) => output,
    };
    if output.exit_code == 0 {
        return Outcome::Passed;
    }
    let mut text = [output.stdout, output.stderr].concat();
    text.truncate(EXEC_OUTPUT_BYTES_MAX);
    Outcome::Failed(String::from_utf8_lossy(&text).into_owned())
}

/// A runtime's error as the CRI's clients print it.
fn rpc(error: &Error) -> String {
    let code = match error {
        Error::NotFound(_) => "NotFound",
        Error::AlreadyExists(_) => "AlreadyExists",
        Error::FailedPrecondition(_) => "FailedPrecondition",
        Error::InvalidArgument(_) => "InvalidArgument",
        Error::ResourceExhausted(_) => "ResourceExhausted",
        Error::Unavailable(_) => "Unavailable",
        Error::DeadlineExceeded(_) => "DeadlineExceeded",
        Error::Unimplemented(_) => "Unimplemented",
        Error::Internal(_) => "Unknown",
    };
    format!("rpc error: code = {code} desc = {error}")
}

/// A connection to a port of the pod.
///
/// # Errors
/// Why there is none, as Go says it.
pub(super) async fn connect(target: &Target, port: u16) -> Result<ByteStream, String> {
    let refused = |error: Error| match error {
        Error::Unavailable(_) => {
            format!("dial tcp {}: connect: connection refused", host_port(&target.address, port))
        }
        other => other.to_string(),
    };
    target.runtime.port_forward(&target.sandbox, port).await.map_err(refused)
}

/// A host and a port as URLs have them.
pub(super) fn host_port(host: &str, port: u16) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") }
}

/// A port by number, or by its name in the container's `ports`.
///
/// # Errors
/// As upstream: a name that no port has was perhaps meant as a number.
pub(super) fn port_number(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(name) => {
            let named = |port: &&ContainerPort| port.name.as_deref() == Some(name);
            let found = container.ports.iter().flatten().find(named).map(|port| i64::from(port.container_port));
            let number = found.or_else(|| name.parse().ok());
            number.ok_or_else(|| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?
        }
    };
    let found = u16::try_from(number).ok().filter(|number| *number != 0);
    found.ok_or_else(|| format!("invalid port number: {number}"))
}
