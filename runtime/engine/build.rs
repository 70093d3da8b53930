//! Finds the WIT files of `wasi:sockets` in the source of the `wasmtime-wasi`
//! crate that this build uses, wherever cargo keeps it (registry or vendored).
//!
//! It writes one line, `bind!("<path>");`, which `src/sockets/bindings.rs`
//! includes: the path must be a literal there, and nothing is copied into our
//! tree. Cargo is asked offline first. On a fresh clone it may miss packages that
//! this build does not need (those of tests), and is then asked again to fetch
//! them; `cargo fetch` beforehand makes that needless.

use serde_json::Value;
use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> Result<(), Box<dyn Error>> {
    let wit = wasmtime_wasi_source()?.join("src/p2/wit");
    if !wit.join("deps/sockets.wit").is_file() {
        return Err(format!("no WIT files of wasi:sockets in {}", wit.display()).into());
    }
    let target = Path::new(&env::var("OUT_DIR")?).join("bind.rs");
    fs::write(target, format!("bind!({:?});\n", wit.to_str().ok_or("the path of wasmtime-wasi is not UTF-8")?))?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", wit.display());
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    Ok(())
}

/// The folder of the one `wasmtime-wasi` among all packages of this build.
fn wasmtime_wasi_source() -> Result<PathBuf, Box<dyn Error>> {
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[]))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let manifests = packages.iter().filter(|package| package["name"] == "wasmtime-wasi");
    let manifests: Vec<_> = manifests.filter_map(|package| package["manifest_path"].as_str()).collect();
    match manifests[..] {
        [manifest] => Ok(Path::new(manifest).parent().ok_or("a manifest has a folder")?.to_owned()),
        _ => Err(format!("expected one wasmtime-wasi, found {}", manifests.len()).into()),
    }
}

/// What cargo knows of the packages for this target.
fn metadata(options: &[&str]) -> Result<Value, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--filter-platform", &env::var("TARGET")?])
        .args(options)
        .arg("--manifest-path")
        .arg(Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml"))
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
