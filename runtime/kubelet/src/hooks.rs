//! `postStart` and `preStop`: a command, an HTTP request, or a pause
//! (upstream: `pkg/kubelet/lifecycle/handlers.go`).

use crate::{
    probes::{self, Target},
    spec,
};
use k8s_openapi::api::core::v1::{Container, ExecAction, LifecycleHandler, Pod};
use std::time::Duration;

/// Why a hook came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed.
    Failed(String),
    /// It was still at it when its time was over.
    Late,
}

/// Runs a hook for at most `timeout`.
///
/// # Errors
/// Why it came to nothing, in upstream's words.
pub async fn run(
    target: &Target,
    pod: &Pod,
    container: &Container,
    hook: &LifecycleHandler,
    timeout: Duration,
) -> Result<(), Failure> {
    let work = async {
        let of = format!("for Container {:?} in Pod {:?} failed", container.name, spec::full_name(pod));
        if let Some(exec) = &hook.exec {
            let failed = |(error, output)| {
                let command = exec.command.clone().unwrap_or_default().join(" ");
                format!("Exec lifecycle hook ([{command}]) {of} - error: {error}, message: {output:?}")
            };
            return run_exec(target, exec, timeout).await.map_err(failed);
        }
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())).await;
            return Ok(());
        }
        if let Some(http) = &hook.http_get {
            let failed = |error| {
                let path = http.path.as_deref().unwrap_or_default();
                format!("HTTP lifecycle hook ({path}) {of} - error: {error}, message: \"\"")
            };
            return probes::get(target, container, http, timeout).await.map_err(failed);
        }
        Err("Cannot run handler: invalid handler: it has no exec, httpGet or sleep".to_owned())
    };
    let done = tokio::time::timeout(timeout, work).await.map_err(|_| Failure::Late)?;
    done.map_err(Failure::Failed)
}

/// A command; on failure what went wrong, and what it wrote.
async fn run_exec(target: &Target, exec: &ExecAction, timeout: Duration) -> Result<(), (String, String)> {
    let command = exec.command.clone().unwrap_or_default();
    let run = target.runtime.exec_sync(&target.container, command, timeout).await;
    let output = run.map_err(|error| (error.to_string(), String::new()))?;
    if output.exit_code == 0 {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let command = exec.command.clone().unwrap_or_default().join(" ");
    Err((format!("command '{command}' exited with {}: {text}", output.exit_code), text))
}
