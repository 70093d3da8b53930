//! Images become programs: compiled once, kept on disk and in memory.
//!
//! ```text
//! digest ─▶ in memory? ─▶ <cache>/<engine's hash>/<digest>.cwasm? ─▶ compile (`compiler.rs`)
//! ```
//!
//! Machine code is trusted when it is loaded, so it is loaded only from files
//! that this module wrote (from its own compiler, or the code of the toolbox that
//! the binary brings): 0600 in a directory of 0700, replaced as a whole,
//! under a name that holds the digest of the source and the hash of everything
//! in the engine that the code depends on. A disk can change what was written:
//! beside each file is the digest of the code, and code that does not match is
//! made anew, since to run it would be to run anything. One [`Programs`] serves
//! all nodes of a process: it holds the process's one `wasmtime::Engine`.

use crate::{
    code_file,
    compiler::{Compiler, Failure},
    epoch::Ticker,
    host::{HostState, ModuleHostState},
    linker,
    run::Program,
    toolbox::Toolbox,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::{self, DirBuilder},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    num::NonZeroUsize,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{runtime::Handle, sync::OnceCell};
use tracing::{info, warn};
use wasmtime::{
    Engine,
    component::{self, Component},
};
use wasmtime_wasi::p2::bindings::CommandPre;
use wk_cri::Error;
use wk_images::{ImageDigest, ImageRecord, ImageStore, WasmKind};

/// Stack of a guest and the host functions it calls; touched pages only cost.
const STACK_BYTES: usize = 2 << 20;

/// The guest's part of it. Far below the whole: host functions run on the rest,
/// and an overflow there would abort the process.
const WASM_STACK_BYTES: usize = 512 << 10;

/// Frames of a trap that are looked up: a panic of Rust takes a dozen before the
/// program's own.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// The engine, what guests link against, and every program in use.
pub struct Programs {
    engine: Engine,
    ticker: Arc<Ticker>,
    components: component::Linker<HostState>,
    modules: wasmtime::Linker<ModuleHostState>,
    /// Of this engine's code.
    cache: PathBuf,
    loaded: Mutex<HashMap<ImageDigest, Arc<OnceCell<Arc<Program>>>>>,
    toolbox: OnceCell<Arc<Program>>,
    compiler: Compiler,
    /// One compilation at a time: each uses every core.
    compiling: Mutex<()>,
}

impl Programs {
    /// An engine that keeps compiled code below `cache_dir`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the directory or a thread cannot be had.
    pub fn new(cache_dir: &Path, compiler: Compiler) -> Result<Arc<Self>, Error> {
        let engine = Engine::new(&engine_config()).map_err(internal("set up wasmtime"))?;
        let cache = cache_dir.join(compatibility(&engine));
        remove_all_but(&cache, cache_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(&cache).map_err(internal("make the code cache"))?;
        let ticker = Arc::new(Ticker::start(&engine).map_err(internal("start a thread"))?);
        let components = linker::for_components(&engine).map_err(internal("link WASI 0.2"))?;
        let modules = linker::for_modules(&engine).map_err(internal("link WASI 0.1"))?;
        let (loaded, toolbox, compiling) = (Mutex::default(), OnceCell::new(), Mutex::default());
        Ok(Arc::new(Self { engine, ticker, components, modules, cache, loaded, toolbox, compiler, compiling }))
    }

    pub(crate) fn ticker(&self) -> Arc<Ticker> {
        self.ticker.clone()
    }

    /// The image's program, ready to instantiate. From memory it takes
    /// microseconds, from disk a millisecond, else a compilation on a thread of
    /// `runtime`'s pool. Cancel safety: a compilation goes on and its result is
    /// found the next time.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the image can never run here, and why;
    /// [`Error::Internal`] when the disk fails.
    pub(crate) async fn get(
        self: &Arc<Self>,
        runtime: &Handle,
        images: &Arc<ImageStore>,
        record: &ImageRecord,
    ) -> Result<Arc<Program>, Error> {
        let cell = self.loaded.lock().entry(record.digest.clone()).or_default().clone();
        let program = cell.get_or_try_init(|| async {
            let (programs, images, record) = (self.clone(), images.clone(), record.clone());
            let loading = runtime.spawn_blocking(move || programs.load(&images, &record));
            loading.await.map_err(internal("load a program"))?.map(Arc::new)
        });
        program.await.cloned()
    }

    /// The toolbox, ready to instantiate; as [`Programs::get`]. Nothing of it is in
    /// memory before its first use.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot run, or the disk fails.
    pub(crate) async fn toolbox(self: &Arc<Self>, runtime: &Handle, toolbox: Toolbox) -> Result<Arc<Program>, Error> {
        let program = self.toolbox.get_or_try_init(|| async {
            let programs = self.clone();
            let loading = runtime.spawn_blocking(move || programs.load_toolbox(toolbox));
            loading.await.map_err(internal("load the toolbox"))?.map(Arc::new)
        });
        program.await.cloned()
    }

    /// Forgets an image that was removed, in memory and on disk.
    pub(crate) fn forget(&self, digest: &ImageDigest) {
        self.loaded.lock().remove(digest);
        let cached = self.cached(digest);
        for path in [code_file::sum_path(&cached), cached] {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(image = %digest, %error, "could not remove compiled code");
            }
        }
    }

    fn cached(&self, digest: &ImageDigest) -> PathBuf {
        self.cache.join(format!("{}.cwasm", digest.hex()))
    }

    fn load(&self, images: &ImageStore, record: &ImageRecord) -> Result<Program, Error> {
        let code = self.code(&record.digest, record.kind, &|error| cannot_run(record, error), || {
            let blob = images.blob_path(&record.digest);
            let bytes =
                fs::read(&blob).map_err(|error| Error::Internal(format!("read image {}: {error}", blob.display())))?;
            if ImageDigest::of(&bytes) != record.digest {
                let (name, blob) = (name_of(record), blob.display());
                return Err(Error::InvalidArgument(format!("image {name} is damaged on disk ({blob}); load it again")));
            }
            Ok(bytes)
        })?;
        self.link(code, record)
    }

    fn load_toolbox(&self, toolbox: Toolbox) -> Result<Program, Error> {
        let unusable = |error: &wasmtime::Error| Error::Internal(format!("load the toolbox: {error:#}"));
        let digest = ImageDigest::of(toolbox.wasm);
        self.keep_code(&digest, toolbox.code).map_err(internal("keep compiled code"))?;
        let code = self.code(&digest, WasmKind::Component, &unusable, || Ok(toolbox.wasm.to_vec()))?;
        let Code::Component(component) = code else { return Err(unusable(&wasmtime::Error::msg("it is a module"))) };
        let linker = linker::for_toolbox(&self.engine).map_err(|error| unusable(&error))?;
        let instance = linker.instantiate_pre(&component);
        instance.and_then(CommandPre::new).map(Program::Component).map_err(|error| unusable(&error))
    }

    /// Takes code that came with the program, unless there is some already. Code of
    /// another engine is noticed when it is loaded, and made anew.
    fn keep_code(&self, digest: &ImageDigest, code: &[u8]) -> io::Result<()> {
        let cached = self.cached(digest);
        if code.is_empty() || cached.exists() { Ok(()) } else { code_file::write(&cached, code) }
    }

    /// Machine code: from the cache, else compiled and kept there.
    fn code(
        &self,
        digest: &ImageDigest,
        kind: WasmKind,
        unusable: &dyn Fn(&wasmtime::Error) -> Error,
        source: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Code, Error> {
        let cached = self.cached(digest);
        if let Some(code) = self.cached_code(&cached, kind) {
            return Ok(code);
        }
        let _one_at_a_time = self.compiling.lock();
        // Another may have been at it.
        if let Some(code) = self.cached_code(&cached, kind) {
            return Ok(code);
        }
        let started = tokio::time::Instant::now();
        self.compiler.run(kind, source()?, &cached).map_err(|failure| match failure {
            Failure::Wasm(error) => unusable(&error),
            Failure::Host(message) => Error::Internal(message),
        })?;
        info!(image = %digest, elapsed = ?started.elapsed(), "compiled image");
        self.deserialize(&cached, kind).map_err(internal("load compiled code"))
    }

    fn cached_code(&self, path: &Path, kind: WasmKind) -> Option<Code> {
        if !path.exists() {
            return None;
        }
        let code =
            code_file::check_sum(path).map_err(wasmtime::Error::from).and_then(|()| self.deserialize(path, kind));
        code.inspect_err(|error| warn!(path = %path.display(), %error, "compiled code was unusable and is made anew"))
            .ok()
    }

    #[allow(unsafe_code)]
    fn deserialize(&self, path: &Path, kind: WasmKind) -> wasmtime::Result<Code> {
        match kind {
            // SAFETY: the file was written by `code_file` from what a compiler like
            // this engine's made, now or when this binary was built, in a directory
            // that only we may write, and has not changed since.
            // JUSTIFICATION: compiling at each start would cost seconds.
            WasmKind::Component => unsafe { Component::deserialize_file(&self.engine, path) }.map(Code::Component),
            // SAFETY: as above.
            // JUSTIFICATION: as above.
            WasmKind::Module => unsafe { wasmtime::Module::deserialize_file(&self.engine, path) }.map(Code::Module),
        }
    }

    fn link(&self, code: Code, record: &ImageRecord) -> Result<Program, Error> {
        let linked = match code {
            Code::Component(component) => {
                let instance = self.components.instantiate_pre(&component);
                instance.and_then(CommandPre::new).map(Program::Component)
            }
            Code::Module(module) if module.get_export("_start").is_none() => {
                Err(wasmtime::Error::msg("it exports no _start: it is a library, not a command"))
            }
            Code::Module(module) => self.modules.instantiate_pre(&module).map(Program::Module),
        };
        linked.map_err(|error| cannot_run(record, &error))
    }
}

enum Code {
    Component(Component),
    Module(wasmtime::Module),
}

/// What the compiler and the loader of code must agree on, and a little more.
pub(crate) fn engine_config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    config
}

/// A name for everything that compiled code depends on.
fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Removes the code of other engines: of an older release, or another machine. It
/// only takes space, so what cannot be removed stays.
fn remove_all_but(kept: &Path, cache_dir: &Path) {
    for entry in fs::read_dir(cache_dir).into_iter().flatten().flatten().filter(|entry| entry.path() != kept) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            warn!(path = %entry.path().display(), %error, "could not remove old compiled code");
        }
    }
}

