//! Images on disk: blobs named by their digest, and an index of names.
//!
//! ```text
//! <directory>/blobs/sha256/<64 digits>    the wasm file
//! <directory>/index.json                  records: digest, names, how to start
//! <directory>/lock                        held while the index changes
//! ```
//!
//! Every change writes a temporary file, syncs and renames it, so a crash leaves
//! the old state or the new one. Readers look at the index file each time it is
//! another one, so a command in another process is seen at once.

use crate::{
    Error,
    digest::ImageDigest,
    error::io,
    reference::ImageReference,
    wasm::{WasmFacts, WasmKind},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes of the biggest image; a wasm file beyond that cannot be compiled in
/// the memory of a small node.
const IMAGE_BYTES_MAX: u64 = 1 << 30;

/// One image and how to start it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its id.
    pub digest: ImageDigest,
    /// Bytes of the wasm file.
    pub size_bytes: u64,
    /// Full names, sorted.
    pub tags: Vec<String>,
    /// Component or module.
    pub kind: WasmKind,
    /// Program and first arguments; a container's `command` replaces them. The
    /// first is the name of the image's one program.
    pub entrypoint: Vec<String>,
    /// Further arguments; a container's `args` replace them.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment of every container of this image.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Where every container of this image starts; empty is `/`.
    #[serde(default)]
    pub working_dir: String,
}

impl ImageRecord {
    /// The name of the image's program.
    pub fn program(&self) -> &str {
        self.entrypoint.first().map_or("", String::as_str)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Index {
    images: Vec<ImageRecord>,
}

/// Which index file was read, to notice another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

/// The store. Its methods block on the disk for a moment; [`ImageStore::load`]
/// as long as the image is big.
pub struct ImageStore {
    directory: PathBuf,
    cache: Mutex<Option<(Seen, Arc<Index>)>>,
}

impl ImageStore {
    /// Opens the store in `directory`, which is made when missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let directory = directory.into();
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(io("make", blobs))?;
        Ok(Self { directory, cache: Mutex::new(None) })
    }

    /// Takes in the wasm file at `path` under the name `tag`. Its program is
    /// called as the file is.
    ///
    /// # Errors
    /// As [`ImageStore::load`].
    pub fn load_file(&self, path: &Path, tag: &str) -> Result<ImageRecord, Error> {
        if path.is_dir() {
            return Err(Error::NotWasm(format!("{} is a directory; {}", path.display(), directory_advice(path))));
        }
        let file = File::open(path).map_err(io("read", path))?;
        let program = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        self.load(file, tag, &program)
    }

    /// Takes in a wasm file under the name `tag`, whose program is called
    /// `program`. A name moves to the newest image.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::NotWasm`], [`Error::Io`].
    pub fn load(&self, reader: impl Read, tag: &str, program: &str) -> Result<ImageRecord, Error> {
        let tag = ImageReference::parse(tag)?;
        if tag.digest().is_some() {
            return Err(Error::InvalidName {
                name: tag.to_string(),
                because: "an image is loaded by tag, not by digest",
            });
        }
        let mut bytes = Vec::new();
        reader.take(IMAGE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io("read", "the image"))?;
        if bytes.len() as u64 > IMAGE_BYTES_MAX {
            return Err(Error::NotWasm(format!(
                "the file has more than {IMAGE_BYTES_MAX} bytes, the most an image may have"
            )));
        }
        let facts = WasmFacts::read(&bytes)?;
        let digest = ImageDigest::of(&bytes);
        let blob = self.blob_path(&digest);
        // Written again even when it is there: a blob damaged on disk is repaired by a load.
        write_whole(&blob, &bytes)?;
        let record = ImageRecord {
            digest,
            size_bytes: bytes.len() as u64,
            tags: Vec::new(),
            kind: facts.kind,
            entrypoint: vec![if program.is_empty() { tag.base_name().to_owned() } else { program.to_owned() }],
            args: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
        };
        self.change(|index| add(index, record, tag.to_string()))
    }

    /// Every image, by digest.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn list(&self) -> Result<Vec<ImageRecord>, Error> {
        Ok(self.index()?.images.clone())
    }

    /// The image with this name or id; `None` when it is not here.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Io`], [`Error::Index`].
    pub fn resolve(&self, reference: &str) -> Result<Option<ImageRecord>, Error> {
        let wanted = Wanted::parse(reference)?;
        Ok(self.index()?.images.iter().find(|record| wanted.is(record)).cloned())
    }

