//! The laws of a [`Store`], as tests over `dyn Store`.
//!
//! Each law gets an empty store from the caller and panics when it is broken.
//! Every implementation runs [`run`] in its tests. Restart and durability are
//! not here: they need a second store over the same files.
#![allow(clippy::unwrap_used, missing_docs)] // these are tests

use crate::{Change, ChangeStream, Durability, Entry, Error, Expected, Key, Page, Revision, Store};
use bytes::Bytes;
use futures::StreamExt;
use std::{future::Future, sync::Arc, time::Duration};

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store under test.
pub type TestStore = Arc<dyn Store>;

/// Runs every law, each on a store of its own.
///
/// # Panics
/// When a law is broken.
pub async fn run<Made: Future<Output = TestStore>>(make_store: impl Fn() -> Made) {
    revisions_start_at_zero_and_count_commits(make_store().await).await;
    create_needs_absence(make_store().await).await;
    replace_needs_the_current_revision(make_store().await).await;
    delete_needs_the_current_revision(make_store().await).await;
    recreated_keys_have_a_new_creation(make_store().await).await;
    one_of_many_concurrent_writers_wins(make_store().await).await;
    list_is_ordered_and_by_prefix(make_store().await).await;
    list_pages(make_store().await).await;
    list_reads_the_past(make_store().await).await;
    watch_replays_history_and_goes_on(make_store().await).await;
    watch_tells_the_old_value(make_store().await).await;
    watch_sees_only_its_prefix(make_store().await).await;
    watch_may_start_in_the_future(make_store().await).await;
    watchers_see_every_commit_once_in_order(make_store().await).await;
    compaction_expires_the_past_and_keeps_the_present(make_store().await).await;
    a_lagging_watch_expires(make_store().await).await;
    volatile_values_are_values(make_store().await).await;
    a_replacement_is_one_commit_above_all_others(make_store().await).await;
    a_replacement_ends_watches_and_the_past(make_store().await).await;
    a_closed_store_refuses(make_store().await).await;
}

async fn create(store: &TestStore, key: &str, value: &str) -> Revision {
    write(store, key, value, Expected::Absent).await.unwrap()
}

async fn write(store: &TestStore, key: &str, value: &str, expected: Expected) -> Result<Revision, Error> {
    store.put(key.into(), Bytes::copy_from_slice(value.as_bytes()), expected, Durability::Durable).await
}

/// What `a` holds.
fn entry_of(value: &'static str, created: Revision, modified: Revision) -> Entry {
    Entry { key: "a".into(), value: value.into(), created, modified, durability: Durability::Durable }
}

async fn next(stream: &mut ChangeStream) -> Option<Result<Change, Error>> {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("the watch says something in time")
}

async fn next_change(stream: &mut ChangeStream) -> Change {
    next(stream).await.expect("the watch goes on").expect("the watch has not failed")
}

fn texts(entries: &[Entry]) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    entries.iter().map(|entry| (text(&entry.key.0), text(&entry.value))).collect()
}

async fn names(store: &TestStore, prefix: &str, page: Page) -> Vec<String> {
    let listing = store.list(&prefix.into(), page).await.unwrap();
    texts(&listing.entries).into_iter().map(|(key, _)| key).collect()
}

pub async fn revisions_start_at_zero_and_count_commits(store: TestStore) {
    assert_eq!(store.revision(), Revision(0));
    let first = create(&store, "a", "1").await;
    let second = create(&store, "b", "1").await;
    let third = store.delete(&"a".into(), first).await.unwrap();
    assert_eq!((first, second, third), (Revision(1), Revision(2), Revision(3)));
    assert_eq!(store.revision(), third);
    assert!(write(&store, "b", "2", Expected::Absent).await.is_err());
    assert_eq!(store.revision(), third, "a refused write is no commit");
}

pub async fn create_needs_absence(store: TestStore) {
    let at = create(&store, "a", "1").await;
    let entry = store.get(&"a".into()).await.unwrap().unwrap();
    assert_eq!(entry, entry_of("1", at, at));
    match write(&store, "a", "2", Expected::Absent).await {
        Err(Error::Conflict { found: Some(found), expected: Expected::Absent, .. }) => assert_eq!(*found, entry),
        other => panic!("a second create must conflict and show what is there: {other:?}"),
    }
    assert_eq!(store.get(&"b".into()).await.unwrap(), None);
}

