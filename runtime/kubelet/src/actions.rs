//! How each action is done: the kubelet's calls to the runtime and to the API
//! server. A worker owns the futures made here; they own copies of all they
//! need, and say how they ended. What it means is the worker's business.

use crate::{
    Config,
    disk::{self, Limits, Usage},
    events::{EventType, Recorder, go_duration},
    handle::KubeletHandle,
    hooks,
    memory::Retry,
    objects::{Objects, References},
    probes::{self, Outcome, ProbeKind, Target},
    spec, termination,
    translate::{self, env, fields::Place, mounts, mounts::HostVolume},
    volumes::{self, Sources, Tokens, VolumeError, Volumes},
};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use wk_cri::{ContainerId, Error, Image, SandboxId, SandboxStatus};

/// The longest a `postStart` hook may take. Upstream has no limit; every wait has one here.
const POST_START_MAX: Duration = Duration::from_secs(600);

/// The shortest time a guest gets to end after its `preStop` (upstream: `minimumGracePeriodInSeconds`).
const GRACE_SHORTEST: Duration = Duration::from_secs(2);

/// What all workers of a kubelet share.
pub(crate) struct Context {
    pub config: Config,
    pub recorder: Recorder,
    pub objects: Arc<Objects>,
    pub handle: KubeletHandle,
    /// The node's addresses, the first one first.
    pub host_ips: Vec<String>,
    /// `wasmtime://`.
    pub scheme: String,
    pub tokens: Tokens,
    /// One look at the disk at a time: a walk opens up to a hundred directories at once.
    pub measuring: Semaphore,
}

/// Why a container was not started.
pub(crate) struct NotStarted {
    pub reason: &'static str,
    pub message: String,
    pub retry: Retry,
}

/// Why an image is not here.
pub(crate) struct NoImage {
    pub reason: &'static str,
    pub message: String,
}

/// What a start needs besides the pod.
pub(crate) struct StartParts {
    pub name: String,
    pub attempt: u32,
    pub sandbox: SandboxStatus,
    pub image: Image,
    pub volumes: BTreeMap<String, HostVolume>,
    pub references: References,
}

impl Context {
    fn place(&self, sandbox: Option<&SandboxStatus>) -> Place {
        let pod_ips = sandbox.map(|sandbox| sandbox.addresses.clone()).unwrap_or_default();
        Place { pod_ips, host_ips: self.host_ips.clone(), capacity: self.config.node.capacity }
    }

    pub fn target(&self, sandbox: &SandboxStatus, container: &ContainerId) -> Target {
        Target {
            runtime: Arc::clone(&self.config.runtime),
            sandbox: sandbox.id.clone(),
            container: container.clone(),
            address: sandbox.addresses.first().map(ToString::to_string).unwrap_or_else(|| "127.0.0.1".to_owned()),
        }
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.config.client.clone(), spec::namespace(pod))
    }
}

/// Makes the pod's volumes.
pub(crate) async fn prepare_volumes(
    context: &Context,
    pod: &Pod,
    mut references: References,
) -> Result<Volumes, VolumeError> {
    references.answered().await;
    let (place, now) = (context.place(None), context.config.clock.now());
    let sources = Sources { pod, references: &references, place: &place, tokens: &context.tokens, now };
    let made = volumes::prepare(&context.config.root_dir, &sources).await;
    match &made {
        Ok(volumes) => {
            let warn = |text: &String| context.recorder.pod(pod, EventType::Warning, "FailedMount", text);
            volumes.warnings.iter().for_each(warn);
        }
        Err(error) => context.recorder.pod(pod, EventType::Warning, "FailedMount", error.to_string()),
    }
    made
}

/// Makes the pod's sandbox; one that exists already is as good.
pub(crate) async fn run_sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<(), String> {
    let made = try_sandbox(context, pod, attempt).await;
    if let Err(error) = &made {
        let message = format!("Failed to create pod sandbox: {error}");
        context.recorder.pod(pod, EventType::Warning, "FailedCreatePodSandBox", message);
    }
    made
}

