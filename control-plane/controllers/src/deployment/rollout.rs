//! Which ReplicaSets a Deployment should have now, and how big: one step of a
//! rollout. Pure, and from possibly stale input: sizes are only carried out on
//! the version of a set they were decided from
//! (upstream: `sync.go`, `rolling.go`, `recreate.go` of the deployment controller).

use super::template;
use crate::scaled;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// Revisions kept when the limit is not set (upstream's default).
const HISTORY_LIMIT: i32 = 10;

/// The sets of a Deployment: the one made from its template, and the others.
#[derive(Clone, Debug)]
pub struct View {
    /// Made from the current template.
    pub new: Option<Arc<ReplicaSet>>,
    /// Made from earlier ones, oldest first.
    pub old: Vec<Arc<ReplicaSet>>,
}

impl View {
    /// Every set.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

/// A set's next size and annotations.
#[derive(Clone, Debug)]
pub struct Resize {
    /// As it was when this was decided.
    pub set: Arc<ReplicaSet>,
    /// The size it should have.
    pub replicas: i32,
    /// Those to write.
    pub annotations: BTreeMap<String, String>,
    /// To write, when it has changed.
    pub min_ready_seconds: Option<i32>,
}

/// One step.
#[derive(Debug)]
pub struct Plan {
    /// What it was decided from.
    pub view: View,
    /// The new set, when there is none.
    pub create: Option<ReplicaSet>,
    /// Sets to change.
    pub resize: Vec<Resize>,
    /// Old sets beyond the history limit.
    pub delete: Vec<Arc<ReplicaSet>>,
    /// What the Deployment's revision annotation should be.
    pub revision: Option<String>,
}

/// `spec.replicas` of a set.
pub fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// `status.availableReplicas` of a set.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

/// `spec.replicas` of a Deployment.
pub fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Whether all old pods must be gone before new ones are made.
pub fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"))
}

fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or_default()
}

/// Pods above the wanted number; 0 for Recreate.
pub fn max_surge(deployment: &Deployment) -> i32 {
    fence_posts(deployment).0
}

/// Pods below the wanted number; never more than that.
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    fence_posts(deployment).1.min(wanted(deployment))
}

/// Surge rounds up, unavailable rounds down, and not both are zero: with both,
/// no step could ever be made.
fn fence_posts(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, 0);
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let RollingUpdateDeployment { max_surge, max_unavailable } =
        strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let quarter = || IntOrString::String("25%".to_owned());
    let of = wanted(deployment);
    let surge = scaled::round_up(&max_surge.unwrap_or_else(quarter), of);
    let unavailable = scaled::round_down(&max_unavailable.unwrap_or_else(quarter), of);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// A set and the size it should have.
#[derive(Clone, Debug)]
struct Member {
    set: Arc<ReplicaSet>,
    size: i32,
}

impl Member {
    fn of(set: &Arc<ReplicaSet>) -> Self {
        Self { set: set.clone(), size: replicas(set) }
    }
}

/// Decides the next step. `has_pods` tells of a set whether pods of it still run.
pub fn plan(deployment: &Deployment, sets: &[Arc<ReplicaSet>], has_pods: &dyn Fn(&ReplicaSet) -> bool) -> Plan {
    let view = view(deployment, sets);
    let mut plan = Plan { create: None, resize: Vec::new(), delete: Vec::new(), revision: None, view };
    if deployment.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let next_revision = plan.view.old.iter().map(|set| template::revision(set)).max().unwrap_or_default() + 1;
    let mut old: Vec<Member> = plan.view.old.iter().map(Member::of).collect();
    let mut new = plan.view.new.as_ref().map(Member::of);
    let scale_only = is_paused(deployment) || was_rescaled(deployment, sets);
    if scale_only {
        rescale(deployment, &mut new, &mut old);
    } else if is_recreate(deployment) {
        recreate(deployment, &mut new, &mut old, has_pods, &mut plan.create, next_revision);
    } else {
        roll(deployment, &mut new, &mut old, &mut plan.create, next_revision);
    }
    finish(deployment, plan, new, old, next_revision, scale_only)
}

