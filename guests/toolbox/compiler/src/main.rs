//! `toolbox-compiler WASM CODE TARGET`: compiles a component to machine code, so
//! that nobody waits seconds for the first exec. Run by the build script of
//! `guests/artifacts`; a program of its own, since a build dependency on wasmtime
//! would have all that the outer build shares with it compiled twice.

use std::{env, error::Error, fs};
use wasmtime::{Config, Engine};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wasm, code, target] = arguments.as_slice() else { return Err("usage: WASM CODE TARGET".into()) };
    fs::write(code, engine(target)?.precompile_component(&fs::read(wasm)?)?)?;
    Ok(())
}

/// As the engine of `wk` in all that matters to the code (a test there says so),
/// but for every model of the target: naming it keeps this machine's own features
/// out.
fn engine(target: &str) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.target(target)?.epoch_interruption(true);
    Engine::new(&config)
}
