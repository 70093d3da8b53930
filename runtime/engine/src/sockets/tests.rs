//! The interfaces as a guest sees them: first call by call, then by programs.

mod calls;
mod programs;

use super::*;
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2::bindings::sockets::instance_network::Host as _,
    sockets::WasiSocketsView as _,
};
use wk_network::{Config, PodConfig};
use wk_platform::Entropy;

/// The least store data that has sockets.
struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    pod: PodPort,
}

impl Guest {
    fn new(pod: &PodPort, wasi: &mut WasiCtxBuilder) -> Self {
        Self { table: ResourceTable::new(), wasi: wasi.build(), pod: pod.clone() }
    }

    /// The handle that every call wants to see.
    fn network(&mut self) -> Resource<Network> {
        self.sockets().instance_network().expect("the table has room")
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl NetView for Guest {
    fn net(&mut self) -> NetCtx<'_> {
        NetCtx { table: &mut self.table, pod: &self.pod }
    }
}

fn network() -> wk_network::Network {
    let inside = vec!["10.0.0.0/8".parse().expect("valid")];
    wk_network::Network::new(Config { inside, ..Config::new(Entropy::seeded(1)) })
}

fn pod(network: &wk_network::Network) -> PodPort {
    network.attach("10.244.1.0/24".parse().expect("valid"), PodConfig::default()).expect("room")
}
