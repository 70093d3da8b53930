//! Recorded events: handed over without waiting, merged and rate-limited as
//! upstream's correlator does (`client-go/tools/record/events_cache.go`), written by one task.
//!
//! [`Correlator`] decides; [`write`] does the I/O. A full channel drops the
//! event: events are for people, and must not slow a controller down.

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use wk_platform::Clock;

/// Events waiting to be written; more are dropped.
const WAITING_MAX: usize = 1024;
/// Remembered events of each sort; the memory starts afresh beyond that.
const REMEMBERED_MAX: usize = 4096;
/// Messages that may differ before events of one reason are shown as one.
const SIMILAR_MAX: usize = 10;
/// How long events count as similar.
const SIMILAR_SECONDS: i64 = 600;
/// Events one object may have at once, from one component.
const BURST: f64 = 25.0;
/// After a burst, one more event in this many seconds.
const REFILL_SECONDS: f64 = 300.0;

/// The sort of a recorded event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Only for information.
    Normal,
    /// Something is wrong.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that happened to one object.
#[derive(Clone, Debug)]
struct Note {
    component: &'static str,
    object: ObjectReference,
    event_type: EventType,
    reason: &'static str,
    message: String,
}

/// Hands events to the writer. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    component: &'static str,
    notes: mpsc::Sender<Note>,
}

impl Recorder {
    /// A recorder and the inbox that [`write`] drains.
    pub fn new(component: &'static str) -> (Self, Inbox) {
        let (notes, inbox) = mpsc::channel(WAITING_MAX);
        (Self { component, notes }, Inbox(inbox))
    }

    /// The same writer under another component's name.
    pub fn named(&self, component: &'static str) -> Self {
        Self { component, notes: self.notes.clone() }
    }

    /// Records an event about `object`; never waits.
    pub fn record<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        event_type: EventType,
        reason: &'static str,
        message: String,
    ) {
        self.record_about(object.object_ref(&()), event_type, reason, message);
    }

    /// Records an event about an object known by reference.
    pub fn record_about(&self, object: ObjectReference, event_type: EventType, reason: &'static str, message: String) {
        let note = Note { component: self.component, object, event_type, reason, message };
        if self.notes.try_send(note).is_err() {
            debug!(reason, "dropped an event");
        }
    }
}

/// Events on their way to the API server.
pub struct Inbox(mpsc::Receiver<Note>);

/// Writes events until every recorder is gone.
pub async fn write(client: Client, clock: Clock, mut inbox: Inbox) {
    let mut correlator = Correlator::default();
    while let Some(note) = inbox.0.recv().await {
        let now = clock.now();
        let Some(event) = correlator.correlate(note, now) else { continue };
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        if let Err(error) = post(&Api::namespaced(client.clone(), &namespace), &event).await {
            warn!(%namespace, %error, "could not record an event");
        }
    }
}