pub async fn replace_needs_the_current_revision(store: TestStore) {
    let created = create(&store, "a", "1").await;
    let modified = write(&store, "a", "2", Expected::At(created)).await.unwrap();
    let entry = store.get(&"a".into()).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified, entry.value), (created, modified, Bytes::from_static(b"2")));
    let stale = write(&store, "a", "3", Expected::At(created)).await;
    assert!(matches!(stale, Err(Error::Conflict { found: Some(found), .. }) if found.modified == modified));
    let missing = write(&store, "b", "1", Expected::At(modified)).await;
    assert!(matches!(missing, Err(Error::Conflict { found: None, .. })));
}

pub async fn delete_needs_the_current_revision(store: TestStore) {
    let created = create(&store, "a", "1").await;
    let modified = write(&store, "a", "2", Expected::At(created)).await.unwrap();
    let stale = store.delete(&"a".into(), created).await;
    assert!(matches!(stale, Err(Error::Conflict { found: Some(found), .. }) if found.modified == modified));
    store.delete(&"a".into(), modified).await.unwrap();
    assert_eq!(store.get(&"a".into()).await.unwrap(), None);
    assert!(matches!(store.delete(&"a".into(), modified).await, Err(Error::NotFound(key)) if key == "a".into()));
}

pub async fn recreated_keys_have_a_new_creation(store: TestStore) {
    let first = create(&store, "a", "1").await;
    store.delete(&"a".into(), first).await.unwrap();
    let again = create(&store, "a", "2").await;
    assert_eq!(store.get(&"a".into()).await.unwrap().unwrap().created, again);
}

pub async fn one_of_many_concurrent_writers_wins(store: TestStore) {
    let created = create(&store, "a", "0").await;
    let writes = (0..16).map(|writer| {
        let store = store.clone();
        async move { write(&store, "a", &writer.to_string(), Expected::At(created)).await }
    });
    let results = futures::future::join_all(writes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(store.revision(), Revision(2));
}

pub async fn list_is_ordered_and_by_prefix(store: TestStore) {
    for key in ["/p/b", "/p/a", "/p0", "/p/", "/o/z", "/p/a/x"] {
        create(&store, key, key).await;
    }
    let listing = store.list(&"/p/".into(), Page::default()).await.unwrap();
    let keys: Vec<_> = texts(&listing.entries).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["/p/", "/p/a", "/p/a/x", "/p/b"]);
    assert_eq!((listing.revision, listing.remaining), (Revision(6), 0));
    let nothing = store.list(&"/q".into(), Page::default()).await.unwrap();
    assert_eq!((nothing.entries.len(), nothing.revision), (0, Revision(6)));
}

pub async fn list_pages(store: TestStore) {
    for key in ["/p/a", "/p/b", "/p/c", "/q/d"] {
        create(&store, key, "").await;
    }
    let page = Page { limit: Some(2), ..Page::default() };
    let first = store.list(&"/p/".into(), page.clone()).await.unwrap();
    assert_eq!((first.entries.len(), first.remaining), (2, 1));
    let after = first.entries.last().map(|entry| entry.key.clone());
    let rest = store.list(&"/p/".into(), Page { after, at: Some(first.revision), ..page }).await.unwrap();
    assert_eq!(texts(&rest.entries), [("/p/c".to_owned(), String::new())]);
    assert_eq!(rest.remaining, 0);
}

pub async fn list_reads_the_past(store: TestStore) {
    let first = create(&store, "/p/a", "1").await;
    create(&store, "/p/b", "1").await;
    let then = write(&store, "/p/a", "2", Expected::At(first)).await.unwrap();
    store.delete(&"/p/b".into(), Revision(2)).await.unwrap();
    create(&store, "/p/c", "1").await;
    let at = |revision| Page { at: Some(revision), ..Page::default() };
    let past = store.list(&"/p/".into(), at(then)).await.unwrap();
    assert_eq!(past.revision, then);
    assert_eq!(texts(&past.entries), [("/p/a".into(), "2".into()), ("/p/b".into(), "1".into())]);
    let earliest = store.list(&"/p/".into(), at(first)).await.unwrap();
    assert_eq!(texts(&earliest.entries), [("/p/a".into(), "1".into())]);
    let future = store.list(&"/p/".into(), at(Revision(99))).await;
    assert!(matches!(future, Err(Error::Future { asked: Revision(99), newest: Revision(5) })));
}