    /// Removes a name, and the image with its last name; by id, the image with
    /// all its names. Returns what was removed, `None` when it was not here.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Io`], [`Error::Index`].
    pub fn remove(&self, reference: &str) -> Result<Option<ImageRecord>, Error> {
        let wanted = Wanted::parse(reference)?;
        let removed = self.change(|index| take_out(index, &wanted))?;
        let Some(record) = removed else { return Ok(None) };
        if self.resolve(record.digest.as_str())?.is_none() {
            let blob = self.blob_path(&record.digest);
            match fs::remove_file(&blob) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", blob)(error)),
                _ => {}
            }
        }
        Ok(Some(record))
    }

    /// Where the bytes of an image are.
    pub fn blob_path(&self, digest: &ImageDigest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    /// What the image with this name or id says about itself; `None` when it is
    /// not here.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`], and [`Error::NotWasm`] for a damaged blob.
    pub fn inspect(&self, reference: &str) -> Result<Option<(ImageRecord, WasmFacts)>, Error> {
        let Some(record) = self.resolve(reference)? else { return Ok(None) };
        let blob = self.blob_path(&record.digest);
        let bytes = fs::read(&blob).map_err(io("read", blob))?;
        Ok(Some((record, WasmFacts::read(&bytes)?)))
    }

    fn index_path(&self) -> PathBuf {
        self.directory.join("index.json")
    }

    /// The index as it is on disk now, read only when it is another file.
    fn index(&self) -> Result<Arc<Index>, Error> {
        let path = self.index_path();
        let seen = match fs::metadata(&path) {
            Ok(meta) => Seen { inode: meta.ino(), modified: (meta.mtime(), meta.mtime_nsec()), size: meta.len() },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(io("read", path)(error)),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cached, index)) = &*cache
            && *cached == seen
        {
            return Ok(index.clone());
        }
        let bytes = fs::read(&path).map_err(io("read", &path))?;
        let index: Arc<Index> =
            serde_json::from_slice(&bytes).map(Arc::new).map_err(|source| Error::Index { path, source })?;
        *cache = Some((seen, index.clone()));
        Ok(index)
    }

    /// Changes the index while no other process does.
    fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> Result<T, Error> {
        let path = self.directory.join("lock");
        let lock = File::create(&path).map_err(io("open", &path))?;
        lock.lock().map_err(io("lock", path))?; // let go when the file is closed
        let mut index = Index { images: self.index()?.images.clone() };
        let result = change(&mut index);
        let bytes =
            serde_json::to_vec_pretty(&index).map_err(|source| Error::Index { path: self.index_path(), source })?;
        write_whole(&self.index_path(), &bytes)?;
        Ok(result)
    }
}

/// What a user means by a reference: an image, or one of its names.
enum Wanted {
    Digest(ImageDigest),
    Tag(String),
}

impl Wanted {
    fn parse(reference: &str) -> Result<Self, Error> {
        if let Some(digest) = ImageDigest::parse(reference) {
            return Ok(Self::Digest(digest));
        }
        let parsed = ImageReference::parse(reference)?;
        Ok(parsed.digest().cloned().map_or_else(|| Self::Tag(parsed.to_string()), Self::Digest))
    }

    fn is(&self, record: &ImageRecord) -> bool {
        match self {
            Self::Digest(digest) => record.digest == *digest,
            Self::Tag(tag) => record.tags.contains(tag),
        }
    }
}

/// Adds the image or what is new about it, and gives it the name.
fn add(index: &mut Index, record: ImageRecord, tag: String) -> ImageRecord {
    for other in &mut index.images {
        other.tags.retain(|held| *held != tag);
    }
    let mut tags = match index.images.iter().position(|held| held.digest == record.digest) {
        Some(at) => index.images.remove(at).tags,
        None => Vec::new(),
    };
    tags.push(tag);
    tags.sort();
    let record = ImageRecord { tags, ..record };
    index.images.push(record.clone());
    index.images.sort_by(|left, right| left.digest.cmp(&right.digest));
    record
}

