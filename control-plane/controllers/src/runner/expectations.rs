//! What a controller has asked for and not yet seen in its cache. While a key
//! has unmet expectations its controller changes nothing, so that a stale cache
//! cannot make it create or delete twice (upstream: `pkg/controller/controller_utils.go`).

use super::cache::Key;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// A watch that is this far behind is believed to have lost the event.
const EXPIRY: Duration = Duration::from_secs(5 * 60);

struct Expected {
    creations: i64,
    deletions: HashSet<String>,
    since: Instant,
}

/// Expectations of every key of one controller.
#[derive(Default)]
pub struct Expectations {
    by_key: Mutex<HashMap<Key, Expected>>,
}

impl Expectations {
    /// `creations` objects are about to be created, and those of `deletions` deleted.
    pub fn expect(&self, key: &Key, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let creations = i64::try_from(creations).unwrap_or(i64::MAX);
        let expected = Expected { creations, deletions: deletions.into_iter().collect(), since: Instant::now() };
        self.by_key.lock().insert(key.clone(), expected);
    }

    /// A creation was seen, or failed and will not be.
    pub fn creations_observed(&self, key: &Key, count: usize) {
        if let Some(expected) = self.by_key.lock().get_mut(key) {
            expected.creations -= i64::try_from(count).unwrap_or(i64::MAX);
        }
    }

    /// A deletion was seen, or failed and will not be.
    pub fn deletion_observed(&self, key: &Key, uid: &str) {
        if let Some(expected) = self.by_key.lock().get_mut(key) {
            expected.deletions.remove(uid);
        }
    }

    /// Whether the controller may act on what its cache says.
    pub fn satisfied(&self, key: &Key) -> bool {
        self.by_key.lock().get(key).is_none_or(|expected| {
            (expected.creations <= 0 && expected.deletions.is_empty()) || expected.since.elapsed() > EXPIRY
        })
    }

    /// The key is gone.
    pub fn forget(&self, key: &Key) {
        self.by_key.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_satisfied_once_all_it_asked_for_was_seen() {
        let (expectations, key) = (Expectations::default(), Key::new("default", "web"));
        assert!(expectations.satisfied(&key));
        expectations.expect(&key, 2, []);
        expectations.creations_observed(&key, 1);
        assert!(!expectations.satisfied(&key));
        expectations.creations_observed(&key, 1);
        assert!(expectations.satisfied(&key));
        expectations.expect(&key, 0, ["1".to_owned(), "2".to_owned()]);
        expectations.deletion_observed(&key, "1");
        expectations.deletion_observed(&key, "1");
        assert!(!expectations.satisfied(&key));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_event_is_waited_for_only_so_long() {
        let (expectations, key) = (Expectations::default(), Key::new("default", "web"));
        expectations.expect(&key, 1, []);
        tokio::time::advance(EXPIRY + Duration::from_secs(1)).await;
        assert!(expectations.satisfied(&key));
    }
}