pub async fn watch_replays_history_and_goes_on(store: TestStore) {
    create(&store, "a", "1").await;
    create(&store, "b", "1").await;
    let mut stream = store.watch("".into(), Revision(1));
    assert_eq!(next_change(&mut stream).await.key(), &Key::from("b"));
    create(&store, "c", "1").await;
    assert_eq!(next_change(&mut stream).await.revision(), Revision(3));
}

pub async fn watch_tells_the_old_value(store: TestStore) {
    let mut stream = store.watch("".into(), Revision(0));
    let created = create(&store, "a", "1").await;
    let modified = write(&store, "a", "2", Expected::At(created)).await.unwrap();
    let deleted = store.delete(&"a".into(), modified).await.unwrap();
    let first = entry_of("1", created, created);
    let second = Entry { value: "2".into(), modified, ..first.clone() };
    assert_eq!(next_change(&mut stream).await, Change::Put { new: first.clone(), old: None });
    assert_eq!(next_change(&mut stream).await, Change::Put { new: second.clone(), old: Some(first) });
    assert_eq!(next_change(&mut stream).await, Change::Delete { old: second, at: deleted });
}

pub async fn watch_sees_only_its_prefix(store: TestStore) {
    let mut stream = store.watch("/p/".into(), Revision(0));
    create(&store, "/o/a", "1").await;
    create(&store, "/p0", "1").await;
    create(&store, "/p/a", "1").await;
    assert_eq!(next_change(&mut stream).await.key(), &Key::from("/p/a"));
}

pub async fn watch_may_start_in_the_future(store: TestStore) {
    let mut stream = store.watch("".into(), Revision(2));
    for key in ["a", "b", "c"] {
        create(&store, key, "1").await;
    }
    assert_eq!(next_change(&mut stream).await.revision(), Revision(3));
}

pub async fn watchers_see_every_commit_once_in_order(store: TestStore) {
    let mut streams = [store.watch("".into(), Revision(0)), store.watch("".into(), Revision(0))];
    let writes = (0..500).map(|index| {
        let store = store.clone();
        async move { create(&store, &format!("{index:03}"), "1").await }
    });
    futures::future::join_all(writes).await;
    for stream in &mut streams {
        for expected in 1..=500 {
            assert_eq!(next_change(stream).await.revision(), Revision(expected));
        }
    }
}

pub async fn compaction_expires_the_past_and_keeps_the_present(store: TestStore) {
    let first = create(&store, "a", "1").await;
    create(&store, "b", "1").await;
    let third = write(&store, "a", "2", Expected::At(first)).await.unwrap();
    store.compact(third).await.unwrap();
    assert_eq!(names(&store, "", Page::default()).await, ["a", "b"]);
    assert_eq!(names(&store, "", Page { at: Some(third), ..Page::default() }).await, ["a", "b"]);
    let past = store.list(&"".into(), Page { at: Some(first), ..Page::default() }).await;
    assert!(matches!(past, Err(Error::Expired { asked: Revision(1), oldest: Revision(3) })));
    let mut expired = store.watch("".into(), Revision(2));
    assert!(matches!(next(&mut expired).await, Some(Err(Error::Expired { .. }))));
    assert!(next(&mut expired).await.is_none(), "after an error the watch ends");
    let mut kept = store.watch("".into(), third);
    create(&store, "c", "1").await;
    assert_eq!(next_change(&mut kept).await.revision(), Revision(4));
    assert!(matches!(store.compact(Revision(9)).await, Err(Error::Future { .. })));
    store.compact(first).await.unwrap();
}

