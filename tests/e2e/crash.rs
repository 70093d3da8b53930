//! The server is killed again and again under load; a client that wrote down
//! every acknowledged write finds each of them, and nothing else.
//!
//! A killed process leaves the system's page cache behind, so this is about the
//! order of commit, acknowledgement and watch; that commits are synced, and what
//! a lost power supply leaves of a file, is tested in the store.

mod ledger;

use crate::harness::{HELLO, PATIENCE, Server, Tool};
use kube::{Api, Client, api::DynamicObject, core::ApiResource};
use ledger::{Seen, Slot, Worker};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::watch;
use wk_platform::Entropy;

const KILLS: u64 = 50;
const WORKERS: usize = 6;

/// The kinds written to; a Service takes an address as well.
const KINDS: [(&str, &str); 3] = [("ConfigMap", "configmaps"), ("Secret", "secrets"), ("Service", "services")];

const DEPLOYMENT: &str = "hello-kiamol";

#[test]
fn fifty_kills_lose_nothing_that_was_acknowledged() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let random = || 1 + Entropy::system().below(u64::from(u32::MAX));
    let seed = std::env::var("WK_CRASH_SEED").ok().map_or_else(random, |seed| seed.parse().unwrap());
    println!("replay with WK_CRASH_SEED={seed}");
    let mut server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/hello.yaml");
    server.ok(Tool::Wk, &["apply", "-f", manifest]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let writes = runtime.block_on(torment(&mut server, &Entropy::seeded(seed), seed));
    println!("{writes} writes were acknowledged between {KILLS} kills");
    assert!(writes > 5 * KILLS, "hardly any load: {writes} writes");
}

async fn torment(server: &mut Server, entropy: &Entropy, seed: u64) -> u64 {
    let mut workers: Vec<Worker> = (0..WORKERS).map(|index| Worker::new(index, entropy.below(u64::MAX))).collect();
    let mut seen: Vec<Seen> = KINDS.iter().map(|_| Seen::default()).collect();
    let mut replicas = vec![2];
    for _ in 0..KILLS {
        let moment = Duration::from_micros(entropy.below(150_000));
        if entropy.below(4) == 0 {
            server.stop("-KILL");
            server.restart_and_kill_after(moment);
            server.restart();
            let client = client(server.directory()).await;
            check(&client, &mut workers, &mut seen, &mut replicas, seed).await;
            continue;
        }
        let client = client(server.directory()).await;
        let progress = Arc::new(watch::Sender::new(0));
        let work = |worker: Worker| tokio::spawn(worker.work(client.clone(), progress.clone(), seed));
        let tasks: Vec<_> = workers.drain(..).map(work).collect();
        let watches: Vec<_> =
            seen.drain(..).zip(0..).map(|(seen, kind)| tokio::spawn(seen.watch(api(&client, kind)))).collect();
        let scaled = tokio::spawn(scale(client.clone(), 1 + entropy.below(4)));
        // In the middle of something, however fast the machine is.
        let (mut writes, enough) = (progress.subscribe(), 1 + entropy.below(40));
        tokio::time::timeout(PATIENCE, writes.wait_for(|count| *count >= enough)).await.expect("writes go on").unwrap();
        tokio::time::sleep(moment / 30).await;
        server.stop("-KILL");
        for task in tasks {
            workers.push(done(task).await);
        }
        for watch in watches {
            seen.push(done(watch).await);
        }
        let (wanted, acknowledged) = done(scaled).await;
        if acknowledged {
            replicas.clear();
        }
        replicas.push(wanted);
        server.restart();
        let client = self::client(server.directory()).await;
        check(&client, &mut workers, &mut seen, &mut replicas, seed).await;
    }
    settles(server, replicas[0]);
    workers.iter().map(|worker| worker.acknowledged).sum()
}

async fn done<T>(task: tokio::task::JoinHandle<T>) -> T {
    tokio::time::timeout(PATIENCE, task).await.expect("a killed server hangs up").expect("see above")
}

async fn client(directory: &Path) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(directory.join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn resource(kind: usize) -> ApiResource {
    let (kind, plural) = KINDS[kind];
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn api(client: &Client, kind: usize) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &resource(kind))
}

/// Asks for so many replicas; whether that was acknowledged.
async fn scale(client: Client, replicas: u64) -> (u64, bool) {
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::default_namespaced(client);
    let patch = kube::api::Patch::Merge(serde_json::json!({"spec": {"replicas": replicas}}));
    (replicas, deployments.patch(DEPLOYMENT, &Default::default(), &patch).await.is_ok())
}

/// Compares what is stored with what was written down.
async fn check(client: &Client, workers: &mut [Worker], seen: &mut [Seen], replicas: &mut Vec<u64>, seed: u64) {
    for (kind, seen) in seen.iter_mut().enumerate() {
        let list = api(client, kind).list(&ledger::selected()).await.unwrap();
        let version: u64 = list.metadata.resource_version.unwrap().parse().unwrap();
        let mut found: BTreeMap<String, DynamicObject> =
            list.items.into_iter().map(|object| (object.metadata.name.clone().unwrap(), object)).collect();
        seen.check(&found, version, seed);
        let slots = workers.iter_mut().flat_map(|worker| worker.slots.iter_mut()).filter(|slot| slot.kind == kind);
        slots.for_each(|slot: &mut Slot| slot.check(found.remove(&slot.name), version, seed));
        assert!(found.is_empty(), "seed {seed}: resurrected: {:?}", found.keys());
    }
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::default_namespaced(client.clone());
    let found = deployments.get(DEPLOYMENT).await.unwrap().spec.unwrap().replicas.unwrap() as u64;
    assert!(replicas.contains(&found), "seed {seed}: {found} replicas, not one of {replicas:?}");
    *replicas = vec![found];
}

/// The Deployment's pods end as declared.
fn settles(server: &Server, replicas: u64) {
    server.until(&["get", "pods", "--no-headers"], "as many running as declared", |rows| {
        let running = rows.lines().filter(|row| row.contains("1/1") && row.contains("Running")).count() as u64;
        running == replicas && rows.lines().count() as u64 == replicas
    });
}
