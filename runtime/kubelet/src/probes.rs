//! Liveness, readiness and startup probes: when one is due and what its results
//! mean (pure), and how one is done (at the end, in [`run`]).
//!
//! HTTP and TCP probes go through the runtime's `port_forward`: a pod's address
//! need not be reachable from the kubelet. One addition to upstream's rules: a
//! guest listens a few milliseconds after its start, so a probe that fails right
//! then is repeated soon ([`SETTLE_FIRST`]) without counting as a failure.

use crate::spec;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, ExecAction, HTTPGetAction, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use std::{sync::Arc, time::Duration};
use wk_cri::{ByteStream, ContainerId, Error, RuntimeService, SandboxId};

/// After a failure right after the start, the first repetition; each next one waits twice as long.
const SETTLE_FIRST: Duration = Duration::from_millis(20);

/// The longest such wait: with it, all repetitions take about 600 ms.
const SETTLE_LONGEST: Duration = Duration::from_millis(320);

/// How much of an HTTP answer a probe reads (upstream: `maxRespBodyLength`).
const HTTP_BODY_BYTES_MAX: usize = 10 * 1024;

/// How much of a command's output a failed probe says (upstream: `maxReadLength`).
const EXEC_OUTPUT_BYTES_MAX: usize = 10 * 1024;

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Holds the others back until it has passed once.
    Startup,
    /// Decides whether the container gets requests.
    Readiness,
    /// Decides whether the container is restarted.
    Liveness,
}

impl ProbeKind {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// The probe of this kind in the spec.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// The probes of one running container.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    states: Vec<ProbeState>,
}

#[derive(Clone, Debug)]
struct ProbeState {
    kind: ProbeKind,
    initial_delay: Duration,
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    passed: bool,
    ever_passed: bool,
    /// Results in a row that were the same as the last one.
    successes: u32,
    failures: u32,
    settle: Duration,
    next_at: Timestamp,
}

/// What a result means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing for anybody.
    None,
    /// It is worth a recorded event.
    Unhealthy,
    /// It is, and the container must be restarted.
    Doomed,
}

fn seconds(value: Option<i32>, default: u32) -> Duration {
    Duration::from_secs(value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).into())
}

fn threshold(value: Option<i32>, default: u32) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
}

/// How long one try may take.
pub fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

impl Probes {
    /// The probes of a container that started at `started_at`.
    pub fn of(container: &Container, started_at: Timestamp) -> Self {
        let state = |kind: ProbeKind| {
            let probe = kind.of(container)?;
            let initial_delay = seconds(probe.initial_delay_seconds, 0);
            Some(ProbeState {
                kind,
                initial_delay,
                period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
                success_threshold: threshold(probe.success_threshold, 1),
                failure_threshold: threshold(probe.failure_threshold, 3),
                passed: kind == ProbeKind::Liveness,
                ever_passed: false,
                successes: 0,
                failures: 0,
                settle: SETTLE_FIRST,
                next_at: started_at + initial_delay,
            })
        };
        Self {
            states: [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness]
                .into_iter()
                .filter_map(state)
                .collect(),
        }
    }

    /// Whether the startup probe, if any, has passed.
    pub fn is_started(&self) -> bool {
        self.get(ProbeKind::Startup).is_none_or(|state| state.passed)
    }

    /// Whether the readiness probe, if any, passes.
    pub fn is_ready(&self) -> bool {
        self.get(ProbeKind::Readiness).is_none_or(|state| state.passed)
    }

    /// Which probes are to be done from when on.
    pub fn schedule(&self) -> impl Iterator<Item = (ProbeKind, Timestamp)> {
        let started = self.is_started();
        let active = move |state: &&ProbeState| (state.kind == ProbeKind::Startup) != started;
        self.states.iter().filter(active).map(|state| (state.kind, state.next_at))
    }

    /// Learns the result of a probe that ended at `now`.
    pub fn record(&mut self, kind: ProbeKind, passed: bool, now: Timestamp) -> Effect {
        let Some(state) = self.states.iter_mut().find(|state| state.kind == kind) else { return Effect::None };
        let effect = state.record(passed, now);
        if kind == ProbeKind::Startup && state.passed {
            let waiting = self.states.iter_mut().filter(|state| state.kind != ProbeKind::Startup);
            waiting.for_each(|state| state.next_at = state.next_at.max(now));
        }
        effect
    }

    fn get(&self, kind: ProbeKind) -> Option<&ProbeState> {
        self.states.iter().find(|state| state.kind == kind)
    }
}

impl ProbeState {
    fn record(&mut self, passed: bool, now: Timestamp) -> Effect {
        self.next_at = now + self.period;
        if passed {
            (self.successes, self.failures, self.ever_passed) = (self.successes + 1, 0, true);
            self.passed |= self.successes >= self.success_threshold;
            return Effect::None;
        }
        if self.settles() {
            self.next_at = now + self.settle;
            self.settle *= 2;
            return Effect::None;
        }
        (self.successes, self.failures) = (0, self.failures + 1);
        if self.failures < self.failure_threshold {
            return Effect::Unhealthy;
        }
        self.passed = self.kind == ProbeKind::Liveness;
        match self.kind {
            ProbeKind::Readiness => Effect::Unhealthy,
            ProbeKind::Startup | ProbeKind::Liveness => Effect::Doomed,
        }
    }

