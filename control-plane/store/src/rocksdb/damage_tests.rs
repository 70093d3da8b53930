//! Files that a crash tore or a disk damaged: what was acknowledged is there, or
//! the store says which file is at fault. Never a panic, never a silent loss.

use super::*;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Key to value, as written or as found.
type Contents = BTreeMap<String, Bytes>;

/// In memory where there is such a place: hundreds of stores are opened here, and
/// each syncs its files.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts")
}

/// A store with these values, one commit each, all in the log.
fn written(directory: &Path, sizes: &[usize]) -> Vec<(String, Bytes)> {
    let store = RocksStore::open(directory).expect("opens");
    let values: Vec<_> = sizes.iter().enumerate().map(|(index, size)| value(index, *size)).collect();
    runtime().block_on(async {
        for (key, value) in values.clone() {
            store.put(key.as_str().into(), value, Expected::Absent, Durability::Durable).await.expect("a new key");
        }
    });
    values
}

/// No zeros, so that a value does not look like sectors that never arrived.
fn value(index: usize, size: usize) -> (String, Bytes) {
    (format!("key-{index:03}"), (0..size).map(|at| ((at * 31 + index) % 255 + 1) as u8).collect())
}

/// The bytes of a directory's files.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    paths.map(|path| (path.file_name().expect("a name").into(), fs::read(&path).expect("readable"))).collect()
}

/// What a store says that has these files.
fn opened(files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Contents, String> {
    let directory = directory();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).expect("writable");
    }
    let store = RocksStore::open(directory.path()).map_err(|error| error.to_string())?;
    let listing = runtime().block_on(store.list(&"".into(), Page::default())).expect("an open store lists");
    Ok(listing.entries.into_iter().map(|entry| (entry.key.to_string(), entry.value)).collect())
}

/// The only file with this ending that is not empty.
fn only(files: &BTreeMap<PathBuf, Vec<u8>>, ending: &str) -> PathBuf {
    let matching = |path: &&PathBuf| path.to_string_lossy().contains(ending) && !files[*path].is_empty();
    let found: Vec<_> = files.keys().filter(matching).collect();
    assert_eq!(found.len(), 1, "{found:?} of {:?}", files.keys());
    found[0].clone()
}

fn prefixes(values: &[(String, Bytes)]) -> Vec<Contents> {
    (0..=values.len()).map(|count| values[..count].iter().cloned().collect()).collect()
}

/// Small, of several sectors, and longer than a block of the log.
const SIZES: [usize; 8] = [10, 700, 3, 40_000, 0, 2_000, 70_000, 100];

#[test]
fn a_log_cut_off_anywhere_keeps_every_whole_commit() {
    let directory = directory();
    let values = written(directory.path(), &SIZES);
    let files = files(directory.path());
    let (log, prefixes) = (only(&files, ".log"), prefixes(&values));
    let whole = files[&log].len();
    assert_eq!(opened(&files).as_ref(), Ok(&prefixes[values.len()]));
    // Densely around the ends of records, where it matters, and here and there.
    let mut kept = 0;
    for length in (0..whole).rev().filter(|length| length % 1_777 == 0 || whole - length < 150 || *length < 900) {
        let mut cut = files.clone();
        cut.get_mut(&log).expect("is there").truncate(length);
        let found = opened(&cut).unwrap_or_else(|error| panic!("cut at {length} of {whole}: {error}"));
        let count = prefixes.iter().position(|prefix| *prefix == found);
        kept = count.unwrap_or_else(|| panic!("cut at {length}: a hole: {:?}", found.keys()));
        let bytes: usize = values[..kept].iter().map(|(_, value)| value.len()).sum();
        let bytes_of_next: usize = values.get(kept).map_or(usize::MAX, |(_, value)| value.len());
        assert!(
            bytes <= length && length < bytes.saturating_add(bytes_of_next) + 1_000,
            "cut at {length}: kept {kept}"
        );
    }
    assert_eq!(kept, 0);
}

#[test]
fn sectors_that_never_arrived_are_a_torn_end_but_no_hole() {
    let directory = directory();
    let values = written(directory.path(), &SIZES);
    let files = files(directory.path());
    let (log, prefixes) = (only(&files, ".log"), prefixes(&values));
    let zeroed = |sectors: std::ops::Range<usize>| {
        let mut files = files.clone();
        let bytes = files.get_mut(&log).expect("is there");
        let (from, to) = (sectors.start * 512, (sectors.end * 512).min(bytes.len()));
        bytes[from..to].fill(0);
        opened(&files)
    };
    let sectors = files[&log].len() / 512;
    // The last commit of 100 bytes, and the one before it of 70,000.
    assert_eq!(zeroed(sectors..sectors + 1).as_ref().map(Contents::len), Ok(7));
    let hole = zeroed(sectors - 40..sectors - 38).expect_err("a commit follows");
    assert!(hole.contains(&*log.to_string_lossy()) && hole.contains("is damaged at byte"), "{hole}");
    // A page in a block in the middle: RocksDB alone would go on behind it.
    let hole = zeroed(8..16).expect_err("commits follow");
    assert!(hole.contains("restore a snapshot"), "{hole}");
    assert_eq!(prefixes.len(), 9);
}