fn view(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> View {
    let new = template::find_new(deployment, sets).cloned();
    let is_new = |set: &Arc<ReplicaSet>| new.as_ref().is_some_and(|new| new.uid() == set.uid());
    let mut old: Vec<_> = sets.iter().filter(|set| !is_new(set)).cloned().collect();
    old.sort_by_key(|set| (set.creation_timestamp(), set.name_any()));
    View { new, old }
}

/// Turns sizes into changes, and adds what does not depend on the strategy.
fn finish(
    deployment: &Deployment,
    mut plan: Plan,
    new: Option<Member>,
    old: Vec<Member>,
    next_revision: i64,
    scale_only: bool,
) -> Plan {
    if let Some(new) = &new {
        let annotations = template::missing_annotations(deployment, &new.set, next_revision);
        let revision = annotations.get(template::REVISION).or_else(|| new.set.annotations().get(template::REVISION));
        plan.revision = revision.cloned();
        plan.resize.extend(resize(deployment, new, annotations, min_ready_change(deployment, &new.set)));
    }
    if let Some(create) = &plan.create {
        plan.revision = create.annotations().get(template::REVISION).cloned();
    }
    plan.resize.extend(old.iter().filter_map(|member| resize(deployment, member, BTreeMap::new(), None)));
    let status = deployment.status.clone().unwrap_or_default();
    if scale_only || is_complete(deployment, &status) {
        plan.delete = beyond_history(deployment, &plan.view.old);
    }
    plan
}

fn min_ready_change(deployment: &Deployment, set: &ReplicaSet) -> Option<i32> {
    let of_deployment = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    let of_set = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    (of_deployment != of_set).then_some(of_deployment)
}

fn resize(
    deployment: &Deployment,
    member: &Member,
    mut annotations: BTreeMap<String, String>,
    min_ready_seconds: Option<i32>,
) -> Option<Resize> {
    let size_changes = member.size != replicas(&member.set);
    if size_changes || (member.size > 0 && template::desired_replicas(&member.set) != Some(wanted(deployment))) {
        annotations.extend(template::changed(&member.set, template::size_annotations(deployment)));
    }
    let needed = size_changes || !annotations.is_empty() || min_ready_seconds.is_some();
    needed.then(|| Resize { set: member.set.clone(), replicas: member.size, annotations, min_ready_seconds })
}

/// Whether every pod is new and available, and the controller has seen it.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = wanted(deployment);
    [status.updated_replicas, status.replicas, status.available_replicas]
        .into_iter()
        .all(|count| count.unwrap_or_default() == wanted)
        && status.observed_generation.unwrap_or_default() >= deployment.metadata.generation.unwrap_or_default()
}

/// Whether somebody has changed the Deployment's size since its sets were last scaled.
fn was_rescaled(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
    let active = sets.iter().filter(|set| replicas(set) > 0);
    active.into_iter().filter_map(|set| template::desired_replicas(set)).any(|desired| desired != wanted(deployment))
}

/// Follows a new size without rolling on.
fn rescale(deployment: &Deployment, new: &mut Option<Member>, old: &mut [Member]) {
    let wanted = wanted(deployment);
    let active = old.iter().chain(&*new).filter(|member| member.size > 0).count();
    if active <= 1 {
        // With none active the newest one grows: the new set, or the youngest old one.
        let target = match new.as_mut() {
            Some(new) if active == 0 => Some(new),
            new => old.iter_mut().rev().chain(new).find(|member| active == 0 || member.size > 0),
        };
        if let Some(member) = target {
            member.size = wanted;
        }
        return;
    }
    if new.as_ref().is_some_and(|new| is_saturated(deployment, new)) {
        return old.iter_mut().for_each(|member| member.size = 0);
    }
    if !is_recreate(deployment) {
        scale_in_proportion(deployment, old.iter_mut().chain(new.as_mut()).filter(|member| member.size > 0).collect());
    }
}

fn is_saturated(deployment: &Deployment, new: &Member) -> bool {
    let wanted = wanted(deployment);
    template::desired_replicas(&new.set) == Some(wanted) && new.size == wanted && available(&new.set) == wanted
}

/// Shares an increase or decrease among the active sets by their sizes; what
/// rounding leaves goes to the largest.
fn scale_in_proportion(deployment: &Deployment, mut members: Vec<&mut Member>) {
    let wanted = wanted(deployment);
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - members.iter().map(|member| member.size).sum::<i32>();
    if to_add == 0 {
        return;
    }
    // Among equals an increase favours the newer and a decrease the older set.
    if to_add > 0 {
        members.sort_by_key(|member| (Reverse(member.size), Reverse(member.set.creation_timestamp())));
    } else {
        members.sort_by_key(|member| (Reverse(member.size), member.set.creation_timestamp()));
    }
    let mut added = 0;
    for member in &mut members {
        let share = share(deployment, member, to_add, to_add - added);
        member.size += share;
        added += share;
    }
    members[0].size = (members[0].size + to_add - added).max(0);
}

