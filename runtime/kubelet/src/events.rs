//! Recorded events: what users read in `describe`. Anyone in the kubelet hands
//! one over without waiting; one task writes them, and counts repetitions up
//! instead of writing new ones.
//!
//! When events come faster than the API server takes them, they are dropped and
//! counted in a log line: a pod's life must not wait for its chronicle.

use crate::spec::{self, Role};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tracing::{debug, warn};
use wk_platform::Clock;

/// Events waiting to be written.
const QUEUE_MAX: usize = 4096;

/// Events whose repetitions are counted (upstream: `maxLruCacheEntries`).
const KNOWN_MAX: usize = 4096;

/// Events of one object in a burst, and the time until one more is allowed
/// (upstream: `defaultSpamBurst`, `defaultSpamQPS`).
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);

/// Longest message (upstream: validation of events).
const MESSAGE_BYTES_MAX: usize = 1024;

/// Whether a person should worry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// No.
    Normal,
    /// Yes.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    object: Object,
    type_: EventType,
    reason: &'static str,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Object {
    kind: &'static str,
    namespace: Option<String>,
    name: String,
    uid: String,
    resource_version: Option<String>,
    field_path: Option<String>,
}

/// Where events go. Clones go to the same place.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// The other end: writes what it gets.
pub struct EventWriter {
    queue: mpsc::Receiver<Entry>,
    dropped: Arc<AtomicU64>,
    client: Client,
    clock: Clock,
    node_name: String,
    known: HashMap<Entry, Known>,
    order: VecDeque<Entry>,
    spam: HashMap<String, Bucket>,
    /// The time in the last name, which no other name may have.
    last_nanos: i128,
}

struct Known {
    name: String,
    count: i32,
}

struct Bucket {
    tokens: f64,
    at: jiff::Timestamp,
}

/// A recorder and its writer, which must be run.
pub fn recorder(client: Client, clock: Clock, node_name: String) -> (Recorder, EventWriter) {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let (known, order, spam) = (HashMap::new(), VecDeque::new(), HashMap::new());
    let writer = EventWriter {
        queue,
        dropped: Arc::clone(&dropped),
        client,
        clock,
        node_name,
        known,
        order,
        spam,
        last_nanos: 0,
    };
    (Recorder { queue: sender, dropped }, writer)
}

impl Recorder {
    /// Records something about the pod as a whole.
    pub fn pod(&self, pod: &Pod, type_: EventType, reason: &'static str, message: impl Into<String>) {
        self.send(pod_object(pod, None), type_, reason, message.into());
    }

    /// Records something about a container of the pod.
    pub fn container(
        &self,
        pod: &Pod,
        container: &str,
        type_: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let role = spec::container(pod, container).map_or(Role::Main, |(role, _)| role);
        let path = spec::field_path(role, container);
        self.send(pod_object(pod, Some(path)), type_, reason, message.into());
    }

    /// Records something about the node. Upstream uses the node's name as UID here.
    pub fn node(&self, node_name: &str, reason: &'static str, message: impl Into<String>) {
        let (name, uid) = (node_name.to_owned(), node_name.to_owned());
        let (namespace, resource_version, field_path) = (None, None, None);
        let object = Object { kind: "Node", namespace, name, uid, resource_version, field_path };
        self.send(object, EventType::Normal, reason, message.into());
    }