    /// Whether a failure is still the start's. A probe with an initial delay
    /// has been told when the start is over.
    fn settles(&self) -> bool {
        !self.ever_passed && self.failures == 0 && self.initial_delay.is_zero() && self.settle <= SETTLE_LONGEST
    }
}

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

/// Does one probe.
///
/// # Errors
/// What is wrong, as upstream words it after `Readiness probe failed: `.
pub async fn run(target: &Target, pod: &Pod, container: &Container, probe: &Probe) -> Result<(), String> {
    let timeout = timeout(probe);
    if let Some(exec) = &probe.exec {
        return run_exec(target, exec, timeout).await;
    }
    let attempt = async {
        if let Some(http) = &probe.http_get {
            return run_http(target, pod, container, http).await;
        }
        if let Some(tcp) = &probe.tcp_socket {
            let port = port_number(container, &tcp.port)?;
            return connect(target, port).await.map(drop);
        }
        Err("the probe has no exec, httpGet or tcpSocket: gRPC probes are not supported on this node".to_owned())
    };
    let late = || Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned());
    tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| late())
}

/// Runs a command in the container; its exit code decides.
///
/// # Errors
/// Its output, or why it could not run.
pub async fn run_exec(target: &Target, exec: &ExecAction, timeout: Duration) -> Result<(), String> {
    let command = exec.command.clone().unwrap_or_default();
    let shown = command.join(" ");
    let late = || format!("command timed out: {shown:?} timed out after {timeout:?}");
    let run = target.runtime.exec_sync(&target.container, command, timeout);
    let output = match tokio::time::timeout(timeout, run).await {
        Err(_) | Ok(Err(Error::DeadlineExceeded(_))) => return Err(late()),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(output)) => output,
    };
    if output.exit_code == 0 {
        return Ok(());
    }
    let mut text = [output.stdout, output.stderr].concat();
    text.truncate(EXEC_OUTPUT_BYTES_MAX);
    Err(String::from_utf8_lossy(&text).into_owned())
}

/// Asks for a path; a status from 200 to 399 is good.
///
/// # Errors
/// The status, or why there was none.
pub async fn run_http(target: &Target, pod: &Pod, container: &Container, action: &HTTPGetAction) -> Result<(), String> {
    if action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS")) {
        return Err("HTTPS probes are not supported on this node".to_owned());
    }
    let port = port_number(container, &action.port)?;
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let host = action.host.clone().unwrap_or_else(|| target.address.clone());
    let url = format!("http://{host}:{port}{path}");
    let failed = |error: String| format!("Get {url:?}: {error}");
    let stream = connect(target, port).await.map_err(failed)?;
    let request = http_request(action, &host, port, &path).map_err(|error| failed(error.to_string()))?;
    let status = exchange(stream, request).await.map_err(|error| failed(error.to_string()))?;
    tracing::trace!(pod = %spec::name(pod), %status, "probed");
    if (200..400).contains(&status.as_u16()) {
        return Ok(());
    }
    Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
}

fn http_request(
    action: &HTTPGetAction,
    host: &str,
    port: u16,
    path: &str,
) -> Result<http::Request<Empty<bytes::Bytes>>, http::Error> {
    let mut request = http::Request::get(path);
    let given = action.http_headers.iter().flatten();
    let has = |name: &str| action.http_headers.iter().flatten().any(|header| header.name.eq_ignore_ascii_case(name));
    let defaults = [
        ("Host", format!("{host}:{port}")),
        ("User-Agent", "kube-probe/1.33".to_owned()),
        ("Accept", "*/*".to_owned()),
        ("Connection", "close".to_owned()),
    ];
    for (name, value) in defaults.into_iter().filter(|(name, _)| !has(name)) {
        request = request.header(name, value);
    }
    for header in given {
        request = request.header(&header.name, &header.value);
    }
    request.body(Empty::new())
}

async fn exchange(
    stream: ByteStream,
    request: http::Request<Empty<bytes::Bytes>>,
) -> Result<http::StatusCode, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        // The answer's text is of no interest, but a guest should see it taken.
        let _ = Limited::new(response.into_body(), HTTP_BODY_BYTES_MAX).collect().await;
        Ok(status)
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased; // an answer that came with the end of the connection is an answer
        status = &mut exchange => status,
        ended = &mut connection => { ended?; exchange.await }
    }
}

async fn connect(target: &Target, port: u16) -> Result<ByteStream, String> {
    let refused = |error: Error| match error {
        Error::Unavailable(_) => format!("dial tcp {}:{port}: connect: connection refused", target.address),
        other => other.to_string(),
    };
    target.runtime.port_forward(&target.sandbox, port).await.map_err(refused)
}

/// A port by number, or by its name in the container's `ports`.
fn port_number(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = |port: &&k8s_openapi::api::core::v1::ContainerPort| port.name.as_deref() == Some(name);
            let found = container.ports.iter().flatten().find(named).map(|port| port.container_port);
            found.or_else(|| name.parse().ok())
        }
    };
    let found = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0);
    found.ok_or_else(|| format!("invalid port number: {port:?}"))
}

#[cfg(test)]
#[path = "probes/tests.rs"]
mod tests;
