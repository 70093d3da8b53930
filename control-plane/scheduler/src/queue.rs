//! Pods waiting for a node: ready to be tried, backing off, or waiting for the
//! cluster to change. A pure structure; time is a parameter
//! (upstream: `pkg/scheduler/backend/queue`).
//!
//! ```text
//!   add ──▶ active ──pop──▶ (decide) ──fail──▶ unschedulable
//!             ▲                                    │ an event that may help,
//!             │         backoff ◀──────────────────┤ or five minutes
//!             └──time──────┘      (or active, when its backoff is over)
//! ```

use crate::{
    plugins::{ClusterEvent, Plugin},
    pod_info::{PodInfo, PodUid},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The pause after the first failed attempt (upstream: `podInitialBackoffSeconds`).
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause (upstream: `podMaxBackoffSeconds`).
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a pod waits for an event before it is tried anyway.
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);

/// Higher priority first, then the longest wait.
type ActiveRank = (Reverse<i32>, u64);

#[derive(Clone, Debug)]
enum Place {
    /// Waits for its scheduling gates to be lifted.
    Gated,
    Active(ActiveRank),
    /// Until when, with a number to keep equal instants apart.
    Backoff((Instant, u64)),
    /// Since when (with such a number), and what stood in the way.
    Unschedulable((Instant, u64), BTreeSet<Plugin>),
    /// Taken out to be decided on or bound.
    InFlight,
}

#[derive(Clone, Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    place: Place,
    attempts: u32,
    failed_at: Option<Instant>,
}

/// The pods that want a node.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<PodUid, Entry>,
    active: BTreeMap<ActiveRank, PodUid>,
    backoff: BTreeMap<(Instant, u64), PodUid>,
    /// The unschedulable ones, those who wait longest first. Gated pods are not
    /// among them: only a change of their own helps those.
    waiting: BTreeMap<(Instant, u64), PodUid>,
    sequence: u64,
}

impl Queue {
    /// A pod that wants a node was seen, for the first time or changed. A change
    /// gives an unschedulable pod another chance.
    pub fn put(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let uid = pod.uid.clone();
        let Some(entry) = self.entries.get_mut(&uid) else {
            let gated = pod.is_gated;
            self.entries.insert(uid.clone(), Entry { pod, place: Place::Gated, attempts: 0, failed_at: None });
            if !gated {
                self.activate(&uid);
            }
            return;
        };
        let asks_for_less = changed_what_it_asks(&entry.pod, &pod);
        let gated = pod.is_gated;
        entry.pod = pod;
        if asks_for_less && !gated && matches!(entry.place, Place::Unschedulable(..) | Place::Gated) {
            self.retry(&uid, now);
        }
    }

    /// The pod is gone or has got a node.
    pub fn remove(&mut self, uid: &PodUid) {
        self.unplace(uid);
        self.entries.remove(uid);
    }

    /// The next pod to decide on. It stays known until it is removed or has failed.
    pub fn pop(&mut self) -> Option<Arc<PodInfo>> {
        let (_, uid) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&uid)?;
        entry.place = Place::InFlight;
        entry.attempts = entry.attempts.saturating_add(1);
        Some(entry.pod.clone())
    }

    /// Whether [`Queue::pop`] would give something.
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// No node suits the pod, because of `plugins`: it waits for an event.
    pub fn unschedulable(&mut self, uid: &PodUid, plugins: BTreeSet<Plugin>, now: Instant) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.failed_at = Some(now);
            self.sequence += 1;
            let since = (now, self.sequence);
            entry.place = Place::Unschedulable(since, plugins);
            self.waiting.insert(since, uid.clone());
        }
    }

    /// Binding went wrong for a reason outside the pod: it is tried again after its backoff.
    pub fn bind_failed(&mut self, uid: &PodUid, now: Instant) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.failed_at = Some(now);
            self.retry(uid, now);
        }
    }

    /// Something in the cluster has changed: pods it may help are tried again.
    pub fn on_event(&mut self, event: ClusterEvent, now: Instant) {
        let helped = |_, plugins: &BTreeSet<Plugin>| plugins.iter().any(|plugin| plugin.is_helped_by(event));
        self.retry_where(helped, now);
    }

    /// Moves what time has made ready.
    pub fn advance(&mut self, now: Instant) {
        while let Some((at, uid)) = self.backoff.first_key_value().map(|(at, uid)| (*at, uid.clone())) {
            if at.0 > now {
                break;
            }
            self.activate(&uid);
        }
        let waited_long = |since: Instant, _: &BTreeSet<Plugin>| since + UNSCHEDULABLE_MAX <= now;
        self.retry_where(waited_long, now);
    }

    /// When [`Queue::advance`] has something to do next.
    pub fn next_change(&self) -> Option<Instant> {
        let waiting = self.waiting.first_key_value().map(|(at, _)| at.0 + UNSCHEDULABLE_MAX);
        let backoff = self.backoff.first_key_value().map(|(at, _)| at.0);
        waiting.into_iter().chain(backoff).min()
    }

    /// Forgets pods that `keep` does not want, after a new list.
    pub fn retain(&mut self, keep: impl Fn(&PodUid) -> bool) {
        let gone: Vec<PodUid> = self.entries.keys().filter(|uid| !keep(uid)).cloned().collect();
        gone.iter().for_each(|uid| self.remove(uid));
    }

    fn retry_where(&mut self, condition: impl Fn(Instant, &BTreeSet<Plugin>) -> bool, now: Instant) {
        let chosen = |uid: &&PodUid| match self.entries.get(*uid).map(|entry| &entry.place) {
            Some(Place::Unschedulable(since, plugins)) => condition(since.0, plugins),
            _ => false,
        };
        let uids: Vec<PodUid> = self.waiting.values().filter(chosen).cloned().collect();
        uids.iter().for_each(|uid| self.retry(uid, now));
    }

    /// To active, or to backoff when the last attempt is too recent.
    fn retry(&mut self, uid: &PodUid, now: Instant) {
        let Some(entry) = self.entries.get(uid) else { return };
        let until = entry.failed_at.map(|at| at + backoff(entry.attempts));
        match until.filter(|until| *until > now) {
            None => self.activate(uid),
            Some(until) => {
                self.unplace(uid);
                self.sequence += 1;
                let at = (until, self.sequence);
                self.backoff.insert(at, uid.clone());
                self.place(uid, Place::Backoff(at));
            }
        }
    }

    fn activate(&mut self, uid: &PodUid) {
        self.unplace(uid);
        let Some(entry) = self.entries.get(uid) else { return };
        self.sequence += 1;
        let rank = (Reverse(entry.pod.priority), self.sequence);
        self.active.insert(rank, uid.clone());
        self.place(uid, Place::Active(rank));
    }

    fn place(&mut self, uid: &PodUid, place: Place) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.place = place;
        }
    }

    fn unplace(&mut self, uid: &PodUid) {
        match self.entries.get(uid).map(|entry| entry.place.clone()) {
            Some(Place::Active(rank)) => drop(self.active.remove(&rank)),
            Some(Place::Backoff(at)) => drop(self.backoff.remove(&at)),
            Some(Place::Unschedulable(since, _)) => drop(self.waiting.remove(&since)),
            Some(Place::Gated | Place::InFlight) | None => {}
        }
    }
}