    fn send(&self, object: Object, type_: EventType, reason: &'static str, mut message: String) {
        if message.len() > MESSAGE_BYTES_MAX {
            let end = message.floor_char_boundary(MESSAGE_BYTES_MAX - 3);
            message.truncate(end);
            message.push_str("...");
        }
        if self.queue.try_send(Entry { object, type_, reason, message }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn pod_object(pod: &Pod, field_path: Option<String>) -> Object {
    Object {
        kind: "Pod",
        namespace: Some(spec::namespace(pod).to_owned()),
        name: spec::name(pod).to_owned(),
        uid: spec::uid(pod).to_owned(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}

impl EventWriter {
    /// Writes events until every recorder is gone.
    ///
    /// # Errors
    /// None: an event that cannot be written is logged and forgotten.
    pub async fn run(mut self) -> Result<(), std::convert::Infallible> {
        while let Some(entry) = self.queue.recv().await {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                warn!(dropped, "dropped recorded events");
            }
            if let Err(error) = self.write(entry).await {
                debug!(%error, "could not record an event");
            }
        }
        Ok(())
    }

    async fn write(&mut self, mut entry: Entry) -> kube::Result<()> {
        let version = entry.object.resource_version.take(); // not part of what makes it the same
        if !self.allow(&entry) {
            return Ok(());
        }
        let namespace = entry.object.namespace.as_deref().unwrap_or("default");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(known) = self.known.get_mut(&entry) {
            let patch = serde_json::json!({"count": known.count + 1, "lastTimestamp": Time(self.clock.now_seconds())});
            match events.patch(&known.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => known.count += 1,
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.known.remove(&entry); // it has expired; the next one is new
                }
                Err(error) => return Err(error),
            }
            return Ok(());
        }
        let event = self.event(&entry, version);
        let name = event.metadata.name.clone().unwrap_or_default();
        events.create(&PostParams::default(), &event).await?;
        self.remember(entry, name);
        Ok(())
    }

    fn remember(&mut self, entry: Entry, name: String) {
        if self.order.len() >= KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(entry.clone());
        self.known.insert(entry, Known { name, count: 1 });
    }

    /// Whether the object has not had too many events of late.
    fn allow(&mut self, entry: &Entry) -> bool {
        let now = self.clock.now();
        if self.spam.len() > KNOWN_MAX {
            self.spam.retain(|_, bucket| bucket.level(now) < BURST);
        }
        let bucket = self.spam.entry(entry.object.uid.clone()).or_insert(Bucket { tokens: BURST, at: now });
        bucket.tokens = bucket.level(now);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        bucket.tokens -= f64::from(u8::from(allowed));
        allowed
    }

    fn event(&mut self, entry: &Entry, resource_version: Option<String>) -> Event {
        let Entry { object, type_, reason, message } = entry;
        // Upstream's names: the object's, and the time in nanoseconds.
        self.last_nanos = self.clock.now().as_nanosecond().max(self.last_nanos + 1);
        let name = format!("{}.{:x}", object.name, self.last_nanos);
        let time = Time(self.clock.now_seconds());
        let type_ = match type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: object.namespace.clone(), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some(object.kind.to_owned()),
                namespace: object.namespace.clone(),
                name: Some(object.name.clone()),
                uid: Some(object.uid.clone()),
                resource_version,
                field_path: object.field_path.clone(),
            },
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(self.node_name.clone()) }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node_name.clone()),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            count: Some(1),
            type_: Some(type_.to_owned()),
            ..Event::default()
        }
    }
}

impl Bucket {
    fn level(&self, now: jiff::Timestamp) -> f64 {
        let since = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        (self.tokens + since.as_secs_f64() / REFILL.as_secs_f64()).min(BURST)
    }
}

/// A duration as Go prints it, which users know from events: `1m20s`, `12ms`, `1.5s`.
pub fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let trimmed = |value: f64| {
        let text = format!("{value:.9}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", trimmed(duration.as_secs_f64() * 1e6)),
        1_000_000..1_000_000_000 => format!("{}ms", trimmed(duration.as_secs_f64() * 1e3)),
        _ => {
            let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
            let seconds = trimmed((duration.as_secs() % 60) as f64 + f64::from(duration.subsec_nanos()) / 1e9);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_like_gos() {
        let shown = |millis| go_duration(Duration::from_millis(millis));
        assert_eq!([shown(0), shown(12), shown(1_500), shown(10_000)], ["0s", "12ms", "1.5s", "10s"]);
        assert_eq!([shown(80_000), shown(300_000), shown(3_600_000)], ["1m20s", "5m0s", "1h0m0s"]);
        assert_eq!(go_duration(Duration::from_micros(1_250)), "1.25ms");
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_has_a_burst_and_then_one_event_in_five_minutes() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::empty()))
        });
        let clock = Clock::virtual_from(jiff::Timestamp::UNIX_EPOCH);
        let (_, mut writer) = recorder(Client::new(service, "default"), clock, "n".to_owned());
        let object = pod_object(&Pod::default(), None);
        let entry = Entry { object, type_: EventType::Normal, reason: "Pulled", message: String::new() };
        let burst = (0..30).filter(|_| writer.allow(&entry)).count();
        assert_eq!(burst, 25);
        tokio::time::advance(REFILL).await;
        assert!(writer.allow(&entry) && !writer.allow(&entry));
    }
}
