//! The interfaces of `wasi:sockets` with resource types of ours.
//!
//! Generated from the WIT files of `wasmtime-wasi`, which `build.rs` finds.
//! `network` and everything of `wasi:io` and `wasi:clocks` stay the stock ones,
//! so that error codes, addresses, streams and pollables are the same types as
//! in the rest of WASI.
#![allow(missing_docs)] // generated

macro_rules! bind {
    ($wit:tt) => {
        wasmtime::component::bindgen!({
            path: $wit,
            inline: "
                package wk:engine;
                world sockets {
                    import wasi:sockets/tcp@0.2.12;
                    import wasi:sockets/tcp-create-socket@0.2.12;
                    import wasi:sockets/udp@0.2.12;
                    import wasi:sockets/udp-create-socket@0.2.12;
                    import wasi:sockets/ip-name-lookup@0.2.12;
                }
            ",
            world: "wk:engine/sockets",
            imports: { default: trappable },
            trappable_error_type: { "wasi:sockets/network.error-code" => wasmtime_wasi::p2::SocketError },
            with: {
                "wasi:io/error": wasmtime_wasi::p2::bindings::io::error,
                "wasi:io/poll": wasmtime_wasi::p2::bindings::io::poll,
                "wasi:io/streams": wasmtime_wasi::p2::bindings::io::streams,
                "wasi:clocks/monotonic-clock": wasmtime_wasi::p2::bindings::clocks::monotonic_clock,
                "wasi:sockets/network": wasmtime_wasi::p2::bindings::sockets::network,
                "wasi:sockets/tcp.tcp-socket": crate::sockets::tcp::TcpSocket,
                "wasi:sockets/udp.udp-socket": crate::sockets::udp::UdpSocket,
                "wasi:sockets/udp.incoming-datagram-stream": crate::sockets::udp::IncomingDatagrams,
                "wasi:sockets/udp.outgoing-datagram-stream": crate::sockets::udp::OutgoingDatagrams,
                "wasi:sockets/ip-name-lookup.resolve-address-stream": crate::sockets::lookup::Addresses,
            },
            require_store_data_send: true,
        });
    };
}

include!(concat!(env!("OUT_DIR"), "/bind.rs"));
