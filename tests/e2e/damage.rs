//! Any file of the data directory loses its end or a bit while the server is
//! dead: the next start names what is wrong and what to do, or everything that
//! was acknowledged is there. Never a panic, never a silent loss.
//!
//! Which files, and where, is chosen by a seed that a failure prints. What each
//! kind of file needs exactly is said in `files` and in the store's own tests.

use crate::harness::{HELLO, Server, Tool, text};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use wk_platform::Entropy;

const ROUNDS: usize = 40;

#[test]
fn no_damaged_file_is_a_panic_or_a_silent_loss() {
    let random = || 1 + Entropy::system().below(u64::from(u32::MAX));
    let seed = std::env::var("WK_DAMAGE_SEED").ok().map_or_else(random, |seed| seed.parse().unwrap());
    println!("replay with WK_DAMAGE_SEED={seed}");
    let entropy = Entropy::seeded(seed);
    let mut server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &["create", "deployment", "hello", "--image", HELLO]);
    server.wait_for(Tool::Wk, "Available", &["deployment/hello"]);
    let mut written = BTreeMap::new();
    let (mut refused, mut started) = (0, 0);
    for round in 0..ROUNDS {
        write(&server, &mut written, round);
        server.stop("-KILL");
        let data = server.directory().to_owned();
        let files = files_of(&data);
        let path = &files[entropy.below(files.len() as u64) as usize];
        let whole = fs::read(path).unwrap();
        let what = damage(path, &whole, &entropy);
        match server.try_restart() {
            Ok(()) => {
                started += 1;
                assert_eq!(stored(&server), written, "seed {seed} round {round}: {what}");
                let log = server.log();
                assert!(!log.contains("panicked"), "seed {seed} round {round}: {what}: {log}");
            }
            Err(said) => {
                refused += 1;
                assert!(!said.contains("panicked"), "seed {seed} round {round}: {what}: {said}");
                // RocksDB does not know of each error which file it is about.
                let part = if path.starts_with(data.join("store")) { data.join("store") } else { path.clone() };
                let named = said.contains(part.to_str().unwrap());
                let advised = ["restore a snapshot", "backup", "remove"].iter().any(|advice| said.contains(advice));
                assert!(named && advised, "seed {seed} round {round}: {what}: {said}");
                fs::write(path, &whole).unwrap();
                server.restart();
                assert_eq!(stored(&server), written, "seed {seed} round {round}: {what}, and put back");
            }
        }
    }
    println!("{started} starts with a damaged file, {refused} refusals");
    assert!(started > 0 && refused > 0, "{started} starts, {refused} refusals");
}

/// Writes, changes and deletes, and remembers what was acknowledged.
fn write(server: &Server, written: &mut BTreeMap<String, String>, round: usize) {
    let (name, value) = (format!("map-{}", round % 7), format!("{round}-{}", "x".repeat(round * 97)));
    if written.contains_key(&name) {
        server.ok(Tool::Wk, &["delete", "configmap", &name]);
        written.remove(&name);
    }
    let literal = format!("--from-literal=value={value}");
    server.ok(Tool::Wk, &["create", "configmap", &name, &literal]);
    written.insert(name, value);
}

/// What the server says is there.
fn stored(server: &Server) -> BTreeMap<String, String> {
    let template = "jsonpath={range .items[*]}{.metadata.name} {.data.value}{\"\\n\"}{end}";
    let text = server.ok(Tool::Wk, &["get", "configmaps", "-o", template]);
    let pairs = text.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| name.starts_with("map-"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All files that hold anything, the same order each time: those of the store as
/// likely as all others, since most lie elsewhere.
fn files_of(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(data, &mut files).unwrap();
    // The test's own.
    files.retain(|path| !path.ends_with("server.log") && !path.starts_with(data.join("kubectl-cache")));
    files.sort();
    let store: Vec<_> = files.iter().filter(|path| path.starts_with(data.join("store"))).cloned().collect();
    while files.iter().filter(|path| path.starts_with(data.join("store"))).count() * 2 < files.len() {
        files.extend(store.iter().cloned());
    }
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (path, kind) = (entry.as_ref().unwrap().path(), entry?.file_type()?);
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file() && fs::metadata(&path)?.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}

/// Cuts the file somewhere, or flips a bit of it; what was done. An end that a
/// crash may have torn is left alone: it is not damage (see the store's tests).
fn damage(path: &Path, whole: &[u8], entropy: &Entropy) -> String {
    let at = entropy.below(whole.len() as u64) as usize;
    let mut bytes = whole.to_vec();
    let cuts = entropy.below(2) == 0 && !path.to_string_lossy().ends_with(".log");
    if cuts {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 1 << entropy.below(8);
    }
    // In place: another inode would be another file to who has it open.
    fs::write(path, &bytes).unwrap();
    let done = if cuts { "cut off at" } else { "a bit was flipped at" };
    text(format!("{} {done} byte {at} of {}", path.display(), whole.len()).as_bytes())
}