fn name_of(record: &ImageRecord) -> &str {
    record.tags.first().map_or(record.digest.as_str(), String::as_str)
}

fn cannot_run(record: &ImageRecord, error: &wasmtime::Error) -> Error {
    Error::InvalidArgument(format!("image {} cannot run here: {error:#}", name_of(record)))
}

fn internal<E: std::fmt::Display>(operation: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Internal(format!("{operation}: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TOOLBOX;

    async fn kept_of(programs: &Arc<Programs>, toolbox: Toolbox) -> Vec<u8> {
        programs.toolbox(&Handle::current(), toolbox).await.unwrap();
        fs::read(programs.cached(&ImageDigest::of(toolbox.wasm))).unwrap()
    }

    #[tokio::test]
    async fn the_toolbox_comes_as_code_that_this_engine_takes() {
        let directory = tempfile::tempdir().unwrap();
        let programs = Programs::new(directory.path(), Compiler::Thread).unwrap();
        // Made anew, it would be code for this very model of machine.
        assert!(kept_of(&programs, TOOLBOX).await == TOOLBOX.code);
    }

    #[tokio::test]
    async fn code_that_the_engine_does_not_take_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let programs = Programs::new(directory.path(), Compiler::Thread).unwrap();
        let wasm = fs::read(wk_guests::exit_code()).unwrap().leak();
        let toolbox = Toolbox { wasm, code: b"of another engine", programs: &[] };
        assert!(kept_of(&programs, toolbox).await.starts_with(b"\x7fELF"));
    }

    #[test]
    fn code_of_other_engines_goes_and_our_own_stays() {
        let directory = tempfile::tempdir().unwrap();
        let own = Programs::new(directory.path(), Compiler::Thread).unwrap().cache.join("kept.cwasm");
        let other = directory.path().join("0123");
        fs::create_dir(&other).unwrap();
        fs::write(&own, "").unwrap();
        Programs::new(directory.path(), Compiler::Thread).unwrap();
        assert!(own.exists() && !other.exists());
    }
}