async fn try_sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<(), String> {
    let config = translate::sandbox(pod, attempt, &context.config.root_dir, &context.config.dns)?;
    std::fs::create_dir_all(&config.log_directory).map_err(|error| format!("make log directory: {error}"))?;
    match context.config.runtime.run_pod_sandbox(config).await {
        Ok(_) | Err(Error::AlreadyExists(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes sure that the container's image is here, as its pull policy says.
pub(crate) async fn ensure_image(context: &Context, pod: &Pod, name: &str) -> Result<Image, NoImage> {
    let Some((_, container)) = spec::container(pod, name) else {
        return Err(NoImage { reason: "InvalidImageName", message: format!("no container {name} in the pod") });
    };
    let container = container.as_ref();
    let image = container.image.as_deref().unwrap_or_default();
    let record = |type_, reason, message: String| context.recorder.container(pod, name, type_, reason, message);
    let failed = |reason: &'static str, message: String| {
        record(EventType::Warning, "Failed", format!("Error: {reason}"));
        NoImage { reason, message }
    };
    let present = match context.config.images.image_status(image).await {
        Ok(present) => present,
        Err(error @ wk_cri::Error::InvalidArgument(_)) => {
            let message = format!("Failed to apply default image tag {image:?}: {error}");
            record(EventType::Warning, "InspectFailed", message.clone());
            return Err(failed("InvalidImageName", message));
        }
        // The name is fine; the store of images is not.
        Err(error) => {
            let message = format!("Failed to inspect image {image:?}: {error}");
            record(EventType::Warning, "InspectFailed", message.clone());
            return Err(failed("ImageInspectError", message));
        }
    };
    match (pull_policy(container), present) {
        ("Never", None) => {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            record(EventType::Warning, "ErrImageNeverPull", message.clone());
            return Err(failed("ErrImageNeverPull", message));
        }
        ("Never" | "IfNotPresent", Some(found)) => {
            let message = format!("Container image {image:?} already present on machine");
            record(EventType::Normal, "Pulled", message);
            return Ok(found);
        }
        _ => {}
    }
    record(EventType::Normal, "Pulling", format!("Pulling image {image:?}"));
    let started = Instant::now();
    match context.config.images.pull_image(image).await {
        Ok(found) => {
            let took =
                go_duration(Duration::from_millis(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)));
            let size = found.size_bytes;
            let message = format!(
                "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
            );
            record(EventType::Normal, "Pulled", message);
            Ok(found)
        }
        Err(error) => {
            record(EventType::Warning, "Failed", format!("Failed to pull image {image:?}: {error}"));
            Err(failed("ErrImagePull", error.to_string()))
        }
    }
}

/// The API server fills the field in; the fallback is its rule.
fn pull_policy(container: &Container) -> &str {
    let latest = || {
        let image = container.image.as_deref().unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default();
        !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
    };
    match container.image_pull_policy.as_deref() {
        Some(policy) => policy,
        None if latest() => "Always",
        None => "IfNotPresent",
    }
}

/// Creates and starts a container, and runs its `postStart`.
pub(crate) async fn start(context: &Context, pod: &Pod, parts: StartParts) -> Result<ContainerId, NotStarted> {
    let name = parts.name.clone();
    let started = create_and_start(context, pod, parts).await;
    if let Err(not_started) = &started
        && not_started.reason != "PostStartHookError"
    {
        let message = format!("Error: {}", not_started.message);
        context.recorder.container(pod, &name, EventType::Warning, "Failed", message);
    }
    started
}

async fn create_and_start(context: &Context, pod: &Pod, parts: StartParts) -> Result<ContainerId, NotStarted> {
    let StartParts { name, attempt, sandbox, image, volumes, mut references } = parts;
    let not = |reason, retry| move |message: String| NotStarted { reason, message, retry };
    let (_, container) = spec::container(pod, &name)
        .ok_or_else(|| not("CreateContainerConfigError", Retry::OnChange)(format!("no container {name} in the pod")))?;
    let container = container.as_ref();
    references.answered().await;
    let services = context.objects.services().await.map_err(not("CreateContainerConfigError", Retry::AfterBackoff))?;
    let envs = env::resolve(pod, container, &references, &services, &context.place(Some(&sandbox)))
        .map_err(not("CreateContainerConfigError", Retry::OnChange))?;
    let mounts = all_mounts(context, pod, container, attempt, &volumes, &envs)
        .map_err(not("CreateContainerConfigError", Retry::AfterBackoff))?;
    let parts = translate::Parts { attempt, image_id: image.id, envs, mounts };
    let config = translate::container(pod, container, parts);
    let root = &context.config.root_dir;
    let logs = crate::logs::pod_directory(root, spec::namespace(pod), spec::name(pod), spec::uid(pod));
    std::fs::create_dir_all(logs.join(&name))
        .map_err(|error| not("CreateContainerError", Retry::AfterBackoff)(error.to_string()))?;

    let runtime = &context.config.runtime;
    let created = runtime.create_container(&sandbox.id, config).await;
    let id = created.map_err(|error| not("CreateContainerError", Retry::AfterBackoff)(error.to_string()))?;
    let record = |reason, message| context.recorder.container(pod, &name, EventType::Normal, reason, message);
    record("Created", format!("Created container: {name}"));
    let started = runtime.start_container(&id).await;
    started.map_err(|error| not("RunContainerError", Retry::AfterBackoff)(error.to_string()))?;
    record("Started", format!("Started container {name}"));
    post_start(context, pod, container, &sandbox, &id).await?;
    Ok(id)
}

fn all_mounts(
    context: &Context,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    volumes: &BTreeMap<String, HostVolume>,
    envs: &[(String, String)],
) -> Result<Vec<wk_cri::Mount>, String> {
    let mut mounts = mounts::mounts(container, volumes, envs)?;
    volumes::make_sub_paths(&mounts, volumes)?;
    let last_words = termination::mount(&context.config.root_dir, pod, container, attempt, &mounts);
    mounts.extend(last_words.map_err(|error| format!("make the termination log's directory: {error}"))?);
    Ok(mounts)
}

async fn post_start(
    context: &Context,
    pod: &Pod,
    container: &Container,
    sandbox: &SandboxStatus,
    id: &ContainerId,
) -> Result<(), NotStarted> {
    let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
        return Ok(());
    };
    let target = context.target(sandbox, id);
    let message = match hooks::run(&target, pod, container, hook, POST_START_MAX).await {
        Ok(()) => return Ok(()),
        Err(hooks::Failure::Failed(message)) => message,
        Err(hooks::Failure::Late) => format!("PostStartHook did not end within {}", go_duration(POST_START_MAX)),
    };
    let record = |type_, reason, message| context.recorder.container(pod, &container.name, type_, reason, message);
    // Why it failed is in the status: events are read by people who may not read what a guest says.
    record(EventType::Warning, "FailedPostStartHook", "PostStartHook failed");
    record(EventType::Normal, "Killing", "FailedPostStartHook");
    // Its end is observed; a failure to stop it shows as a container that runs on.
    let _ = context.config.runtime.stop_container(id, spec::grace(pod)).await;
    Err(NotStarted { reason: "PostStartHookError", message, retry: Retry::AfterBackoff })
}

/// Runs `preStop` and stops the container, both within `grace`.
pub(crate) async fn stop(
    context: &Context,
    pod: &Pod,
    name: &str,
    id: &ContainerId,
    sandbox: Option<SandboxStatus>,
    (grace, message): (Duration, Option<String>),
) -> Result<(), Error> {
    if let Some(message) = message {
        context.recorder.container(pod, name, EventType::Normal, "Killing", message);
    }
    let started = Instant::now();
    let container = spec::container(pod, name).map(|(_, container)| container);
    let container = container.as_deref();
    let hook = container.and_then(|container| container.lifecycle.as_ref()?.pre_stop.as_ref());
    if let (Some(hook), Some(container), Some(sandbox)) = (hook, container, sandbox)
        && let Err(hooks::Failure::Failed(problem)) =
            hooks::run(&context.target(&sandbox, id), pod, container, hook, grace).await
    {
        tracing::info!(pod = %spec::full_name(pod), container = name, problem, "a preStop hook failed");
        context.recorder.container(pod, name, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
    }
    let left = grace.saturating_sub(started.elapsed()).max(GRACE_SHORTEST.min(grace));
    context.config.runtime.stop_container(id, left).await
}

/// Probes a container.
pub(crate) async fn probe(context: &Context, pod: &Pod, name: &str, target: Target, kind: ProbeKind) -> Outcome {
    let Some((_, container)) = spec::container(pod, name) else { return Outcome::Passed };
    let Some(probe) = kind.of(&container) else { return Outcome::Passed };
    let outcome = probes::run(&target, &container, probe).await;
    tracing::trace!(pod = %spec::full_name(pod), node = %context.config.node_name, container = name, ?outcome, "probed");
    outcome
}

/// Looks how much of the disk the pod uses: why it has to go, if it has to.
pub(crate) async fn measure(
    context: &Context,
    pod: &Pod,
    limits: &Limits,
    containers: Vec<(String, ContainerId)>,
) -> Result<Option<String>, String> {
    let volumes = spec::of(pod).volumes.iter().flatten();
    let volumes = volumes.filter(|volume| volume.empty_dir.is_some() && limits.needs_volume(&volume.name));
    let root = &context.config.root_dir;
    let volumes: Vec<_> =
        volumes.map(|volume| (volume.name.clone(), volumes::empty_dir(root, spec::uid(pod), &volume.name))).collect();
    let mut written = Vec::new();
    if limits.needs_containers() {
        let logs = crate::logs::pod_directory(root, spec::namespace(pod), spec::name(pod), spec::uid(pod));
        let all = spec::containers(pod).map(|(_, container)| container.name.clone());
        written.extend(all.map(|name| (name.clone(), logs.join(name))));
        for (name, id) in containers {
            // One that has just been removed uses nothing.
            written.extend(context.config.runtime.writable_layer(&id).ok().flatten().map(|path| (name, path)));
        }
    }
    let _turn = context.measuring.acquire().await.map_err(|error| error.to_string())?;
    let look = move || Ok::<_, std::io::Error>(Usage { volumes: sum(volumes)?, containers: sum(written)? });
    let usage = tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())?;
    Ok(limits.exceeded(pod, &usage.map_err(|error| error.to_string())?))
}

/// The bytes of directories, by name.
fn sum(directories: Vec<(String, std::path::PathBuf)>) -> std::io::Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::<String, u64>::new();
    for (name, path) in directories {
        let bytes = disk::measure::directory(&path)?;
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(bytes);
    }
    Ok(sums)
}