/// A first occurrence is created; a repetition counts up, or is created again
/// when the recorded one has expired meanwhile.
async fn post(events: &Api<Event>, event: &Event) -> kube::Result<()> {
    if event.count > Some(1) {
        let patch = json!({"count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message });
        let name = event.metadata.name.as_deref().unwrap_or_default();
        match events.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => return other.map(|_| ()),
        }
    }
    match events.create(&PostParams::default(), event).await {
        // The namespace is going away, and its events with it.
        Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What makes two events similar.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Sort {
    component: &'static str,
    uid: String,
    name: String,
    event_type: EventType,
    reason: &'static str,
}

#[derive(Default)]
struct Similar {
    messages: HashSet<String>,
    last_seconds: i64,
}

struct Recorded {
    name: String,
    first: Timestamp,
    count: i32,
}

struct Bucket {
    tokens: f64,
    at_seconds: f64,
}

/// Which notes become new events, which count up an old one, and which go.
#[derive(Default)]
struct Correlator {
    similar: HashMap<Sort, Similar>,
    recorded: HashMap<(Sort, Option<String>), Recorded>,
    buckets: HashMap<(&'static str, String, String), Bucket>,
}

impl Correlator {
    fn correlate(&mut self, note: Note, now: Timestamp) -> Option<Event> {
        let sort = Sort {
            component: note.component,
            uid: note.object.uid.clone().unwrap_or_default(),
            name: note.object.name.clone().unwrap_or_default(),
            event_type: note.event_type,
            reason: note.reason,
        };
        let aggregated = self.is_one_of_many(&sort, &note.message, now);
        if !self.has_token(&sort, now) {
            return None;
        }
        let (message, identity) = if aggregated {
            (format!("(combined from similar events): {}", note.message), (sort, None))
        } else {
            (note.message.clone(), (sort, Some(note.message.clone())))
        };
        bound(&mut self.recorded);
        let object_name = note.object.name.as_deref().unwrap_or_default();
        let recorded = self.recorded.entry(identity).or_insert_with(|| Recorded {
            name: format!("{object_name}.{:x}", now.as_nanosecond()),
            first: now,
            count: 0,
        });
        recorded.count += 1;
        Some(event(&note, message, recorded, now))
    }

    fn is_one_of_many(&mut self, sort: &Sort, message: &str, now: Timestamp) -> bool {
        bound(&mut self.similar);
        let similar = self.similar.entry(sort.clone()).or_default();
        if now.as_second() - similar.last_seconds > SIMILAR_SECONDS {
            similar.messages.clear();
        }
        similar.last_seconds = now.as_second();
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(message.to_owned());
        }
        similar.messages.len() >= SIMILAR_MAX
    }

    fn has_token(&mut self, sort: &Sort, now: Timestamp) -> bool {
        bound(&mut self.buckets);
        let now_seconds = now.as_millisecond() as f64 / 1000.0;
        let bucket = self
            .buckets
            .entry((sort.component, sort.uid.clone(), sort.name.clone()))
            .or_insert(Bucket { tokens: BURST, at_seconds: now_seconds });
        bucket.tokens = (bucket.tokens + (now_seconds - bucket.at_seconds) / REFILL_SECONDS).min(BURST);
        bucket.at_seconds = now_seconds;
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }
}

fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= REMEMBERED_MAX {
        map.clear();
    }
}

fn event(note: &Note, message: String, recorded: &Recorded, now: Timestamp) -> Event {
    let seconds = |time: Timestamp| Timestamp::from_second(time.as_second()).ok().map(Time);
    let namespace = note.object.namespace.clone().filter(|namespace| !namespace.is_empty());
    Event {
        metadata: ObjectMeta {
            name: Some(recorded.name.clone()),
            namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: note.object.clone(),
        type_: Some(note.event_type.as_str().to_owned()),
        reason: Some(note.reason.to_owned()),
        message: Some(message),
        count: Some(recorded.count),
        first_timestamp: seconds(recorded.first),
        last_timestamp: seconds(now),
        source: Some(EventSource { component: Some(note.component.to_owned()), host: None }),
        reporting_component: Some(note.component.to_owned()),
        reporting_instance: Some(String::new()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        let object = ObjectReference { uid: Some("1".into()), name: Some("web".into()), ..ObjectReference::default() };
        let (event_type, reason) = (EventType::Normal, "SuccessfulCreate");
        Note { component: "replicaset-controller", object, event_type, reason, message: message.into() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("valid")
    }

    #[test]
    fn a_repetition_counts_up_under_the_same_name() {
        let mut correlator = Correlator::default();
        let first = correlator.correlate(note("x"), at(0)).expect("recorded");
        let second = correlator.correlate(note("x"), at(5)).expect("recorded");
        assert_eq!(first.metadata.name, second.metadata.name);
        assert_eq!((first.count, second.count), (Some(1), Some(2)));
        assert_eq!(second.first_timestamp, first.last_timestamp);
    }

    #[test]
    fn the_tenth_different_message_is_combined_and_the_26th_event_dropped() {
        let mut correlator = Correlator::default();
        let events: Vec<_> = (0..40).map(|n| correlator.correlate(note(&format!("pod {n}")), at(0))).collect();
        let message = |n: usize| events[n].as_ref().and_then(|event| event.message.clone()).unwrap_or_default();
        assert_eq!(message(8), "pod 8");
        assert_eq!(message(9), "(combined from similar events): pod 9");
        assert_eq!(events[24].as_ref().and_then(|event| event.count), Some(16));
        assert!(events[25].is_none());
        assert!(correlator.correlate(note("later"), at(301)).is_some());
    }
}
