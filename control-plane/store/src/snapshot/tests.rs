//! What is saved comes back; what is not whole does not.

use super::*;
use crate::{Expected, REPLACE_REVISIONS_SKIPPED, memory::MemoryStore, rocksdb::RocksStore};
use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;

async fn put(store: &dyn Store, key: &str, value: &str, durability: Durability) -> Revision {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.put(key.into(), value, Expected::Absent, durability).await.expect("absent")
}

/// Three keys at revision 5.
async fn filled() -> MemoryStore {
    let store = MemoryStore::new();
    for key in ["/a", "/b", "/c"] {
        put(&store, key, &format!("value of {key}"), Durability::Durable).await;
    }
    let gone = put(&store, "/gone", "x", Durability::Durable).await;
    store.delete(&"/gone".into(), gone).await.expect("present");
    store
}

async fn saved(store: &dyn Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    save(store, &mut bytes).await.expect("memory takes all");
    bytes
}

async fn contents(store: &dyn Store) -> Vec<(String, String)> {
    let listing = store.list(&"".into(), Page::default()).await.expect("lists");
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    listing.entries.iter().map(|entry| (text(&entry.key.0), text(&entry.value))).collect()
}

#[tokio::test]
async fn what_is_saved_comes_back_above_all_revisions() {
    let store = filled().await;
    put(&store, "/beat", "now", Durability::Volatile).await;
    let file = saved(&store).await;
    let summary = status(file.as_slice()).expect("whole");
    assert_eq!((summary.keys, summary.revision, summary.size_bytes), (3, Revision(6), file.len() as u64));
    assert_eq!(summary.sha256, file[file.len() - 32..]);

    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("store");
    assert_eq!(restore(file.as_slice(), &directory).expect("restores"), summary);
    let restored = RocksStore::open(&directory).expect("opens");
    let expected: Vec<_> = ["/a", "/b", "/c"].map(|key| (key.to_owned(), format!("value of {key}"))).into();
    assert_eq!(contents(&restored).await, expected);
    let listing = restored.list(&"".into(), Page::default()).await.expect("lists");
    assert!(listing.entries.iter().all(|entry| entry.modified.0 > 6 + REPLACE_REVISIONS_SKIPPED - 1));
    assert_eq!(restored.revision(), listing.entries[0].modified);
    let next = put(&restored, "/d", "", Durability::Durable).await;
    assert_eq!(next.0, listing.revision.0 + 1);
    let beside = std::fs::read_dir(parent.path()).expect("readable").count();
    assert_eq!(beside, 1, "nothing is left beside it");
}

#[tokio::test]
async fn a_running_store_takes_a_snapshot_over() {
    let file = saved(&filled().await).await;
    let directory = tempfile::tempdir().expect("a directory");
    let store = RocksStore::open(directory.path()).expect("opens");
    let seen = put(&store, "/mine", "1", Durability::Durable).await;
    let mut watch = store.watch("/".into(), seen);
    let Contents { summary, values } = load(file.as_slice()).expect("whole");
    let at = store.replace(values, summary.revision).await.expect("replaces");
    assert!(at > seen);
    assert!(matches!(watch.next().await, Some(Err(StoreError::Expired { .. }))));
    assert_eq!(contents(&store).await.len(), 3);
    assert_eq!(saved(&store).await[28..file.len() - 32], file[28..file.len() - 32], "the same again");
}

