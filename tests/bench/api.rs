//! Requests per second over TLS with durable writes.

use crate::{Cluster, Report, cluster::Usage};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const CLIENTS: usize = 16;
const REQUESTS_PER_CLIENT: usize = 1000;

pub fn api(report: &mut Report) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), &["--roles", "apiserver"]);
    let (rate, cpu) = run(&cluster, directory.path(), Kind::Create);
    report.line("create of 1 KB, 16 clients", format!("{rate:.0} /s"), "> 5,000 /s", "1,354 /s");
    report.line("create: CPU of the server", format!("{cpu:.0} us"), "", "805 us");
    let (rate, cpu) = run(&cluster, directory.path(), Kind::Get);
    report.line("get of 1 KB, 16 clients", format!("{rate:.0} /s"), "> 12,000 /s", "4,183 /s");
    report.line("get: CPU of the server", format!("{cpu:.0} us"), "", "300 us");
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Create,
    Get,
}

/// Requests per second, and the server's CPU microseconds per request.
fn run(cluster: &Cluster, directory: &Path, kind: Kind) -> (f64, f64) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let before = Usage::of(cluster.pid());
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let directory = directory.to_owned();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(one_client(&directory, client, kind));
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let (elapsed, requests) = (begun.elapsed(), (CLIENTS * REQUESTS_PER_CLIENT) as f64);
    let cpu: Duration = Usage::of(cluster.pid()).cpu - before.cpu;
    (requests / elapsed.as_secs_f64(), cpu.as_secs_f64() * 1e6 / requests)
}

async fn one_client(directory: &Path, client: usize, kind: Kind) {
    let api: Api<ConfigMap> = Api::default_namespaced(Cluster::client(directory).await);
    for index in 0..REQUESTS_PER_CLIENT {
        let name = format!("c{client}-{index}");
        if kind == Kind::Create {
            let object = json!({"metadata": {"name": name}, "data": {"payload": "x".repeat(900)}});
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        } else {
            api.get(&name).await.unwrap();
        }
    }
}
