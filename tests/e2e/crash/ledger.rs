//! What a client was told: by acknowledgements ([`Worker`]) and by watches
//! ([`Seen`]). Each object belongs to one worker, so that it knows what is there.

use super::{KINDS, api, resource};
use futures::StreamExt;
use kube::{
    Api, Client, Error,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;
use wk_platform::Entropy;

/// Names each worker's objects carry, and how many it has of each kind.
const SLOTS_PER_KIND: usize = 2;

/// Said twice in every object, so that half of a write would show.
const COUNT: &str = "count";

pub fn selected() -> ListParams {
    ListParams::default().labels(COUNT)
}

/// An object's count and resource version.
type State = Option<(u64, u64)>;

fn state(object: &DynamicObject) -> (u64, u64) {
    let count = |map: &Option<BTreeMap<String, String>>| map.as_ref().unwrap()[COUNT].parse::<u64>().unwrap();
    let (metadata, twice) = (&object.metadata, count(&object.metadata.annotations));
    assert_eq!(count(&metadata.labels), twice, "half a write: {metadata:?}");
    (twice, metadata.resource_version.as_ref().unwrap().parse().unwrap())
}

/// One name, and what is there.
pub struct Slot {
    pub kind: usize,
    pub name: String,
    object: Option<DynamicObject>,
    /// What a write that got no answer would have left: the count, or nothing.
    unanswered: Option<Option<u64>>,
}

impl Slot {
    /// Checks what is stored now, and goes on from it.
    pub fn check(&mut self, found: Option<DynamicObject>, list_version: u64, seed: u64) {
        let told: State = self.object.as_ref().map(state);
        let now: State = found.as_ref().map(state);
        let as_unanswered = self.unanswered.is_some_and(|count| now.map(|(count, _)| count) == count);
        assert!(
            now == told || as_unanswered,
            "seed {seed}: {} was {told:?}, perhaps {:?}, and is {now:?}",
            self.name,
            self.unanswered
        );
        assert!(told.is_none_or(|(_, version)| version <= list_version), "seed {seed}: revisions went back");
        (self.object, self.unanswered) = (found, None);
    }
}

/// Writes to its slots until the server is gone.
pub struct Worker {
    pub slots: Vec<Slot>,
    pub acknowledged: u64,
    entropy: Entropy,
    count: u64,
    newest: u64,
}

impl Worker {
    pub fn new(index: usize, seed: u64) -> Self {
        let slot = |kind: usize, slot: usize| {
            let name = format!("worker-{index}-{}-{slot}", KINDS[kind].0.to_lowercase());
            Slot { kind, name, object: None, unanswered: None }
        };
        let slots = (0..KINDS.len()).flat_map(|kind| (0..SLOTS_PER_KIND).map(move |at| slot(kind, at))).collect();
        Self { slots, acknowledged: 0, entropy: Entropy::seeded(seed), count: 0, newest: 0 }
    }

    pub async fn work(mut self, client: Client, progress: Arc<watch::Sender<u64>>, seed: u64) -> Self {
        loop {
            self.count += 1;
            let (at, verb) = (self.entropy.below(self.slots.len() as u64) as usize, self.entropy.below(4));
            let slot = &mut self.slots[at];
            let wanted = if slot.object.is_some() && verb == 0 { None } else { Some(self.count) };
            match write(&api(&client, slot.kind), slot, verb, self.count).await {
                Ok(object) => {
                    self.acknowledged += 1;
                    progress.send_modify(|count| *count += 1);
                    if let Some((count, version)) = object.as_ref().map(state) {
                        assert_eq!(Some(count), wanted);
                        assert!(version > self.newest, "seed {seed}: {version} after {}", self.newest);
                        self.newest = version;
                    }
                    slot.object = object;
                }
                Err(Error::Api(status)) => panic!("seed {seed}: {} was refused: {status:?}", slot.name),
                Err(_) => {
                    slot.unanswered = Some(wanted);
                    return self;
                }
            }
        }
    }
}

/// Creates what is not there; else deletes, replaces or patches it. What is there
/// after it.
async fn write(api: &Api<DynamicObject>, slot: &Slot, verb: u64, count: u64) -> Result<Option<DynamicObject>, Error> {
    let marks = json!({COUNT: count.to_string()});
    let Some(object) = &slot.object else {
        let mut new = DynamicObject::new(&slot.name, &resource(slot.kind));
        new.metadata.labels = serde_json::from_value(marks.clone()).unwrap();
        new.metadata.annotations = serde_json::from_value(marks).unwrap();
        if KINDS[slot.kind].0 == "Service" {
            new.data = json!({"spec": {"ports": [{"port": 80}]}});
        }
        return api.create(&PostParams::default(), &new).await.map(Some);
    };
    match verb {
        0 => api.delete(&slot.name, &DeleteParams::default()).await.map(|_| None),
        1 => {
            let mut changed = object.clone();
            changed.types =
                Some(kube::core::TypeMeta { api_version: "v1".to_owned(), kind: KINDS[slot.kind].0.to_owned() });
            changed.metadata.labels = serde_json::from_value(marks.clone()).unwrap();
            changed.metadata.annotations = serde_json::from_value(marks).unwrap();
            api.replace(&slot.name, &PostParams::default(), &changed).await.map(Some)
        }
        _ => {
            let patch = json!({"metadata": {"labels": marks, "annotations": marks}});
            api.patch(&slot.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(Some)
        }
    }
}

/// What one watch of a kind has told.
#[derive(Default)]
pub struct Seen {
    /// `None` for deleted, and when.
    objects: BTreeMap<String, (Option<u64>, u64)>,
    /// Resumed from here.
    version: u64,
}

impl Seen {
    /// Watches on from where it was until the server is gone; lists anew when it
    /// is told to.
    pub async fn watch(mut self, api: Api<DynamicObject>) -> Self {
        let params = WatchParams::default().labels(COUNT);
        loop {
            if self.version == 0 && self.list(&api).await.is_err() {
                return self;
            }
            let Ok(stream) = api.watch(&params, &self.version.to_string()).await else { return self };
            let mut stream = stream.boxed();
            loop {
                match stream.next().await {
                    Some(Ok(WatchEvent::Error(status))) => {
                        assert_eq!(status.code, 410, "{status:?}");
                        break;
                    }
                    Some(Ok(event)) => self.note(event),
                    Some(Err(_)) | None => return self,
                }
            }
            if self.list(&api).await.is_err() {
                return self;
            }
        }
    }

    async fn list(&mut self, api: &Api<DynamicObject>) -> Result<(), Error> {
        let list = api.list(&selected()).await?;
        let version = list.metadata.resource_version.unwrap().parse().unwrap();
        assert!(version >= self.version, "a list from before what was watched");
        self.version = version;
        let found = list.items.iter().map(|object| (object.metadata.name.clone().unwrap(), state(object)));
        self.objects = found.map(|(name, (count, version))| (name, (Some(count), version))).collect();
        Ok(())
    }

    fn note(&mut self, event: WatchEvent<DynamicObject>) {
        let (object, deleted) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return,
        };
        let (count, version) = state(&object);
        assert!(version > self.version, "event {version} after {}", self.version);
        self.version = version;
        self.objects.insert(object.metadata.name.unwrap(), ((!deleted).then_some(count), version));
    }

    /// What was seen was durable: nothing is older now.
    pub fn check(&mut self, found: &BTreeMap<String, DynamicObject>, list_version: u64, seed: u64) {
        assert!(self.version <= list_version, "seed {seed}: revisions went back");
        for (name, (count, version)) in &self.objects {
            let Some((now, at)) = found.get(name).map(state) else { continue };
            assert!(
                at > *version || (at == *version && Some(now) == *count),
                "seed {seed}: {name} was seen with {count:?} at {version}, and is {now} at {at}"
            );
        }
    }
}
