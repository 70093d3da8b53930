//! `postStart` and `preStop`: a command, an HTTP request, or a pause.

use crate::probes::{self, Target};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::time::Duration;

/// Runs a hook for at most `timeout`.
///
/// # Errors
/// Why it failed.
pub async fn run(
    target: &Target,
    pod: &Pod,
    container: &Container,
    hook: &LifecycleHandler,
    timeout: Duration,
) -> Result<(), String> {
    let work = async {
        if let Some(exec) = &hook.exec {
            return probes::run_exec(target, exec, timeout).await;
        }
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())).await;
            return Ok(());
        }
        if let Some(http) = &hook.http_get {
            return probes::run_http(target, pod, container, http).await;
        }
        Err("the hook has no exec, httpGet or sleep".to_owned())
    };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(format!("timed out after {timeout:?}")))
}
