//! What only a store on disk can break: restarts, foreign and shared
//! directories, a disk that refuses.

use super::*;
use crate::conformance;
use ::rocksdb::DB;

#[tokio::test]
async fn obeys_the_laws() {
    // The directories outlive the stores made in them.
    let directories = parking_lot::Mutex::new(Vec::new());
    conformance::run(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let store = RocksStore::open(directory.path()).expect("opens");
        directories.lock().push(directory);
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

async fn put(store: &RocksStore, key: &str, durability: Durability) -> Revision {
    store.put(key.into(), Bytes::from_static(b"1"), Expected::Absent, durability).await.expect("absent")
}

#[tokio::test]
async fn a_restart_keeps_durable_values_and_never_goes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = RocksStore::open(directory.path()).expect("opens");
    let kept = put(&store, "kept", Durability::Durable).await;
    let deleted = put(&store, "deleted", Durability::Durable).await;
    store.delete(&"deleted".into(), deleted).await.expect("present");
    let newest = put(&store, "heartbeat", Durability::Volatile).await;
    drop(store);

    let store = RocksStore::open(directory.path()).expect("opens again");
    assert!(store.revision() >= newest);
    let listing = store.list(&"".into(), Page::default()).await.expect("lists");
    let found: Vec<_> = listing.entries.iter().map(|entry| (entry.key.to_string(), entry.modified)).collect();
    assert_eq!(found, [("kept".to_owned(), kept)]);
    assert!(put(&store, "later", Durability::Durable).await > newest);
}

#[tokio::test]
async fn a_volatile_write_over_a_durable_value_does_not_bring_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = RocksStore::open(directory.path()).expect("opens");
    let at = put(&store, "lease", Durability::Durable).await;
    let renewed = store.put("lease".into(), "2".into(), Expected::At(at), Durability::Volatile).await;
    assert!(renewed.is_ok());
    drop(store);
    let store = RocksStore::open(directory.path()).expect("opens again");
    assert_eq!(store.get(&"lease".into()).await.expect("reads"), None);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let _store = RocksStore::open(directory.path()).expect("opens");
    let Err(error) = RocksStore::open(directory.path()) else { panic!("opened twice") };
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[tokio::test]
async fn a_foreign_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let foreign = DB::open_default(directory.path()).expect("opens");
    foreign.put(b"x", b"y").expect("writes");
    drop(foreign);
    assert!(matches!(RocksStore::open(directory.path()), Err(Error::Corrupt(_))));
}

/// A writer over a new directory, and a store that reads what it wrote.
fn writer(directory: &std::path::Path) -> Writer {
    let disk = Disk::open(directory).expect("opens");
    Writer::new(MemoryStore::new(), directory.to_owned(), disk, Revision(0))
}

/// What the writer says to one write.
fn write(writer: &mut Writer, key: &str) -> Result<Revision, Error> {
    let (answer, mut answered) = oneshot::channel();
    let (key, value) = (Key::from(key), Bytes::from_static(b"1"));
    let (expected, durability) = (Expected::Absent, Durability::Durable);
    writer.one(Request::Put { key, value, expected, durability, answer });
    answered.try_recv().expect("answered")
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_changes_nothing_and_the_next_one_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut writer = writer(directory.path());
    writer.disk = None;
    let good = std::mem::replace(&mut writer.directory, directory.path().join("missing/\0/invalid"));
    assert!(matches!(write(&mut writer, "a"), Err(Error::Unavailable(_))));
    assert_eq!((writer.memory.revision(), writer.memory.current(&"a".into())), (Revision(0), None));

    writer.directory = good;
    assert!(write(&mut writer, "a").is_err(), "not tried again at once");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(write(&mut writer, "b").expect("the disk is back"), Revision(1));
    drop(writer);

    let store = RocksStore::open(directory.path()).expect("opens");
    let listing = store.list(&"".into(), Page::default()).await.expect("lists");
    assert_eq!(listing.entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn every_acknowledged_batch_was_synced() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = disk::options();
    options.enable_statistics();
    let disk = Disk::open_with(directory.path(), &options).expect("opens");
    let mut writer = Writer::new(MemoryStore::new(), directory.path().to_owned(), disk, Revision(0));
    let synced = || options.get_ticker_count(::rocksdb::statistics::Ticker::WalFileSynced);
    for (before, key) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(synced(), before as u64);
        write(&mut writer, key).expect("a new key");
    }
    assert_eq!(synced(), 3);
}

#[tokio::test]
async fn a_replacement_is_what_a_restart_finds() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = RocksStore::open(directory.path()).expect("opens");
    put(&store, "gone", Durability::Durable).await;
    put(&store, "stays", Durability::Durable).await;
    put(&store, "beat", Durability::Volatile).await;
    let at = store.replace(vec![("stays".into(), "2".into())], Revision(5)).await.expect("replaces");
    drop(store);
    let store = RocksStore::open(directory.path()).expect("opens again");
    assert!(store.revision() >= at);
    let listing = store.list(&"".into(), Page::default()).await.expect("lists");
    let found: Vec<_> = listing.entries.iter().map(|entry| (entry.key.to_string(), entry.value.clone())).collect();
    assert_eq!(found, [("stays".to_owned(), Bytes::from_static(b"2"))]);
}
