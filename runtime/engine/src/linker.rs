//! Which host interfaces a guest gets, and from where: WASI from wasmtime, its
//! sockets from the pod network.

use crate::{
    host::{HostState, ModuleHostState},
    processes, sockets,
};
use wasmtime::{Engine, Result, component};

/// For components.
///
/// # Errors
/// When two interfaces collide, which is a fault of this function.
pub(crate) fn for_components(engine: &Engine) -> Result<component::Linker<HostState>> {
    let mut linker = component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    sockets::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// For the toolbox: what components get, and processes.
///
/// # Errors
/// As [`for_components`].
pub(crate) fn for_toolbox(engine: &Engine) -> Result<component::Linker<HostState>> {
    let mut linker = for_components(engine)?;
    processes::host::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// For core modules.
///
/// # Errors
/// As [`for_components`].
pub(crate) fn for_modules(engine: &Engine) -> Result<wasmtime::Linker<ModuleHostState>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |host: &mut ModuleHostState| &mut host.wasi)?;
    Ok(linker)
}