pub async fn a_lagging_watch_expires(store: TestStore) {
    let mut stream = store.watch("".into(), Revision(0));
    create(&store, "a", "1").await;
    assert_eq!(next_change(&mut stream).await.revision(), Revision(1));
    // More than any implementation hands to a watcher in advance.
    for index in 0..2000 {
        create(&store, &format!("b{index}"), "1").await;
    }
    store.compact(store.revision()).await.unwrap();
    let mut seen = Revision(1);
    loop {
        match next(&mut stream).await.expect("it says why it ends") {
            Ok(change) => {
                assert_eq!(change.revision().0, seen.0 + 1, "no gap before the end");
                seen = change.revision();
            }
            Err(Error::Expired { .. }) => break,
            Err(other) => panic!("a lagging watch ends with Expired, not {other}"),
        }
        if seen == store.revision() {
            return; // it had everything in hand: allowed, since nothing was lost
        }
    }
}

pub async fn volatile_values_are_values(store: TestStore) {
    let mut stream = store.watch("".into(), Revision(0));
    let at = store.put("a".into(), "1".into(), Expected::Absent, Durability::Volatile).await.unwrap();
    let again = store.put("a".into(), "2".into(), Expected::At(at), Durability::Volatile).await.unwrap();
    assert_eq!(store.get(&"a".into()).await.unwrap().unwrap().modified, again);
    assert_eq!(names(&store, "", Page::default()).await, ["a"]);
    assert_eq!(next_change(&mut stream).await.revision(), at);
    assert_eq!(next_change(&mut stream).await.revision(), again);
    store.delete(&"a".into(), again).await.unwrap();
    assert!(matches!(next_change(&mut stream).await, Change::Delete { .. }));
}

fn values(of: &[(&'static str, &'static str)]) -> Vec<(Key, Bytes)> {
    of.iter().map(|(key, value)| (Key::from(*key), Bytes::from_static(value.as_bytes()))).collect()
}

pub async fn a_replacement_is_one_commit_above_all_others(store: TestStore) {
    let old = create(&store, "a", "old").await;
    create(&store, "gone", "old").await;
    store.put("beat".into(), "1".into(), Expected::Absent, Durability::Volatile).await.unwrap();
    let above = Revision(77_000);
    let at = store.replace(values(&[("a", "new"), ("b", "new")]), above).await.unwrap();
    assert!(at.0 > above.0 + crate::REPLACE_REVISIONS_SKIPPED - 1 && store.revision() == at, "{at}");
    let listing = store.list(&"".into(), Page::default()).await.unwrap();
    assert_eq!(texts(&listing.entries), [("a".into(), "new".into()), ("b".into(), "new".into())]);
    assert!(listing.entries.iter().all(|entry| (entry.created, entry.modified) == (at, at)));
    assert!(matches!(write(&store, "a", "late", Expected::At(old)).await, Err(Error::Conflict { .. })));
    assert_eq!(write(&store, "a", "next", Expected::At(at)).await.unwrap().0, at.0 + 1);
    let again = store.replace(values(&[]), Revision(0)).await.unwrap();
    assert!(again.0 > at.0 + 1, "it goes on from the newest when that is higher");
    assert!(names(&store, "", Page::default()).await.is_empty());
}

pub async fn a_replacement_ends_watches_and_the_past(store: TestStore) {
    let first = create(&store, "a", "1").await;
    let mut waiting = store.watch("".into(), first);
    let mut elsewhere = store.watch("/nothing/".into(), first);
    let at = store.replace(values(&[("a", "2")]), Revision(0)).await.unwrap();
    assert!(matches!(next(&mut waiting).await, Some(Err(Error::Expired { .. }))));
    assert!(matches!(next(&mut elsewhere).await, Some(Err(Error::Expired { .. }))));
    let past = store.list(&"".into(), Page { at: Some(first), ..Page::default() }).await;
    assert!(matches!(past, Err(Error::Expired { .. })));
    let mut resumed = store.watch("".into(), at);
    create(&store, "b", "1").await;
    assert_eq!(next_change(&mut resumed).await.revision(), Revision(at.0 + 1));
}

pub async fn a_closed_store_refuses(store: TestStore) {
    let at = create(&store, "a", "1").await;
    let mut stream = store.watch("".into(), at);
    store.close().await.unwrap();
    assert!(matches!(store.get(&"a".into()).await, Err(Error::Closed)));
    assert!(matches!(write(&store, "b", "1", Expected::Absent).await, Err(Error::Closed)));
    assert!(matches!(store.delete(&"a".into(), at).await, Err(Error::Closed)));
    assert!(matches!(next(&mut stream).await, None | Some(Err(Error::Closed))));
}
