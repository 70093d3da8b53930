//! When each key is due: one entry per key, the earliest first. Called by the
//! expiry of recorded events, which says what a deadline is; no clock, no I/O.

use std::collections::{BTreeMap, HashMap};
use tokio::time::Instant;
use wk_store::{Key, Revision};

/// Due at a moment, as written by a commit. Commits are unique, so are these.
type Due = (Instant, Revision);

/// Keys by deadline. Of equal deadlines the older commit comes first.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_key: HashMap<Key, Due>,
    /// The same entries the other way round.
    in_order: BTreeMap<Due, Key>,
}

impl Deadlines {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn earliest(&self) -> Option<Instant> {
        self.in_order.first_key_value().map(|((due, _), _)| *due)
    }

    /// The deadline of `key`, if it is still the one that `revision` set.
    pub fn get(&self, key: &Key, revision: Revision) -> Option<Instant> {
        self.by_key.get(key).filter(|(_, known)| *known == revision).map(|(due, _)| *due)
    }

    /// `key`, as written by `revision`, is due at `due`, and no longer when it was.
    pub fn set(&mut self, key: Key, revision: Revision, due: Instant) {
        self.remove(&key);
        self.by_key.insert(key.clone(), (due, revision));
        self.in_order.insert((due, revision), key);
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(due) = self.by_key.remove(key) {
            self.in_order.remove(&due);
        }
    }

    /// Takes out what is due at `now`, the earliest first, at most `limit`.
    pub fn take_due(&mut self, now: Instant, limit: usize) -> Vec<(Key, Revision)> {
        let due = self.in_order.range(..=(now, Revision(u64::MAX))).take(limit).count();
        self.take_oldest(due)
    }

    /// Takes out the `count` that are due first.
    pub fn take_oldest(&mut self, count: usize) -> Vec<(Key, Revision)> {
        let first = std::iter::from_fn(|| {
            let ((_, revision), key) = self.in_order.pop_first()?;
            self.by_key.remove(&key);
            Some((key, revision))
        });
        first.take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Each key with its revision and the second that it is due.
    fn deadlines(begin: Instant, sets: &[(&str, u64, u64)]) -> Deadlines {
        let mut deadlines = Deadlines::default();
        for (key, revision, second) in sets {
            deadlines.set(Key::from(*key), Revision(*revision), begin + Duration::from_secs(*second));
        }
        deadlines
    }

    fn names(taken: &[(Key, Revision)]) -> Vec<(String, u64)> {
        taken.iter().map(|(key, revision)| (key.to_string(), revision.0)).collect()
    }

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let begin = Instant::now();
        let mut deadlines = deadlines(begin, &[("late", 1, 30), ("b", 3, 10), ("a", 2, 10), ("first", 4, 5)]);
        let now = begin + Duration::from_secs(10);
        assert_eq!(names(&deadlines.take_due(now, 2)), [("first".to_owned(), 4), ("a".to_owned(), 2)]);
        assert_eq!(names(&deadlines.take_due(now, 2)), [("b".to_owned(), 3)]);
        assert_eq!((deadlines.take_due(now, 2).len(), deadlines.len()), (0, 1));
        assert_eq!(deadlines.earliest(), Some(begin + Duration::from_secs(30)));
    }

    #[test]
    fn a_write_renews_and_leaves_one_entry() {
        let begin = Instant::now();
        let mut deadlines = deadlines(begin, &[("a", 1, 10), ("a", 5, 20)]);
        assert!(deadlines.take_due(begin + Duration::from_secs(10), 9).is_empty());
        assert_eq!(deadlines.get(&"a".into(), Revision(1)), None);
        assert_eq!(deadlines.get(&"a".into(), Revision(5)), Some(begin + Duration::from_secs(20)));
        assert_eq!(names(&deadlines.take_oldest(9)), [("a".to_owned(), 5)]);
        assert_eq!((deadlines.len(), deadlines.in_order.len()), (0, 0));
    }

    #[test]
    fn a_removed_key_is_never_due() {
        let begin = Instant::now();
        let mut deadlines = deadlines(begin, &[("a", 1, 10), ("b", 2, 20)]);
        deadlines.remove(&"a".into());
        deadlines.remove(&"unknown".into());
        assert_eq!(names(&deadlines.take_oldest(9)), [("b".to_owned(), 2)]);
    }
}
