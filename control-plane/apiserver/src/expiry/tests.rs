//! Expiry over the memory store, in virtual time.

use super::*;
use crate::{
    ApiServer, Config,
    cache::{EventKind, Watcher},
};
use serde_json::json;
use tokio::time::timeout;
use wk_platform::{Entropy, TaskGroup};
use wk_store::{Durability, Expected, memory::MemoryStore};

const MINUTE: Duration = Duration::from_secs(60);

/// When the tests begin.
const EPOCH: &str = "2026-01-01T00:00:00Z";

struct Fixture {
    store: Arc<dyn Store>,
    begin: Instant,
    server: Option<(ApiServer, TaskGroup)>,
}

impl Fixture {
    fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Self { store, begin: Instant::now(), server: None }
    }

    async fn start(&mut self) {
        let tasks = TaskGroup::new();
        let config = Config {
            store: self.store.clone(),
            clock: Clock::virtual_from(EPOCH.parse().expect("a time")),
            entropy: Entropy::seeded(7),
            service_cidr: "10.96.0.0/16".parse().expect("a network"),
            node_ports: 30000..=32767,
            advertise: "127.0.0.1:6443".parse().expect("an address"),
            tasks: tasks.clone(),
        };
        self.server = Some((ApiServer::start(config).await.expect("starts"), tasks));
    }

    /// What a client sees from now on.
    async fn watch(&self) -> Watcher {
        let (server, _) = self.server.as_ref().expect("started");
        let cache = server.server.caches.of(&event::RESOURCE).await.expect("a cache");
        cache.watch(self.store.revision()).expect("watches from now")
    }

    async fn put(&self, name: &str, event: Value) -> Revision {
        let key = storage::key(&event::RESOURCE, "default", name);
        let found = self.store.get(&key).await.expect("reads");
        let expected = found.map_or(Expected::Absent, |entry| Expected::At(entry.modified));
        self.store.put(key, storage::encode(&event), expected, Durability::Durable).await.expect("writes")
    }

    /// The next events to be deleted, and the minutes since the beginning.
    async fn deleted(&self, watcher: &mut Watcher) -> (Vec<String>, u64) {
        loop {
            let seen = timeout(MINUTE * 120, watcher.next()).await.expect("something expires").expect("keeps up");
            let deleted = seen.iter().filter(|change| change.kind == EventKind::Deleted);
            let names: Vec<String> = deleted.map(|change| change.object.name.to_string()).collect();
            if !names.is_empty() {
                return (names, self.begin.elapsed().as_secs() / 60);
            }
        }
    }

    async fn stored(&self) -> usize {
        let prefix = Key::from(storage::prefix(&event::RESOURCE, ""));
        self.store.list(&prefix, Page::default()).await.expect("lists").entries.len()
    }
}

/// Everything that happens in this time has happened after it.
async fn pass(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

fn written(at: &str) -> Value {
    json!({"metadata": {"name": "x", "creationTimestamp": at}})
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_after_an_hour_and_a_write_renews_it() {
    let mut fixture = Fixture::new();
    fixture.start().await;
    let mut watcher = fixture.watch().await;
    fixture.put("once", written(EPOCH)).await;
    fixture.put("again", written(EPOCH)).await;
    pass(MINUTE * 30).await;
    fixture.put("again", json!({"metadata": {"name": "x", "creationTimestamp": EPOCH}, "count": 2})).await;
    assert_eq!(fixture.deleted(&mut watcher).await, (vec!["once".to_owned()], 60));
    assert_eq!(fixture.stored().await, 1);
    assert_eq!(fixture.deleted(&mut watcher).await, (vec!["again".to_owned()], 90));
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_no_deadline() {
    let mut fixture = Fixture::new();
    fixture.put("long-over", written("2025-12-24T00:00:00Z")).await;
    fixture.put("nearly", written("2025-12-31T23:10:00Z")).await;
    let mut series = written("2025-12-24T00:00:00Z");
    series["series"] = json!({"count": 9, "lastObservedTime": "2025-12-31T23:40:00.000000Z"});
    fixture.put("series", series).await;
    fixture.put("from-the-future", written("9999-01-01T00:00:00Z")).await;
    fixture.start().await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(fixture.stored().await, 3);
    let mut watcher = fixture.watch().await;
    assert_eq!(fixture.deleted(&mut watcher).await, (vec!["nearly".to_owned()], 10));
    assert_eq!(fixture.deleted(&mut watcher).await, (vec!["series".to_owned()], 40));
    assert_eq!(fixture.deleted(&mut watcher).await, (vec!["from-the-future".to_owned()], 60));
}

#[tokio::test(start_paused = true)]
async fn events_due_within_a_minute_go_together() {
    let mut fixture = Fixture::new();
    fixture.start().await;
    let mut watcher = fixture.watch().await;
    for name in ["a", "b", "c"] {
        fixture.put(name, written(EPOCH)).await;
        pass(MINUTE / 4).await;
    }
    assert_eq!(fixture.deleted(&mut watcher).await.0, ["a"]);
    let (mut together, minutes) = fixture.deleted(&mut watcher).await;
    if together.len() == 1 {
        together.extend(fixture.deleted(&mut watcher).await.0);
    }
    together.sort();
    assert_eq!((together, minutes), (vec!["b".to_owned(), "c".to_owned()], 61));
}

#[tokio::test(start_paused = true)]
async fn too_many_events_push_out_the_oldest() {
    let mut fixture = Fixture::new();
    fixture.start().await;
    for number in 0..=EVENTS_MAX {
        fixture.put(&number.to_string(), json!({})).await;
    }
    pass(MINUTE).await;
    assert_eq!(fixture.stored().await, EVENTS_MAX + 1 - BATCH);
    let kept = storage::key(&event::RESOURCE, "default", &BATCH.to_string());
    let gone = storage::key(&event::RESOURCE, "default", &(BATCH - 1).to_string());
    assert!(fixture.store.get(&kept).await.expect("reads").is_some());
    assert!(fixture.store.get(&gone).await.expect("reads").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_writes_nothing() {
    let mut fixture = Fixture::new();
    fixture.start().await;
    fixture.put("fresh", written(EPOCH)).await;
    pass(Duration::from_secs(1)).await;
    let before = fixture.store.revision();
    pass(MINUTE * 58).await;
    assert_eq!(fixture.store.revision(), before);
}