#[tokio::test]
async fn a_snapshot_is_of_one_moment() {
    let store = MemoryStore::new();
    let mut at = put(&store, "/left", "0", Durability::Durable).await;
    let mut right = put(&store, "/right", "0", Durability::Durable).await;
    // A reader that takes a byte at a time, and a writer between any two.
    let (mut reader, mut writer) = tokio::io::duplex(1);
    let saving = async {
        let summary = save(&store, &mut writer).await.expect("saves");
        drop(writer);
        summary
    };
    let working = async {
        let mut file = Vec::new();
        let mut byte = [0; 1];
        while tokio::io::AsyncReadExt::read(&mut reader, &mut byte).await.expect("reads") == 1 {
            file.push(byte[0]);
            let value = Bytes::from(file.len().to_string());
            at = store.put("/left".into(), value.clone(), Expected::At(at), Durability::Durable).await.expect("mine");
            right = store.put("/right".into(), value, Expected::At(right), Durability::Durable).await.expect("mine");
        }
        file
    };
    let (summary, file) = tokio::join!(saving, working);
    assert!(store.revision() > summary.revision, "writers were not held up");
    let values = load(file.as_slice()).expect("whole").values;
    assert_eq!((values.len(), &values[0].1), (2, &values[1].1));
}

#[tokio::test]
async fn a_file_appears_whole_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    let store = filled().await;
    let summary = save_file(&store, &path).await.expect("saves");
    assert_eq!(status(std::fs::File::open(&path).expect("is there")).expect("whole"), summary);
    assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
    let missing = save_file(&store, &directory.path().join("missing/snapshot")).await;
    assert!(missing.expect_err("no such directory").to_string().contains("missing/snapshot"));
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 1);
}

/// Nothing of a broken snapshot becomes visible.
fn refused(file: &[u8]) -> Error {
    let parent = tempfile::tempdir().expect("a directory");
    let error = restore(file, &parent.path().join("store")).expect_err("not whole");
    assert_eq!(std::fs::read_dir(parent.path()).expect("readable").count(), 0);
    assert_eq!(status(file).expect_err("not whole").to_string(), error.to_string());
    assert_eq!(load(file).expect_err("not whole").to_string(), error.to_string());
    error
}

#[tokio::test]
async fn foreign_newer_and_broken_files_are_told_apart() {
    let file = saved(&filled().await).await;
    assert!(matches!(refused(b""), Error::Foreign));
    assert!(matches!(refused(b"apiVersion: v1\n"), Error::Foreign));
    let mut newer = file.clone();
    newer[11] = 2;
    assert!(matches!(refused(&newer), Error::Newer { found: 2 }));
    let cut = refused(&file[..file.len() - 40]);
    assert_eq!(cut.to_string(), "the snapshot is cut off: it ends after 2 of 3 keys");
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(refused(&longer), Error::Damaged("something follows its end")));
    let mut flipped = file.clone();
    flipped[60] ^= 1;
    assert_eq!(refused(&flipped).to_string(), "the snapshot is damaged: its checksum does not match");
}

#[tokio::test]
async fn nothing_is_restored_over_something() {
    let file = saved(&filled().await).await;
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("CURRENT"), "mine").expect("writable");
    assert!(matches!(restore(file.as_slice(), directory.path()), Err(Error::NotEmpty(_))));
    assert_eq!(std::fs::read_to_string(directory.path().join("CURRENT")).expect("is there"), "mine");
}

#[tokio::test]
async fn a_restore_that_was_killed_is_no_obstacle() {
    let file = saved(&filled().await).await;
    let parent = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(parent.path().join("store.restoring")).expect("writable");
    std::fs::write(parent.path().join("store.restoring/CURRENT"), "half").expect("writable");
    std::fs::create_dir(parent.path().join("store")).expect("writable");
    restore(file.as_slice(), &parent.path().join("store")).expect("an empty directory is as good as none");
    assert_eq!(contents(&RocksStore::open(parent.path().join("store")).expect("opens")).await.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed(at in 0.0..1.0_f64, bit in 0..8_u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        let file = runtime.block_on(async { saved(&filled().await).await });
        let index = (file.len() as f64 * at) as usize;
        prop_assert!(status(&file[..index]).is_err());
        let mut flipped = file.clone();
        flipped[index] ^= 1 << bit;
        prop_assert!(status(flipped.as_slice()).is_err());
    }
}
