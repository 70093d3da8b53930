//! Watches: the current state if wanted, then every change, as lines of JSON.
//!
//! The stream holds a cursor into the cache's history and little else; a client
//! that reads too slowly is told 410 and lists again.

use super::{
    Call,
    filter::Filter,
    list,
    options::{Freshness, ListOptions},
};
use crate::{
    cache::{CachedEvent, Caches, EventKind, Lost, Watcher, frame},
    http::{
        negotiate::Shape,
        reply::{Columns, Rendering, Reply},
        status::ApiError,
    },
    registry::Resource,
    storage::Encoded,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use wk_platform::http::BodyError;
use wk_store::Revision;

/// How long a watch lives when the client does not say: between this and twice
/// this (upstream: `minRequestTimeout`).
const LIFETIME_MIN: Duration = Duration::from_secs(1800);

/// How often bookmarks are sent (upstream: `bookmarkFrequency`).
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// The last bookmark comes this long before the end, so that the client can
/// resume from it.
const LAST_BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// `GET …/{resource}?watch=true`
///
/// # Errors
/// 400, 422, 504. A revision that is too old is an ERROR event of the stream.
pub async fn watch(call: &Call) -> Result<Reply, ApiError> {
    let options = ListOptions::parse(&call.query, true)?;
    let filter = Filter::parse(call.row, &call.query, &call.info.name)?;
    let watch = Watch::start(call, &options, filter).await?;
    let frames = stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((Ok::<_, BodyError>(Frame::data(bytes)), watch))
    });
    let mut response = http::Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Reply::response(response))
}

/// A line of the stream. An object becomes text when its turn comes, so that a
/// client that reads slowly holds no copies.
enum Line {
    Object(EventKind, Encoded),
    Text(Bytes),
}

/// A running watch.
struct Watch {
    row: &'static Resource,
    caches: Caches,
    /// `None` after an error: the lines left are the last ones.
    watcher: Option<Watcher>,
    /// Empty for all.
    namespace: Box<str>,
    filter: Filter,
    rendering: Rendering,
    columns: Columns,
    /// Lines not yet sent; refilled from the history when empty.
    lines: VecDeque<Line>,
    end: Instant,
    bookmark_at: Option<Instant>,
}

impl Watch {
    async fn start(call: &Call, options: &ListOptions, filter: Filter) -> Result<Self, ApiError> {
        let lifetime = match options.timeout_seconds.filter(|seconds| *seconds > 0) {
            Some(seconds) => Duration::from_secs(seconds),
            None => call.server.entropy.jitter(LIFETIME_MIN, 1.0),
        };
        let now = Instant::now();
        let end = now + lifetime;
        let last_bookmark = now + lifetime.saturating_sub(LAST_BOOKMARK_BEFORE_END);
        let mut watch = Self {
            row: call.row,
            caches: call.server.caches.clone(),
            watcher: None,
            namespace: call.namespace().into(),
            filter,
            rendering: call.rendering,
            columns: Columns::Told,
            lines: VecDeque::new(),
            end,
            bookmark_at: options.bookmarks.then(|| last_bookmark.min(now + BOOKMARK_PERIOD)),
        };
        watch.begin(call, options).await?;
        Ok(watch)
    }