/// A second, then two, four, eight, and ten for ever.
fn backoff(attempts: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(BACKOFF_MAX)
}

/// Status updates (our own condition) must not make the pod be tried again.
fn changed_what_it_asks(old: &PodInfo, new: &PodInfo) -> bool {
    old.requests != new.requests
        || old.labels != new.labels
        || old.tolerations != new.tolerations
        || old.node_selector != new.node_selector
        || old.is_gated != new.is_gated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, priority: i32) -> Arc<PodInfo> {
        Arc::new(PodInfo { uid: PodUid(uid.into()), priority, ..PodInfo::default() })
    }

    fn popped(queue: &mut Queue) -> Option<String> {
        queue.pop().map(|pod| pod.uid.0.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn priority_goes_before_age() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (uid, priority) in [("old", 0), ("young", 0), ("urgent", 9)] {
            queue.put(pod(uid, priority), now);
        }
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue)).collect();
        assert_eq!(order, ["urgent", "old", "young"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_failed_waits_for_its_backoff_even_when_helped() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let uid = PodUid("a".into());
        queue.put(pod("a", 0), now);
        queue.pop().expect("active");
        queue.unschedulable(&uid, BTreeSet::from([Plugin::Resources]), now);
        queue.on_event(ClusterEvent::PodLeft, now);
        assert_eq!((popped(&mut queue), queue.next_change()), (None, Some(now + BACKOFF_MIN)));
        queue.advance(now + BACKOFF_MIN);
        assert_eq!(popped(&mut queue), Some("a".to_owned()));

        // The second pause is twice as long; after it an event helps at once.
        queue.unschedulable(&uid, BTreeSet::from([Plugin::Resources]), now);
        queue.on_event(ClusterEvent::PodLeft, now + BACKOFF_MIN * 2);
        assert!(queue.has_active());
    }

    #[tokio::test(start_paused = true)]
    async fn only_events_that_matter_help_and_five_minutes_always_do() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        queue.pop().expect("active");
        queue.unschedulable(&PodUid("a".into()), BTreeSet::from([Plugin::Taints]), now);
        queue.on_event(ClusterEvent::PodLeft, now + BACKOFF_MAX);
        assert!(!queue.has_active());
        assert_eq!(queue.next_change(), Some(now + UNSCHEDULABLE_MAX));
        queue.advance(now + UNSCHEDULABLE_MAX);
        assert!(queue.has_active());
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_update_is_no_reason_to_try_again_and_a_lifted_gate_is() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let gated = PodInfo { is_gated: true, ..(*pod("a", 0)).clone() };
        queue.put(Arc::new(gated.clone()), now);
        queue.put(Arc::new(gated), now);
        queue.on_event(ClusterEvent::NodeAdded, now);
        assert!(!queue.has_active());
        queue.put(pod("a", 0), now);
        assert!(queue.has_active());
        queue.remove(&PodUid("a".into()));
        assert!(!queue.has_active());
    }

    #[test]
    fn backoff_doubles_to_ten_seconds() {
        let seconds: Vec<u64> = (1..7).map(|attempts| backoff(attempts).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }
}
