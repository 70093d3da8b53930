//! Liveness, readiness and startup probes: when one is due and what its results
//! mean (pure), and how one is done (at the end, in [`run`], over the files in
//! `probes/`; hooks use these too).
//!
//! One addition to upstream's rules: a guest listens a few milliseconds after its
//! start, so a probe that fails right then is repeated soon ([`SETTLE_FIRST`])
//! without counting as a failure.

mod connection;
mod grpc;
mod http;
#[cfg(test)]
pub(crate) mod servers;
mod target;
mod tls;

pub use target::Target;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use std::time::Duration;
use target::port_number;

/// After a failure right after the start, the first repetition; each next one waits twice as long.
const SETTLE_FIRST: Duration = Duration::from_millis(20);

/// The longest such wait: with it, all repetitions take about 600 ms.
const SETTLE_LONGEST: Duration = Duration::from_millis(320);

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

/// How a probe ended. Texts are upstream's, of what follows `Readiness probe failed: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Passed,
    /// Well, with something to say about it.
    Warned(String),
    /// Badly.
    Failed(String),
    /// It could not be done, which says nothing about the container.
    Errored(String),
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

    /// Forgets a probe that could not be done at `now`: the next one is due in its turn.
    pub fn skip(&mut self, kind: ProbeKind, now: Timestamp) {
        let of_kind = self.states.iter_mut().filter(|state| state.kind == kind);
        of_kind.for_each(|state| state.next_at = now + state.period);
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

/// Does one probe.
pub async fn run(target: &Target, container: &Container, probe: &Probe) -> Outcome {
    let timeout = timeout(probe);
    if let Some(exec) = &probe.exec {
        return target::exec(target, exec, timeout).await;
    }
    if let Some(action) = &probe.http_get {
        return http::probe(target, container, action, timeout).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        return match port_number(container, &tcp.port) {
            Ok(port) => dial(target, port, timeout).await.into(),
            Err(problem) => Outcome::Errored(problem),
        };
    }
    match &probe.grpc {
        Some(action) => grpc::check(target, action, timeout).await.into(),
        None => Outcome::Errored(format!("missing probe handler for {}", container.name)),
    }
}

/// Asks for a path, for a hook: any answer will do.
///
/// # Errors
/// Why there was none.
pub async fn get(
    target: &Target,
    container: &Container,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Result<(), String> {
    http::get(target, port_number(container, &action.port)?, action, timeout).await.map(drop)
}

async fn dial(target: &Target, port: u16, timeout: Duration) -> Result<(), String> {
    let late = |_| format!("dial tcp {}: i/o timeout", target::host_port(&target.address, port));
    tokio::time::timeout(timeout, target::connect(target, port)).await.map_err(late)?.map(drop)
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

#[cfg(test)]
#[path = "probes/tests.rs"]
mod tests;