    /// Queues the initial events and sets the cursor behind them.
    async fn begin(&mut self, call: &Call, options: &ListOptions) -> Result<(), ApiError> {
        let caches = &call.server.caches;
        let wants_state = options.initial_events;
        let after = match options.freshness {
            Freshness::NotOlderThan(revision) | Freshness::Exact(revision) if wants_state != Some(true) => {
                Some(Revision(revision))
            }
            Freshness::NotOlderThan(revision) | Freshness::Exact(revision) => {
                caches.wait_for(Revision(revision)).await?;
                None
            }
            Freshness::Any => None,
            Freshness::Newest => {
                caches.wait_until_fresh().await?;
                None
            }
        };
        let cache = caches.of(self.row).await?;
        let after = match after {
            Some(after) => after,
            None => self.queue_state(call, wants_state).await?,
        };
        match cache.watch(after) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(lost) => self.fail(after, lost),
        }
        Ok(())
    }

    /// Queues the current state as ADDED events, and its end when that was asked for.
    async fn queue_state(&mut self, call: &Call, wanted: Option<bool>) -> Result<Revision, ApiError> {
        let (objects, revision) = list::matching(call, &self.filter).await?;
        if wanted != Some(false) {
            for object in &objects {
                self.lines.push_back(Line::Object(EventKind::Added, object.encoded.clone()));
            }
        }
        if wanted == Some(true) {
            let annotations = json!({
                "k8s.io/initial-events-end": "true",
                "kubernetes.io/initial-events-list-blueprint": self.blueprint(),
            });
            let line = self.bookmark(revision, Some(annotations));
            self.lines.push_back(Line::Text(line));
        }
        Ok(revision)
    }

    /// An empty list of the kind, for clients that build a list from the events.
    fn blueprint(&self) -> String {
        let (kind, api_version) = (self.row.kind, self.row.api_version());
        let list =
            format!("{{\"kind\":\"{kind}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{{}},\"items\":null}}\n");
        STANDARD.encode(list)
    }

    /// The next line; `None` at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.lines.pop_front() {
                Some(Line::Object(kind, object)) => return Some(self.text(kind, &object)),
                Some(Line::Text(text)) => return Some(text),
                None => {}
            }
            let watcher = self.watcher.as_mut()?;
            let bookmark_at = self.bookmark_at.unwrap_or(self.end);
            tokio::select! {
                biased; // events before bookmarks before the end
                events = watcher.next() => self.take(events),
                () = sleep_until(bookmark_at), if self.bookmark_at.is_some() => self.mark(),
                () = sleep_until(self.end) => return None,
            }
        }
    }

    fn take(&mut self, events: Result<Vec<Arc<CachedEvent>>, Lost>) {
        match events {
            Ok(events) => {
                let lines: Vec<Line> = events.iter().filter_map(|event| self.line(event)).collect();
                self.lines.extend(lines);
            }
            Err(lost) => self.fail(lost.oldest, lost),
        }
    }

    /// Queues a bookmark, unless there are changes to send first.
    fn mark(&mut self) {
        // Read before looking: whatever is committed up to here is in the cache.
        let progress = self.caches.progress();
        if let Some(watcher) = self.watcher.as_mut() {
            let events = watcher.ready();
            self.take(events);
        }
        if self.lines.is_empty() {
            let line = self.bookmark(progress, None);
            self.lines.push_back(Line::Text(line));
        }
        let next = Instant::now() + BOOKMARK_PERIOD;
        self.bookmark_at = (next < self.end).then_some(next);
    }

    fn fail(&mut self, after: Revision, lost: Lost) {
        let error = ApiError::Expired(format!("too old resource version: {after} ({})", lost.oldest));
        let line = json!({"type": "ERROR", "object": error.status()});
        self.lines.push_back(Line::Text(format!("{line}\n").into()));
        self.watcher = None;
    }

    /// What this watch sees of a change: an object that comes to match is added,
    /// one that no longer does is deleted.
    fn line(&self, event: &CachedEvent) -> Option<Line> {
        if !self.namespace.is_empty() && self.namespace != event.object.namespace {
            return None;
        }
        let before = event.previous.as_ref().is_some_and(|previous| self.filter.matches(previous));
        let after = event.kind != EventKind::Deleted && self.filter.matches(&event.object);
        let now = &event.object.encoded;
        match (event.kind, before, after) {
            (EventKind::Deleted, true, _) => Some(Line::Object(EventKind::Deleted, now.clone())),
            (_, false, true) => Some(Line::Object(EventKind::Added, now.clone())),
            (_, true, true) => Some(Line::Object(EventKind::Modified, now.clone())),
            (_, true, false) => {
                // As it last matched, at the revision of the change.
                let last = event.previous.as_ref()?.encoded.at_revision(event.revision);
                Some(Line::Object(EventKind::Deleted, last))
            }
            (_, false, false) => None,
        }
    }

    fn text(&mut self, kind: EventKind, object: &Encoded) -> Bytes {
        if self.rendering.accepted.shape == Shape::Object {
            return frame(self.row, kind, object);
        }
        let columns = std::mem::replace(&mut self.columns, Columns::Known);
        let shape = self.rendering.accepted.shape;
        let value = object.decode(self.row);
        let value = value.map(|value| self.rendering.object(self.row, shape, value, columns)).unwrap_or_default();
        format!("{}\n", json!({"type": kind.name(), "object": value})).into()
    }

    fn bookmark(&mut self, revision: Revision, annotations: Option<Value>) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if let Some(annotations) = annotations {
            metadata["annotations"] = annotations;
        }
        let object = match self.rendering.accepted.shape {
            Shape::Table(version) => json!({
                "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": revision.to_string()}, "columnDefinitions": null, "rows": [],
            }),
            Shape::Partial(version) => json!({
                "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
            }),
            Shape::Object => {
                json!({"kind": self.row.kind, "apiVersion": self.row.api_version(), "metadata": metadata})
            }
        };
        format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into()
    }
}
