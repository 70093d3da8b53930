//! One pod's task: it holds the pod's state, asks [`lifecycle::plan`] what to do
//! whenever anything changed, carries it out ([`crate::actions`]), and writes the
//! status. It sleeps until its slot, one of its jobs, an object that the pod
//! refers to, or a deadline wakes it.
//!
//! At a stop of the kubelet its jobs are dropped: each has then happened as a
//! whole or not at all, and the next kubelet looks at what is there.

use crate::{
    actions::{self, Context, NoImage, NotStarted, StartParts},
    backoff::Backoff,
    events::EventType,
    handle::{ContainerView, PodView},
    lifecycle::{self, Action, Input, Key, Plan},
    memory::{ContainerMemory, ImageMemory, Memory, Retry, StartFailure, Step},
    objects::References,
    observed::Observed,
    probes::{self, Effect, ProbeKind, Probes},
    slot::{News, Slot},
    spec, status, termination,
    translate::{
        mounts::{self, HostVolume},
        pod_labels,
    },
    volumes::{VolumeError, Volumes},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tracing::{debug, info, warn};
use wk_cri::{ContainerId, ContainerState, Error, Filter, Image};

/// How long a status waits for the next quick step, so that a pod that starts in
/// a few milliseconds is written once. Longer than such a start, too short to notice.
const STATUS_SETTLES: Duration = Duration::from_millis(50);

/// How long something that failed for no reason of its own waits.
const RETRY: Duration = Duration::from_secs(1);

/// Delays between tries of volumes and sandboxes: the first, and the longest.
const STEP_RETRY_FIRST: Duration = Duration::from_millis(500);
const STEP_RETRY_LONGEST: Duration = Duration::from_secs(122);

/// How a job ended.
enum Outcome {
    Volumes(Result<Volumes, VolumeError>),
    Sandbox(Result<(), String>),
    Image(String, Result<Image, NoImage>),
    Started(String, Result<ContainerId, NotStarted>),
    Stopped(String, Result<(), Error>),
    Probed { container: String, id: ContainerId, kind: ProbeKind, outcome: probes::Outcome },
    Measured(Result<Option<String>, String>),
    Removed(Result<(), String>),
    Retired(Result<(), String>),
    Deleted(Result<(), String>),
    Erased(Result<(), String>),
    StatusWritten(Result<Option<Box<Pod>>, String>),
}

type Job = BoxFuture<'static, (Option<Key>, Outcome)>;

pub(crate) struct Worker {
    context: Arc<Context>,
    slot: Arc<Slot>,
    pod: Arc<Pod>,
    observed: Observed,
    memory: Memory,
    references: References,
    volumes: BTreeMap<String, HostVolume>,
    jobs: FuturesUnordered<Job>,
    in_flight: BTreeSet<Key>,
    /// What containers left, by id, read once.
    last_words: BTreeMap<ContainerId, String>,
    /// Tries of volumes and of the sandbox that failed in a row.
    failures: BTreeMap<Key, u32>,
    status: StatusWrites,
    erased: bool,
}

/// Where writing the status stands.
#[derive(Default)]
struct StatusWrites {
    /// Since when the API server has an older one.
    behind_since: Option<Timestamp>,
    /// A write is under way.
    writing: bool,
    /// Not before, after a failed write.
    retry_at: Option<Timestamp>,
    /// Waiting reasons as they were last built, for recorded events.
    reasons: BTreeMap<String, String>,
}

impl Worker {
    pub fn new(context: Arc<Context>, slot: Arc<Slot>, pod: Pod) -> Self {
        let references = context.objects.references(&pod);
        Self {
            context,
            slot,
            pod: Arc::new(pod),
            observed: Observed::default(),
            memory: Memory::default(),
            references,
            volumes: BTreeMap::new(),
            jobs: FuturesUnordered::new(),
            in_flight: BTreeSet::new(),
            last_words: BTreeMap::new(),
            failures: BTreeMap::new(),
            status: StatusWrites::default(),
            erased: false,
        }
    }

    /// Works until the pod is gone from the API server and from this node.
    ///
    /// # Errors
    /// None so far: what fails is tried again.
    pub async fn run(mut self) -> Result<(), std::convert::Infallible> {
        info!(pod = %spec::full_name(&self.pod), "pod came");
        self.look().await;
        self.memory = Memory::from_status(&self.pod, &self.observed, self.now());
        self.learn().await;
        while !self.erased {
            let wake_at = self.step();
            self.wait(wake_at).await;
        }
        self.context.handle.forget(spec::uid(&self.pod));
        info!(pod = %spec::full_name(&self.pod), "pod went");
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.context.config.clock.now()
    }

    fn input(&self, now: Timestamp) -> Input<'_> {
        Input {
            pod: &self.pod,
            observed: &self.observed,
            memory: &self.memory,
            in_flight: &self.in_flight,
            status_written: self.status.behind_since.is_none() && !self.status.writing,
            now,
        }
    }

    /// Decides and begins; until when there is nothing more to do.
    fn step(&mut self) -> Option<Timestamp> {
        let now = self.now();
        self.memory.note_pod(&self.pod, now);
        let desired = status::build(&self.input(now), &self.context.host_ips, &self.context.scheme);
        let patch = status::patch(spec::uid(&self.pod), self.pod.status.as_ref(), &desired);
        self.status.behind_since = patch.as_ref().map(|_| self.status.behind_since.unwrap_or(now));
        self.record_back_offs(&desired);
        let Plan { actions, mut wake_at } = lifecycle::plan(&self.input(now));
        actions.into_iter().for_each(|action| self.begin(action, now));
        if let Some(patch) = patch
            && let Some(later) = self.write_status(patch, now)
        {
            wake_at = Some(wake_at.map_or(later, |at| at.min(later)));
        }
        self.publish(desired);
        wake_at
    }

    async fn wait(&mut self, wake_at: Option<Timestamp>) {
        let pause = wake_at.map(|at| Duration::try_from(at.duration_since(self.now())).unwrap_or_default());
        let pause = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.slot.changed() => {
                let news = self.slot.take();
                self.note(news).await;
            }
            Some((key, outcome)) = self.jobs.next(), if !self.jobs.is_empty() => {
                self.end(key, outcome).await;
                // What else has ended is learned in the same step.
                while let Some(Some((key, outcome))) = self.jobs.next().now_or_never() {
                    self.end(key, outcome).await;
                }
            }
            () = self.references.changed() => self.objects_changed(),
            () = pause => {}
        }
    }

    async fn note(&mut self, news: News) {
        if let Some(pod) = news.pod {
            self.take_pod(pod);
        }
        self.memory.gone |= news.gone;
        if news.look {
            self.look().await;
            self.learn().await;
        }
    }

    /// Takes a pod that is not older than the one that is known.
    fn take_pod(&mut self, pod: Pod) {
        let version =
            |pod: &Pod| pod.metadata.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok());
        if let (Some(new), Some(known)) = (version(&pod), version(&self.pod))
            && new < known
        {
            return;
        }
        let words = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
        let reworded = words(&pod) != words(&self.pod);
        let guests = |pod: &Pod| spec::of(pod).ephemeral_containers.as_ref().map_or(0, Vec::len);
        if guests(&pod) != guests(&self.pod) {
            self.references = self.context.objects.references(&pod);
        }
        self.forget_images(&pod);
        self.pod = Arc::new(pod);
        if reworded && self.memory.volumes == Step::Done {
            self.memory.volumes = Step::Wanted; // the downward API tells these
        }
    }

    /// What went wrong with an image says nothing about the one that replaces it in the spec.
    fn forget_images(&mut self, new: &Pod) {
        for (_, container) in spec::containers(new) {
            let before = spec::container(&self.pod, &container.name);
            if before.is_some_and(|(_, before)| before.image != container.image) {
                let memory = self.memory.container_mut(&container.name);
                (memory.image, memory.pulls, memory.start_failure) = (ImageMemory::Wanted, None, None);
            }
        }
    }

    /// Looks at what the runtime has of the pod.
    async fn look(&mut self) {
        let runtime = &self.context.config.runtime;
        let filter = Filter { labels: pod_labels(&self.pod), sandbox: None };
        let listed =
            futures::future::try_join(runtime.list_pod_sandboxes(filter.clone()), runtime.list_containers(filter));
        match listed.await {
            Ok((sandboxes, containers)) => self.observed = Observed { sandboxes, containers },
            Err(error) => {
                warn!(pod = %spec::full_name(&self.pod), %error, "could not list containers");
                self.slot.look();
            }
        }
    }

    /// Learns from the last look: exits, and what exited containers left.
    async fn learn(&mut self) {
        for container in &self.observed.containers {
            if !matches!(container.state, ContainerState::Exited { .. }) || self.last_words.contains_key(&container.id)
            {
                continue;
            }
            let Some((_, container_spec)) = spec::container(&self.pod, &container.metadata.name) else { continue };
            let container_spec = container_spec.as_ref();
            let mounts = mounts::mounts(container_spec, &self.volumes, &[]).unwrap_or_default();
            let root_dir = &self.context.config.root_dir;
            let words = termination::message(root_dir, &self.pod, container_spec, &mounts, container).await;
            self.last_words.insert(container.id.clone(), words);
        }
        let present: BTreeSet<_> = self.observed.containers.iter().map(|container| &container.id).collect();
        self.last_words.retain(|id, _| present.contains(id));
        let now = self.now();
        self.memory.note_observed(&self.observed, &self.context.scheme, &self.last_words, now);
        let running: Vec<_> =
            self.observed.running().map(|found| (found.metadata.name.clone(), found.id.clone())).collect();
        running.iter().for_each(|(name, id)| self.adopt(name, id));
    }

    /// Begins to probe a container that an earlier kubelet started.
    fn adopt(&mut self, name: &str, id: &ContainerId) {
        let memory = self.memory.container_mut(name);
        if memory.started.as_ref() != Some(id) || memory.probes_of.as_ref() == Some(id) {
            return;
        }
        let now = self.context.config.clock.now();
        let Some((_, container)) = spec::container(&self.pod, name) else { return };
        memory.probes = Probes::of(&container, now);
        memory.probes_of = Some(id.clone());
    }

    /// An object that the pod refers to has changed.
    fn objects_changed(&mut self) {
        for memory in self.memory.containers.values_mut() {
            memory.start_failure.take_if(|failure| failure.retry == Retry::OnChange);
        }
        self.memory.volumes = Step::Wanted;
    }

    fn begin(&mut self, action: Action, now: Timestamp) {
        debug!(pod = %spec::full_name(&self.pod), ?action, "began");
        if let Action::GiveUp(verdict) = action {
            let (type_, reason) = match verdict.reason.as_str() {
                "DeadlineExceeded" => (EventType::Normal, "DeadlineExceeded"),
                "Evicted" => (EventType::Warning, "Evicted"),
                _ => (EventType::Warning, "UnsupportedPodSpec"),
            };
            self.context.recorder.pod(&self.pod, type_, reason, verdict.message.clone());
            self.memory.verdict = Some(verdict);
            self.slot.look(); // plan again
            return;
        }
        self.promise(&action, now);
        let key = action.key();
        let Some(work) = self.job(action) else { return };
        self.in_flight.insert(key.clone());
        self.jobs.push(async move { (Some(key), work.await) }.boxed());
    }

    /// What is remembered of an action before it is done.
    fn promise(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::Start { container, .. } => {
                let memory = self.memory.container_mut(container);
                let failed_at = [
                    memory.last_exit().filter(|exit| !exit.is_lost()).map(|exit| exit.finished_at),
                    memory
                        .start_failure
                        .as_ref()
                        .filter(|failure| failure.retry == Retry::AfterBackoff)
                        .map(|failure| failure.at),
                ];
                if let Some(failed_at) = failed_at.into_iter().flatten().max() {
                    memory.restarts = Some(Backoff::raise(memory.restarts, failed_at, now));
                }
                (memory.start_failure, memory.doomed) = (None, None);
            }
            Action::Stop { container, id, grace, .. } => {
                self.memory.container_mut(container).stopping = Some((id.clone(), now + *grace));
            }
            Action::RunSandbox { attempt } => {
                let ran_before = self.memory.containers.values().any(|memory| memory.next_attempt > 0);
                if *attempt > 0 || ran_before {
                    let message = "Pod sandbox changed, it will be killed and re-created.";
                    self.context.recorder.pod(&self.pod, EventType::Normal, "SandboxChanged", message);
                }
            }
            _ => {}
        }
    }

    /// The work of an action; `None` when it has become pointless.
    fn job(&mut self, action: Action) -> Option<BoxFuture<'static, Outcome>> {
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        let sandboxes = || self.observed.sandboxes.iter().map(|sandbox| sandbox.id.clone()).collect();
        let sandbox = || self.observed.ready_sandbox().cloned();
        Some(match action {
            Action::PrepareVolumes => {
                let references = self.references.clone();
                async move { Outcome::Volumes(actions::prepare_volumes(&context, &pod, references).await) }.boxed()
            }
            Action::RunSandbox { attempt } => {
                async move { Outcome::Sandbox(actions::run_sandbox(&context, &pod, attempt).await) }.boxed()
            }
            Action::RemoveSandbox(id) => async move {
                let removed = context.config.runtime.remove_pod_sandbox(&id).await;
                Outcome::Removed(removed.map_err(|error| error.to_string()))
            }
            .boxed(),
            Action::EnsureImage { container } => async move {
                let image = actions::ensure_image(&context, &pod, &container).await;
                Outcome::Image(container, image)
            }
            .boxed(),
            Action::Start { container, attempt, .. } => {
                let memory = self.memory.container_mut(&container);
                let ImageMemory::Here(image) = std::mem::take(&mut memory.image) else { return None };
                let parts = StartParts {
                    name: container.clone(),
                    attempt,
                    sandbox: self.observed.ready_sandbox()?.clone(),
                    image,
                    volumes: self.volumes.clone(),
                    references: self.references.clone(),
                };
                async move { Outcome::Started(container, actions::start(&context, &pod, parts).await) }.boxed()
            }
            Action::Stop { container, id, grace, message } => {
                let sandbox = sandbox();
                async move {
                    let stopped = actions::stop(&context, &pod, &container, &id, sandbox, (grace, message)).await;
                    Outcome::Stopped(container, stopped)
                }
                .boxed()
            }
            Action::RemoveContainer(id) => {
                let found = self.observed.containers.iter().find(|container| container.id == id);
                let log = found.map(|container| container.log_path.clone());
                async move { Outcome::Removed(actions::remove_container(&context, &id, log).await) }.boxed()
            }
            Action::Probe { container, id, kind } => {
                let target = context.target(&sandbox()?, &id);
                async move {
                    let outcome = actions::probe(&context, &pod, &container, target, kind).await;
                    Outcome::Probed { container, id, kind, outcome }
                }
                .boxed()
            }
            Action::MeasureDisk(limits) => {
                let containers = self.observed.containers.iter();
                let containers =
                    containers.map(|container| (container.metadata.name.clone(), container.id.clone())).collect();
                async move { Outcome::Measured(actions::measure(&context, &pod, &limits, containers).await) }.boxed()
            }
            Action::Retire => {
                let sandboxes = sandboxes();
                async move { Outcome::Retired(actions::retire(&context, &pod, sandboxes).await) }.boxed()
            }
            Action::DeleteObject => {
                async move { Outcome::Deleted(actions::delete_object(&context, &pod).await) }.boxed()
            }
            Action::Erase => {
                let sandboxes = sandboxes();
                async move { Outcome::Erased(actions::erase(&context, &pod, sandboxes).await) }.boxed()
            }
            Action::GiveUp(_) => return None,
        })
    }

    async fn end(&mut self, key: Option<Key>, outcome: Outcome) {
        let now = self.now();
        if let Some(key) = &key {
            self.in_flight.remove(key);
        }
        let changed_runtime = !matches!(
            outcome,
            Outcome::Volumes(_)
                | Outcome::Image(..)
                | Outcome::Probed { .. }
                | Outcome::Measured(_)
                | Outcome::Deleted(_)
                | Outcome::StatusWritten(_)
        );
        if changed_runtime {
            self.look().await;
        }
        match outcome {
            Outcome::Volumes(result) => self.end_volumes(result, now),
            Outcome::Sandbox(result) => {
                self.memory.sandbox = match result {
                    Ok(()) => self.succeeded(Key::Sandbox),
                    Err(message) => self.failed(Key::Sandbox, message, now),
                };
            }
            Outcome::Image(container, result) => self.end_image(&container, result, now),
            Outcome::Started(container, result) => self.end_start(&container, result, now),
            Outcome::Stopped(container, result) => {
                if let Err(error) = result {
                    warn!(pod = %spec::full_name(&self.pod), container, %error, "could not stop a container");
                    self.memory.container_mut(&container).stopping = None;
                    self.block(key, now);
                }
            }
            Outcome::Probed { container, id, kind, outcome } => self.end_probe(&container, &id, kind, outcome, now),
            Outcome::Measured(result) => {
                self.memory.measured_at = Some(now);
                match result {
                    Ok(excess) => self.memory.excess = excess,
                    Err(error) => {
                        warn!(pod = %spec::full_name(&self.pod), %error, "could not measure the pod's use of the disk");
                    }
                }
            }
            Outcome::Retired(result) => self.memory.retired = self.well(key, result, now),
            Outcome::Deleted(result) => self.memory.deleted = self.well(key, result, now),
            Outcome::Erased(result) => self.erased = self.well(key, result, now),
            Outcome::Removed(result) => drop(self.well(key, result, now)),
            Outcome::StatusWritten(result) => self.end_status(result, now),
        }
        if changed_runtime {
            self.learn().await;
        }
    }

    /// Whether it went well; if not, it is said, and tried again a little later.
    fn well(&mut self, key: Option<Key>, result: Result<(), String>, now: Timestamp) -> bool {
        if let Err(error) = &result {
            warn!(pod = %spec::full_name(&self.pod), ?key, %error, "could not clean up");
            self.block(key, now);
        }
        result.is_ok()
    }

    fn block(&mut self, key: Option<Key>, now: Timestamp) {
        self.memory.blocked.retain(|_, until| *until > now);
        self.memory.blocked.extend(key.map(|key| (key, now + RETRY)));
    }

    fn succeeded(&mut self, key: Key) -> Step {
        self.failures.remove(&key);
        Step::Done
    }

    fn failed(&mut self, key: Key, message: String, now: Timestamp) -> Step {
        let failures = self.failures.entry(key).or_default();
        let delay = STEP_RETRY_FIRST * 2_u32.saturating_pow((*failures).min(16));
        *failures += 1;
        Step::Failed { message, retry_at: Some(now + delay.min(STEP_RETRY_LONGEST)) }
    }

    fn end_volumes(&mut self, result: Result<Volumes, VolumeError>, now: Timestamp) {
        self.memory.volumes = match result {
            Ok(volumes) => {
                self.volumes = volumes.by_name;
                self.memory.volumes_refresh_at = volumes.refresh_at;
                self.succeeded(Key::Volumes)
            }
            Err(error) if error.waits_for_objects => Step::Failed { message: error.to_string(), retry_at: None },
            Err(error) => self.failed(Key::Volumes, error.to_string(), now),
        };
    }

    fn end_image(&mut self, container: &str, result: Result<Image, NoImage>, now: Timestamp) {
        let memory = self.memory.container_mut(container);
        memory.image = match result {
            Ok(image) => {
                memory.pulls = None;
                ImageMemory::Here(image)
            }
            Err(NoImage { reason, message }) => {
                let backoff = Backoff::raise(memory.pulls, now, now);
                memory.pulls = Some(backoff);
                ImageMemory::Missing { reason: reason.to_owned(), message, at: now, backoff }
            }
        };
    }

    fn end_start(&mut self, name: &str, result: Result<ContainerId, NotStarted>, now: Timestamp) {
        let container = spec::container(&self.pod, name).map(|(_, container)| container);
        let memory: &mut ContainerMemory = self.memory.containers.entry(name.to_owned()).or_default();
        match result {
            Ok(id) => {
                memory.probes = container.as_deref().map(|container| Probes::of(container, now)).unwrap_or_default();
                (memory.started, memory.probes_of) = (Some(id.clone()), Some(id));
            }
            Err(NotStarted { reason, message, retry }) => {
                memory.start_failure = Some(StartFailure { reason: reason.to_owned(), message, at: now, retry });
            }
        }
    }

    fn end_probe(&mut self, name: &str, id: &ContainerId, kind: ProbeKind, outcome: probes::Outcome, now: Timestamp) {
        let memory = self.memory.containers.entry(name.to_owned()).or_default();
        if memory.started.as_ref() != Some(id) {
            return; // of a container that is history
        }
        let word = kind.name();
        let record =
            |reason, message| self.context.recorder.container(&self.pod, name, EventType::Warning, reason, message);
        let (passed, problem) = match outcome {
            probes::Outcome::Passed => (true, String::new()),
            probes::Outcome::Warned(text) => {
                record("ProbeWarning", format!("{word} probe warning: {text}"));
                (true, String::new())
            }
            probes::Outcome::Failed(problem) => (false, problem),
            probes::Outcome::Errored(error) => {
                record("Unhealthy", format!("{word} probe errored and resulted in unknown state: {error}"));
                return memory.probes.skip(kind, now);
            }
        };
        let effect = memory.probes.record(kind, passed, now);
        if effect == Effect::None {
            return;
        }
        record("Unhealthy", format!("{word} probe failed: {problem}"));
        if effect == Effect::Doomed {
            memory.doomed = Some((id.clone(), kind));
        }
    }

    /// Writes the status unless it should settle first; when to look again then.
    fn write_status(&mut self, patch: serde_json::Value, now: Timestamp) -> Option<Timestamp> {
        if self.status.writing || self.memory.gone {
            return None;
        }
        let quick =
            |key: &Key| !matches!(key, Key::Probe(..) | Key::Stop(_) | Key::Remove(_) | Key::OldSandbox(_) | Key::Disk);
        let settled_at = self.status.behind_since.unwrap_or(now) + STATUS_SETTLES;
        let held_until = if self.in_flight.iter().any(quick) { Some(settled_at) } else { None };
        if let Some(until) = held_until.max(self.status.retry_at).filter(|until| *until > now) {
            return Some(until);
        }
        self.status.writing = true;
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        let write = async move {
            let written = actions::write_status(&context, &pod, patch).await;
            (None, Outcome::StatusWritten(written.map(|pod| pod.map(Box::new))))
        };
        self.jobs.push(write.boxed());
        None
    }

    fn end_status(&mut self, result: Result<Option<Box<Pod>>, String>, now: Timestamp) {
        self.status.writing = false;
        self.status.retry_at = None;
        match result {
            Ok(Some(pod)) => self.take_pod(*pod),
            // The pod is gone or replaced, which the watch will say.
            Ok(None) => self.status.retry_at = Some(now + RETRY),
            Err(error) => {
                warn!(pod = %spec::full_name(&self.pod), %error, "could not write status");
                self.status.retry_at = Some(now + RETRY);
            }
        }
    }

    /// A container that begins to back off is worth a recorded event.
    fn record_back_offs(&mut self, desired: &PodStatus) {
        let lists = status::lists(desired);
        let mut reasons = BTreeMap::new();
        for status in lists {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            let Some(reason) = waiting.and_then(|waiting| waiting.reason.clone()) else { continue };
            let (name, before) = (&status.name, self.status.reasons.get(&status.name));
            let record = |type_, reason, message: String| {
                self.context.recorder.container(&self.pod, name, type_, reason, message)
            };
            match reason.as_str() {
                _ if before == Some(&reason) => {}
                "CrashLoopBackOff" => {
                    let pod = spec::full_name(&self.pod);
                    record(
                        EventType::Warning,
                        "BackOff",
                        format!("Back-off restarting failed container {name} in pod {pod}"),
                    );
                }
                "ImagePullBackOff" => {
                    let image = spec::container(&self.pod, name).and_then(|(_, container)| container.image.clone());
                    let image = image.unwrap_or_default();
                    record(EventType::Normal, "BackOff", format!("Back-off pulling image {image:?}"));
                    record(EventType::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
                }
                _ => {}
            }
            reasons.insert(name.clone(), reason);
        }
        self.status.reasons = reasons;
    }

    fn publish(&self, status: PodStatus) {
        let view = PodView {
            pod: Pod { status: Some(status), ..Pod::clone(&self.pod) },
            sandbox: self.observed.sandbox().map(|sandbox| sandbox.id.clone()),
            containers: self.observed.containers.iter().map(ContainerView::of).collect(),
        };
        self.context.handle.publish(spec::uid(&self.pod), view);
    }
}
