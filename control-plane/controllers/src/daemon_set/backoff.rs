//! How long a node's failed daemon is left alone before it is replaced: a
//! kubelet that refuses a pod would otherwise get the next one at once
//! (upstream: `failedPodsBackoff`, `client-go/util/flowcontrol/backoff.go`).

use crate::runner::Key;
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// The pause after the first failure; doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause. Without a failure for twice as long all is forgotten.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// The UID and generation of a set: another template starts afresh.
pub type Generation = (String, Option<i64>);

struct Entry {
    pause: Duration,
    since: Instant,
}

#[derive(Default)]
struct OfSet {
    generation: Generation,
    by_node: HashMap<String, Entry>,
}

/// The pauses of every set; bounded by sets times nodes.
#[derive(Default)]
pub struct Backoff {
    by_set: Mutex<HashMap<Key, OfSet>>,
}

impl Backoff {
    /// What is left of the node's pause.
    pub fn pause(&self, key: &Key, generation: &Generation, node: &str, now: Instant) -> Option<Duration> {
        let sets = self.by_set.lock();
        let entry = sets.get(key).filter(|set| set.generation == *generation)?.by_node.get(node)?;
        let left = (entry.since + entry.pause).saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// The node's daemon failed and will be replaced; the next pause begins.
    pub fn next(&self, key: &Key, generation: &Generation, node: &str, now: Instant) {
        let mut sets = self.by_set.lock();
        let set = sets.entry(key.clone()).or_default();
        if set.generation != *generation {
            *set = OfSet { generation: generation.clone(), by_node: HashMap::new() };
        }
        let known = set.by_node.get(node).filter(|entry| now.duration_since(entry.since) <= 2 * PAUSE_MAX);
        let pause = known.map_or(PAUSE_MIN, |entry| (entry.pause * 2).min(PAUSE_MAX));
        set.by_node.insert(node.to_owned(), Entry { pause, since: now });
    }

    /// The set is gone.
    pub fn forget(&self, key: &Key) {
        self.by_set.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_a_new_template_starts_afresh() {
        let (backoff, key) = (Backoff::default(), Key::new("default", "ds"));
        let (first, second) = (("u".to_owned(), Some(1)), ("u".to_owned(), Some(2)));
        let now = Instant::now();
        assert_eq!(backoff.pause(&key, &first, "n", now), None);
        let mut pauses = Vec::new();
        for _ in 0..3 {
            backoff.next(&key, &first, "n", now);
            pauses.push(backoff.pause(&key, &first, "n", now).map(|pause| pause.as_secs()));
        }
        assert_eq!(pauses, [Some(1), Some(2), Some(4)]);
        assert_eq!(backoff.pause(&key, &first, "n", now + Duration::from_secs(4)), None);
        assert_eq!(backoff.pause(&key, &first, "other", now), None);
        backoff.next(&key, &second, "n", now);
        assert_eq!(backoff.pause(&key, &second, "n", now).map(|pause| pause.as_secs()), Some(1));
    }
}
