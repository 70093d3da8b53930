//! The pods of a Job: what they are made of, which indexes lack one, which go
//! first. Pure (upstream: `job_controller.go`, `indexed_job_utils.go`).

use super::indexes::Indexes;
use crate::{pod, pod_control};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec},
};
use kube::ResourceExt;
use std::{collections::BTreeSet, sync::Arc};

/// Keeps a pod until its Job has counted it.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Which completion a pod of an indexed Job is for: an annotation and a label.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The same for its containers.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Whether each completion has a number.
pub fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| spec.completion_mode.as_deref() == Some("Indexed"))
}

/// How many completions an indexed Job has; 0 for others.
pub fn index_count(job: &Job) -> i32 {
    let completions = job.spec.as_ref().and_then(|spec| spec.completions);
    completions.filter(|_| is_indexed(job)).unwrap_or_default()
}

/// The completion a pod is for, when the Job has it.
pub fn index_of(job: &Job, pod: &Pod) -> Option<i32> {
    let index = pod.annotations().get(INDEX)?.parse().ok()?;
    (0..index_count(job)).contains(&index).then_some(index)
}

/// Whether the Job has not yet let go of the pod.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// `count` pods, to be named by the server.
pub fn plain(job: &Job, count: usize) -> Vec<Pod> {
    vec![pod_control::from_template(job, template(job)); count]
}

/// One pod for each of the indexes.
pub fn indexed(job: &Job, indexes: &[i32]) -> Vec<Pod> {
    indexes.iter().map(|index| indexed_pod(job, *index)).collect()
}

fn template(job: &Job) -> PodTemplateSpec {
    let mut template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let finalizers = template.metadata.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|known| known == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    template
}

fn indexed_pod(job: &Job, index: i32) -> Pod {
    let (mut template, name) = (template(job), job.name_any());
    let metadata = template.metadata.get_or_insert_default();
    metadata.annotations.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    if let Some(spec) = &mut template.spec {
        spec.hostname = Some(format!("{name}-{index}"));
        spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(tell_index);
    }
    let mut pod = pod_control::from_template(job, template);
    pod.metadata.generate_name = Some(generate_name(&name, index));
    pod
}

/// Cut so that the server's suffix still fits (upstream: `podGenerateNameWithIndex`).
fn generate_name(job: &str, index: i32) -> String {
    /// 63 characters of a host name less 5 of the suffix.
    const PREFIX_MAX: usize = 58;
    let suffix = format!("-{index}-");
    let kept: String = job.chars().take(PREFIX_MAX - suffix.len()).collect();
    kept + &suffix
}

fn tell_index(container: &mut Container) {
    let environment = container.env.get_or_insert_default();
    if environment.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    environment.push(EnvVar { name: INDEX_VARIABLE.to_owned(), value: None, value_from: Some(source) });
}

/// The first `count` indexes that nobody has done or is doing.
pub fn pending_indexes(job: &Job, done: &Indexes, active: &[Arc<Pod>], count: usize) -> Vec<i32> {
    let busy: BTreeSet<i32> = active.iter().filter_map(|pod| index_of(job, pod)).collect();
    let free = |index: &i32| !done.contains(*index) && !busy.contains(index);
    (0..index_count(job)).filter(free).take(count).collect()
}

/// Active pods to give up: those whose index another has or that have none, and
/// then the least missed until `at_least` are found.
pub fn surplus(job: &Job, active: &[Arc<Pod>], at_least: usize) -> Vec<Arc<Pod>> {
    let mut ranked: Vec<&Arc<Pod>> = active.iter().collect();
    ranked.sort_by(|left, right| pod::least_missed_first(left, 0, right, 0));
    let mut gone: Vec<Arc<Pod>> = Vec::new();
    if is_indexed(job) {
        let mut taken = BTreeSet::new();
        // From the most missed on: the first of an index keeps it.
        ranked.reverse();
        ranked.retain(|pod| {
            let keeps = index_of(job, pod).is_some_and(|index| taken.insert(index));
            if !keeps {
                gone.push((*pod).clone());
            }
            keeps
        });
        ranked.reverse();
    }
    let more = at_least.saturating_sub(gone.len());
    gone.extend(ranked.into_iter().take(more).cloned());
    gone
}