/// Stops the pod's sandboxes and deletes its volumes.
pub(crate) async fn retire(context: &Context, pod: &Pod, sandboxes: Vec<SandboxId>) -> Result<(), String> {
    for sandbox in &sandboxes {
        context.config.runtime.stop_pod_sandbox(sandbox).await.map_err(|error| error.to_string())?;
    }
    let volumes = volumes::pod_directory(&context.config.root_dir, spec::uid(pod)).join("volumes");
    remove(move || volumes::remove_tree(&volumes)).await
}

/// Removes all that is left of the pod.
pub(crate) async fn erase(context: &Context, pod: &Pod, sandboxes: Vec<SandboxId>) -> Result<(), String> {
    for sandbox in &sandboxes {
        context.config.runtime.remove_pod_sandbox(sandbox).await.map_err(|error| error.to_string())?;
    }
    let (root, uid) = (context.config.root_dir.clone(), spec::uid(pod).to_owned());
    let logs = crate::logs::pod_directory(&root, spec::namespace(pod), spec::name(pod), &uid);
    remove(move || volumes::remove(&root, &uid).and_then(|()| volumes::remove_tree(&logs))).await
}

/// Guests may have filled these directories: off the runtime's threads.
async fn remove(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// Removes a dead container and its log.
pub(crate) async fn remove_container(
    context: &Context,
    id: &ContainerId,
    log: Option<std::path::PathBuf>,
) -> Result<(), String> {
    context.config.runtime.remove_container(id).await.map_err(|error| error.to_string())?;
    if let Some(log) = log {
        let _ = std::fs::remove_file(log); // it may have none
    }
    Ok(())
}

/// Deletes the pod's object for good; fine when it is gone or another one has its name.
pub(crate) async fn delete_object(context: &Context, pod: &Pod) -> Result<(), String> {
    let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
    let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    match context.pods(pod).delete(spec::name(pod), &parameters).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
    }
}

/// Writes the pod's status; the pod as it is then, `None` when there is no such pod any more.
pub(crate) async fn write_status(
    context: &Context,
    pod: &Pod,
    patch: serde_json::Value,
) -> Result<Option<Pod>, String> {
    let parameters = PatchParams { field_manager: Some("kubelet".to_owned()), ..PatchParams::default() };
    match context.pods(pod).patch_status(spec::name(pod), &parameters, &Patch::Strategic(patch)).await {
        Ok(pod) => Ok(Some(pod)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_tag_are_pulled_always() {
        let policy = |image: &str| {
            let container = Container { image: Some(image.to_owned()), ..Container::default() };
            pull_policy(&container).to_owned()
        };
        assert_eq!([policy("web"), policy("web:latest"), policy("h:5000/web")], ["Always"; 3]);
        assert_eq!([policy("web:v1"), policy("web@sha256:1"), policy("h:5000/web:v1")], ["IfNotPresent"; 3]);
    }
}
