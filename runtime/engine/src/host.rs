//! What a guest sees of the world: the `T` of its `wasmtime::Store<T>`.

use crate::{
    limits::MemoryLimiter,
    processes::{
        Process,
        session::{Session, Streams},
    },
    sockets::{NetCtx, NetView},
};
use std::sync::{Arc, Weak};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wk_network::PodPort;

/// The host's side of a component (WASI 0.2).
pub(crate) struct HostState {
    /// Everything the guest holds a handle of.
    pub table: ResourceTable,
    /// Arguments, environment, files, clocks, random numbers, streams.
    pub wasi: WasiCtx,
    /// The pod's place on the network, shared with the pod's other containers.
    pub port: PodPort,
    /// What it may have.
    pub limiter: MemoryLimiter,
    /// Which process it is.
    pub process: ProcessCtx,
}

/// A guest as a process of its container.
pub(crate) struct ProcessCtx {
    /// Itself.
    pub process: Arc<Process>,
    /// What it ends with; weak, since the session must not live by its processes.
    pub session: Weak<Session>,
    /// Its own streams, as WASI has them too.
    pub streams: Streams,
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl NetView for HostState {
    fn net(&mut self) -> NetCtx<'_> {
        NetCtx { table: &mut self.table, pod: &self.port }
    }
}

/// The host's side of a core module (WASI 0.1), which has no sockets.
pub(crate) struct ModuleHostState {
    /// Everything it sees.
    pub wasi: WasiP1Ctx,
    /// What it may have.
    pub limiter: MemoryLimiter,
}
