//! Builds the guests with a cargo of its own and tells the crate where they are.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Guests that are also built as core modules of WASI 0.1.
const WASIP1_GUESTS: [&str; 3] = ["exit-code", "env-and-files", "memory-hog"];

fn main() -> Result<(), Box<dyn Error>> {
    let guests = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    // Not the target directory of the outer cargo, which holds its lock while we run.
    let target = PathBuf::from(env::var("OUT_DIR")?).join("guests");
    watch_sources(&guests)?;
    build(&guests, &target, "wasm32-wasip2", &["--workspace"])?;
    let packages: Vec<&str> = WASIP1_GUESTS.iter().flat_map(|guest| ["--package", guest]).collect();
    build(&guests, &target, "wasm32-wasip1", &packages)?;
    println!("cargo::rustc-env=WK_GUESTS={}", target.display());
    write_programs(&guests)
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
    let mut cargo = Command::new(env::var("CARGO")?);
    // What the lock file names is fetched when it is not here yet; nothing else is.
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", target]);
    cargo.args(packages).arg("--manifest-path").arg(guests.join("Cargo.toml")).arg("--target-dir").arg(target_dir);
    // What the outer build says about flags and wrappers (clippy is one) is not for wasm.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let status = cargo.status().map_err(|error| format!("run cargo for the guests: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("the guests did not build for {target}: {status}").into()) }
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