fn take_out(index: &mut Index, wanted: &Wanted) -> Option<ImageRecord> {
    let at = index.images.iter().position(|record| wanted.is(record))?;
    let found = index.images[at].clone();
    if let Wanted::Tag(tag) = wanted {
        index.images[at].tags.retain(|held| held != tag);
        if !index.images[at].tags.is_empty() {
            return Some(found);
        }
    }
    index.images.remove(at);
    Some(found)
}

fn directory_advice(path: &Path) -> &'static str {
    if path.join("oci-layout").exists() {
        "it is a Linux container image (an OCI layout), and wk runs WebAssembly: load a .wasm file"
    } else {
        "load a .wasm file"
    }
}

/// Replaces `path` as a whole: a temporary file beside it, synced, renamed.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(io("write in", parent))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io("write", path))?;
    file.persist(path).map_err(|error| io("write", path)(error.error))?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(io("sync", parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::tests::module;

    fn store() -> (tempfile::TempDir, ImageStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = ImageStore::open(directory.path().join("images")).unwrap();
        (directory, store)
    }

    /// Two images that differ in a custom section.
    fn other_module() -> Vec<u8> {
        [module(), vec![0, 2, 1, b'x']].concat()
    }

    #[test]
    fn a_loaded_image_is_found_by_each_way_to_name_it() {
        let (_directory, store) = store();
        let record = store.load(&module()[..], "kiamol/ch02-hello-kiamol", "hello").unwrap();
        assert_eq!(record.tags, ["docker.io/kiamol/ch02-hello-kiamol:latest"]);
        assert_eq!((record.kind, record.program()), (WasmKind::Module, "hello"));
        let id = record.digest.as_str();
        for name in ["kiamol/ch02-hello-kiamol:latest", id, record.digest.hex(), &format!("other/name@{id}")] {
            assert_eq!(store.resolve(name).unwrap().as_ref(), Some(&record), "{name}");
        }
        assert_eq!(store.resolve("kiamol/ch02-hello-kiamol:v2").unwrap(), None);
        assert_eq!(fs::read(store.blob_path(&record.digest)).unwrap(), module());
    }

    #[test]
    fn a_name_moves_and_the_old_image_stays_until_removed() {
        let (_directory, store) = store();
        let old = store.load(&module()[..], "app", "app").unwrap();
        let new = store.load(&other_module()[..], "app", "app").unwrap();
        assert_eq!(store.resolve("app").unwrap(), Some(new));
        assert_eq!(store.resolve(old.digest.as_str()).unwrap().unwrap().tags, Vec::<String>::new());
        assert!(store.remove(old.digest.as_str()).unwrap().is_some());
        assert!(!store.blob_path(&old.digest).exists());
    }

    #[test]
    fn the_last_name_takes_the_image_with_it() {
        let (_directory, store) = store();
        let record = store.load(&module()[..], "app:v1", "app").unwrap();
        store.load(&module()[..], "app:v2", "app").unwrap();
        assert!(store.remove("app:v1").unwrap().is_some());
        assert!(store.blob_path(&record.digest).exists());
        assert!(store.remove("app:v2").unwrap().is_some());
        assert!(!store.blob_path(&record.digest).exists());
        assert_eq!(store.remove("app:v2").unwrap(), None);
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn another_process_sees_the_change_and_a_restart_keeps_it() {
        let (directory, store) = store();
        let other = ImageStore::open(directory.path().join("images")).unwrap();
        assert_eq!(store.list().unwrap(), []);
        other.load(&module()[..], "app", "app").unwrap();
        assert_eq!(store.list().unwrap().len(), 1);
        other.remove("app").unwrap();
        assert_eq!(store.list().unwrap().len(), 0);
    }

    #[test]
    fn what_cannot_run_is_refused_and_leaves_nothing() {
        let (directory, store) = store();
        let linux = directory.path().join("linux");
        fs::create_dir(&linux).unwrap();
        fs::write(linux.join("oci-layout"), "{}").unwrap();
        assert!(store.load_file(&linux, "app").unwrap_err().to_string().contains("Linux container image"));
        assert!(store.load(&module()[..12], "app", "app").unwrap_err().to_string().contains("cut off"));
        assert!(matches!(store.load(&module()[..], "App", "app"), Err(Error::InvalidName { .. })));
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn a_damaged_index_is_named() {
        let (_directory, store) = store();
        fs::write(store.index_path(), "{").unwrap();
        assert!(store.list().unwrap_err().to_string().contains("index.json"));
    }
}