/// A set's part of `to_add`, at most what is `left` of it.
fn share(deployment: &Deployment, member: &Member, to_add: i32, left: i32) -> i32 {
    let wanted = wanted(deployment);
    let fraction = if wanted == 0 {
        -member.size
    } else {
        let before = template::max_replicas(&member.set).filter(|most| *most > 0);
        let before = before.or(deployment.status.as_ref().and_then(|status| status.replicas)).unwrap_or(1).max(1);
        let now = f64::from(wanted + max_surge(deployment));
        (f64::from(member.size) * now / f64::from(before)).round() as i32 - member.size
    };
    if to_add > 0 { fraction.min(left).max(0) } else { fraction.max(left).min(0) }
}

/// One step of a rolling update: first the new set grows as far as the surge
/// allows; only when it cannot, old ones shrink as far as availability allows.
fn roll(
    deployment: &Deployment,
    new: &mut Option<Member>,
    old: &mut [Member],
    create: &mut Option<ReplicaSet>,
    next_revision: i64,
) {
    let total: i32 = old.iter().chain(&*new).map(|member| member.size).sum();
    let Some(new) = new else {
        let size = grown(deployment, 0, total);
        *create = Some(template::new_set(deployment, size, next_revision));
        return;
    };
    let size = grown(deployment, new.size, total);
    if size != new.size {
        new.size = size;
        return;
    }
    shrink_old(deployment, new, old, total);
}

/// How big the new set, now `size` of `total` pods, may be.
fn grown(deployment: &Deployment, size: i32, total: i32) -> i32 {
    let wanted = wanted(deployment);
    if size >= wanted {
        return wanted;
    }
    let room = wanted + max_surge(deployment) - total;
    size + room.clamp(0, wanted - size)
}

fn shrink_old(deployment: &Deployment, new: &Member, old: &mut [Member], total: i32) {
    if old.iter().all(|member| member.size == 0) {
        return;
    }
    let min_available = wanted(deployment) - max_unavailable(deployment);
    let new_unavailable = new.size - available(&new.set);
    let most = total - min_available - new_unavailable;
    if most <= 0 {
        return;
    }
    shrink_unhealthy(old, most);
    let available_total = available(&new.set) + old.iter().map(|member| available(&member.set)).sum::<i32>();
    let mut left = available_total - min_available;
    for member in old.iter_mut().filter(|member| member.size > 0) {
        let down = member.size.min(left.max(0));
        member.size -= down;
        left -= down;
    }
}

/// Old pods that serve nobody go first, whatever the fence posts say of those that do.
fn shrink_unhealthy(old: &mut [Member], most: i32) {
    let mut left = most;
    for member in old.iter_mut() {
        let unhealthy = (member.size - available(&member.set)).max(0);
        let down = unhealthy.min(left);
        member.size -= down;
        left -= down;
    }
}

/// Recreate: old sets to nothing, wait for their pods, then the new set at once.
fn recreate(
    deployment: &Deployment,
    new: &mut Option<Member>,
    old: &mut [Member],
    has_pods: &dyn Fn(&ReplicaSet) -> bool,
    create: &mut Option<ReplicaSet>,
    next_revision: i64,
) {
    if old.iter().any(|member| member.size > 0) {
        return old.iter_mut().for_each(|member| member.size = 0);
    }
    let runs =
        |member: &Member| member.set.status.as_ref().is_some_and(|status| status.replicas > 0) || has_pods(&member.set);
    if old.iter().any(runs) {
        return;
    }
    match new {
        Some(new) => new.size = wanted(deployment),
        None => *create = Some(template::new_set(deployment, wanted(deployment), next_revision)),
    }
}

/// Old sets without pods, lowest revision first, beyond the number to keep.
fn beyond_history(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let limit = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(HISTORY_LIMIT);
    let mut kept: Vec<&Arc<ReplicaSet>> = old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    let surplus = kept.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    kept.sort_by_key(|set| (template::revision(set), set.creation_timestamp()));
    kept.into_iter().take(surplus).filter(|set| is_idle(set)).cloned().collect()
}

/// No pods wanted, none there, and the ReplicaSet controller agrees.
fn is_idle(set: &ReplicaSet) -> bool {
    let status = set.status.clone().unwrap_or_default();
    let observed = status.observed_generation.unwrap_or_default() >= set.metadata.generation.unwrap_or_default();
    replicas(set) == 0 && status.replicas == 0 && observed
}

#[cfg(test)]
mod tests;