#[test]
fn a_torn_end_that_was_cut_before_stays_cut() {
    let directory = directory();
    let values = written(directory.path(), &[100, 100, 100]);
    let mut before = files(directory.path());
    let log = only(&before, ".log");
    let length = before[&log].len();
    before.get_mut(&log).expect("is there").truncate(length - 5);
    fs::write(directory.path().join(&log), &before[&log]).expect("writable");
    // It is replayed, others are written, and the old log has not been removed.
    let store = RocksStore::open(directory.path()).expect("a torn end");
    let (key, more) = value(9, 50);
    let expected = Expected::Absent;
    runtime().block_on(store.put(key.as_str().into(), more.clone(), expected, Durability::Durable)).expect("writes");
    drop(store);
    let mut after = files(directory.path());
    after.entry(log.clone()).or_insert_with(|| before[&log].clone());
    let found = opened(&after).expect("nothing acknowledged is missing");
    let kept: Contents = values[..2].iter().cloned().chain([(key, more)]).collect();
    assert_eq!(found, kept);
}

/// A store whose values are in a table, as after a restart.
fn flushed(directory: &Path) -> Contents {
    let values = written(directory, &[10, 5_000, 70_000, 40, 9_000]);
    drop(RocksStore::open(directory).expect("opens again"));
    values.into_iter().collect()
}

#[test]
fn cut_off_tables_manifests_and_pointers_are_refused() {
    let directory = directory();
    let values = flushed(directory.path());
    let files = files(directory.path());
    assert_eq!(opened(&files).as_ref(), Ok(&values));
    for name in [only(&files, ".sst"), only(&files, "MANIFEST"), PathBuf::from("CURRENT")] {
        let whole = files[&name].len();
        let lengths: Vec<usize> =
            if whole < 500 { (0..whole).collect() } else { (0..whole).step_by(whole / 60).collect() };
        for length in lengths {
            let mut cut = files.clone();
            cut.get_mut(&name).expect("is there").truncate(length);
            match opened(&cut) {
                Ok(found) => assert_eq!(found, values, "{} cut at {length} of {whole}", name.display()),
                Err(error) => assert!(error.contains("restore a snapshot"), "{} at {length}: {error}", name.display()),
            }
        }
        let mut missing = files.clone();
        missing.remove(&name);
        let error = opened(&missing).expect_err("it is needed");
        assert!(error.contains(&*name.to_string_lossy()) && error.contains("restore a snapshot"), "{error}");
    }
}

#[test]
fn a_note_that_was_torn_is_written_anew() {
    let directory = directory();
    let values = flushed(directory.path());
    let mut files = files(directory.path());
    for torn in ["", "12x", "\0\0\0"] {
        files.insert("wk-sequence".into(), torn.into());
        assert_eq!(opened(&files).as_ref(), Ok(&values));
    }
    files.insert("wk-sequence".into(), "1000000".into());
    let error = opened(&files).expect_err("it had come further");
    assert!(error.contains("missing or cut off") && error.contains("restore a snapshot"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_of_a_log_loses_a_commit(at in 0.0..1.0_f64, bit in 0..8_u8, sizes in sizes()) {
        let directory = directory();
        let values = written(directory.path(), &sizes);
        check_flip(&files(directory.path()), ".log", at, bit, &values.into_iter().collect())?;
    }

    #[test]
    fn no_flipped_bit_of_a_table_or_manifest_loses_a_commit(at in 0.0..1.0_f64, bit in 0..8_u8, table: bool) {
        let directory = directory();
        let values = flushed(directory.path());
        check_flip(&files(directory.path()), if table { ".sst" } else { "MANIFEST" }, at, bit, &values)?;
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![0..40_usize, 300..3_000_usize, 30_000..40_000_usize], 1..8)
}

fn check_flip(
    files: &BTreeMap<PathBuf, Vec<u8>>,
    ending: &str,
    at: f64,
    bit: u8,
    values: &Contents,
) -> Result<(), TestCaseError> {
    let mut files = files.clone();
    let name = only(&files, ending);
    let bytes = files.get_mut(&name).expect("is there");
    let index = (bytes.len() as f64 * at) as usize;
    bytes[index] ^= 1 << bit;
    match opened(&files) {
        Ok(found) => prop_assert_eq!(&found, values, "{} at {}", name.display(), index),
        Err(error) => prop_assert!(error.contains("restore a snapshot"), "{}", error),
    }
    Ok(())
}
