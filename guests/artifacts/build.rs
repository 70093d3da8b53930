//! Builds the guests with a cargo of its own, compiles the toolbox to machine
//! code, and tells the crate where they are.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Guests that are also built as core modules of WASI 0.1.
const WASIP1_GUESTS: [&str; 3] = ["exit-code", "env-and-files", "memory-hog"];

/// The one program beside the guests that runs here.
const COMPILER: &str = "toolbox-compiler";

fn main() -> Result<(), Box<dyn Error>> {
    let guests = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    // Not the target directory of the outer cargo, which holds its lock while we run.
    let target = PathBuf::from(env::var("OUT_DIR")?).join("guests");
    watch_sources(&guests)?;
    build(&guests, &target, "wasm32-wasip2", &["--workspace", "--exclude", COMPILER])?;
    let packages: Vec<&str> = WASIP1_GUESTS.iter().flat_map(|guest| ["--package", guest]).collect();
    build(&guests, &target, "wasm32-wasip1", &packages)?;
    println!("cargo::rustc-env=WK_GUESTS={}", target.display());
    compile_toolbox(&guests, &target)?;
    write_programs(&guests)
}

/// The toolbox as machine code, so that nobody waits seconds for the first exec. An
/// empty file when the compiler, which knows this machine's architecture only, is
/// not for the target's.
fn compile_toolbox(guests: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let (host, target) = (env::var("HOST")?, env::var("TARGET")?);
    let code = PathBuf::from(env::var("OUT_DIR")?).join("toolbox.cwasm");
    if host.split('-').next() != target.split('-').next() {
        fs::write(code, [])?;
        return Ok(());
    }
    let mut cargo = cargo(guests, target_dir)?;
    cargo.args(["--profile", "compiler", "--package", COMPILER, "--target", &host]);
    run(cargo, "the toolbox's compiler did not build")?;
    let mut compiler = Command::new(target_dir.join(&host).join("compiler").join(COMPILER));
    compiler.arg(target_dir.join("wasm32-wasip2/release/toolbox.wasm")).arg(code).arg(&target);
    run(compiler, "the toolbox did not compile")
}

/// The toolbox's programs as an expression, from the list that the toolbox tests against its table.
fn write_programs(guests: &Path) -> Result<(), Box<dyn Error>> {
    let list = fs::read_to_string(guests.join("toolbox/programs.txt"))?;
    let names: Vec<&str> = list.lines().collect();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("programs.rs"), format!("&{names:?}"))?;
    Ok(())
}

/// Everything beside this crate is a source of the guests.
fn watch_sources(guests: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for entry in guests.read_dir()? {
        let entry = entry?;
        if entry.file_name() != "artifacts" && entry.file_name() != "target" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}

fn build(guests: &Path, target_dir: &Path, target: &str, packages: &[&str]) -> Result<(), Box<dyn Error>> {
    require_target(target)?;
    let mut cargo = cargo(guests, target_dir)?;
    cargo.args(["--release", "--target", target]).args(packages);
    run(cargo, &format!("the guests did not build for {target}"))
}

/// A `cargo build` in the workspace of the guests.
fn cargo(guests: &Path, target_dir: &Path) -> Result<Command, Box<dyn Error>> {
    let mut cargo = Command::new(env::var("CARGO")?);
    // What the lock file names is fetched when it is not here yet; nothing else is.
    cargo.args(["build", "--locked", "--quiet"]);
    cargo.arg("--manifest-path").arg(guests.join("Cargo.toml")).arg("--target-dir").arg(target_dir);
    // What the outer build says about flags and wrappers (clippy is one) is not for these.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    Ok(cargo)
}

fn run(mut command: Command, failure: &str) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{failure}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{failure}: {status}").into()) }
}

/// Says how to get a missing target, instead of the compiler's "can't find crate for `std`".
fn require_target(target: &str) -> Result<(), Box<dyn Error>> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output()?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libdir.is_dir() {
        return Ok(());
    }
    Err(format!("the guests need the target {target}; run: rustup target add wasm32-wasip2 wasm32-wasip1").into())
}
