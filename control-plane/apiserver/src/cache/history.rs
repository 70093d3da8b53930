//! The last changes of one resource: a bounded ring that watchers read with a
//! cursor. It drops the oldest; who still needed them is told so.

use super::resource::CachedObject;
use crate::{registry::Resource, storage::Encoded};
use bytes::{BufMut, Bytes, BytesMut};
use std::{collections::VecDeque, sync::Arc};
use wk_store::Revision;

/// Changes kept per resource: what a watcher may be behind. Enough for a burst
/// of a thousand pods starting; each costs one encoded object.
const EVENTS_MAX: usize = 4096;

/// The type of a watch event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `ADDED`
    Added,
    /// `MODIFIED`
    Modified,
    /// `DELETED`
    Deleted,
}

impl EventKind {
    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct CachedEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object after it; for a deletion its last state, at the deletion's revision.
    pub object: Arc<CachedObject>,
    /// The object before it.
    pub previous: Option<Arc<CachedObject>>,
    /// The commit.
    pub revision: Revision,
}

/// Bytes around the object in a line, at most.
const FRAME_BYTES: usize = 40;

/// One line of a JSON watch stream. Each watcher makes its own when it sends it:
/// a copy of some kilobytes costs less than keeping a second one of each change.
pub fn frame(row: &Resource, kind: EventKind, object: &Encoded) -> Bytes {
    let mut line = BytesMut::with_capacity(object.room() + FRAME_BYTES);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(kind.name().as_bytes());
    line.put_slice(b"\",\"object\":");
    object.write_on_wire(row, &mut line);
    line.put_slice(b"}\n");
    line.freeze()
}

/// The ring. Positions count events since the cache began and never repeat.
#[derive(Debug, Default)]
pub(super) struct History {
    events: VecDeque<Arc<CachedEvent>>,
    /// Position of the first event in `events`.
    first: u64,
    /// A watch can start after this revision or any later one.
    oldest: Revision,
}

/// The asked-for changes are no longer (all) there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The oldest revision that can be watched from.
    pub oldest: Revision,
}

impl History {
    pub(super) fn begin_at(revision: Revision) -> Self {
        Self { oldest: revision, ..Self::default() }
    }

    pub(super) fn push(&mut self, event: Arc<CachedEvent>) {
        self.events.push_back(event);
        if self.events.len() > EVENTS_MAX
            && let Some(dropped) = self.events.pop_front()
        {
            self.first += 1;
            self.oldest = dropped.revision;
        }
    }

    /// The position behind the newest event.
    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The position of the first event after `revision`.
    pub(super) fn position_after(&self, revision: Revision) -> Result<u64, Lost> {
        if revision < self.oldest {
            return Err(Lost { oldest: self.oldest });
        }
        Ok(self.first + self.events.partition_point(|event| event.revision <= revision) as u64)
    }

    /// Up to `limit` events from `position` on.
    pub(super) fn from(&self, position: u64, limit: usize) -> Result<Vec<Arc<CachedEvent>>, Lost> {
        let skip = position.checked_sub(self.first).ok_or(Lost { oldest: self.oldest })?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Ok(self.events.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64) -> Arc<CachedEvent> {
        let object = Arc::new(CachedObject::empty(Revision(revision)));
        Arc::new(CachedEvent { kind: EventKind::Added, object, previous: None, revision: Revision(revision) })
    }

    #[test]
    fn the_oldest_go_and_are_missed() {
        let mut history = History::begin_at(Revision(10));
        (11..=10 + EVENTS_MAX as u64 + 1).for_each(|revision| history.push(event(revision)));
        assert_eq!(history.position_after(Revision(10)), Err(Lost { oldest: Revision(11) }));
        assert_eq!(history.position_after(Revision(11)), Ok(1));
        assert!(history.from(0, 1).is_err());
        assert_eq!(history.from(1, 1).map(|events| events[0].revision), Ok(Revision(12)));
        assert_eq!(history.from(history.end(), 1).map(|events| events.len()), Ok(0));
    }
}
