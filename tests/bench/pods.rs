//! How fast pods start.

use crate::{
    Cluster, Report,
    cluster::Usage,
    report::{millis, percentile},
};
use futures::TryStreamExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const IMAGE: &str = "kiamol/ch02-hello-kiamol";

/// Runs a client's work.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn start(report: &mut Report) {
    let directory = tempfile::tempdir().unwrap();
    let first = Cluster::start(directory.path(), &[]).started_in;
    report.line("wk server to ready, empty data directory", millis(first), "< 300 ms", "2.4 s");
    let mut again: Vec<Duration> = (0..5).map(|_| Cluster::start(directory.path(), &[]).started_in).collect();
    report.line("wk server to ready, existing data (median of 5)", millis(percentile(&mut again, 0.5)), "< 150 ms", "");
}

fn load(directory: &Path) {
    Cluster::wk(directory, &["image", "load", wk_guests::hello_kiamol().to_str().unwrap(), "--tag", IMAGE]);
}

fn pod(name: &str) -> Pod {
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}]});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// A Deployment of `replicas`, and how long until all were ready.
pub fn deploy(directory: &Path, replicas: i32) -> Duration {
    load(directory);
    block_on(async {
        let api: Api<Deployment> = Api::default_namespaced(Cluster::client(directory).await);
        let template = json!({"metadata": {"labels": {"app": "bench"}}, "spec": pod("bench").spec});
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": "bench"}}, "template": template});
        let object = serde_json::from_value(json!({"metadata": {"name": "bench"}, "spec": spec})).unwrap();
        let begun = Instant::now();
        api.create(&PostParams::default(), &object).await.unwrap();
        until(&api, move |deployment| {
            deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) == replicas
        })
        .await;
        begun.elapsed()
    })
}

/// Watches the Deployment until it is as wanted.
async fn until(api: &Api<Deployment>, wanted: impl Fn(&Deployment) -> bool) {
    let config = watcher::Config::default().fields("metadata.name=bench");
    let mut changes = std::pin::pin!(watcher(api.clone(), config).applied_objects());
    while let Some(deployment) = changes.try_next().await.unwrap() {
        if wanted(&deployment) {
            return;
        }
    }
}

pub fn pods(report: &mut Report) {
    let directory = tempfile::tempdir().unwrap();
    let _cluster = Cluster::start(directory.path(), &[]);
    load(directory.path());
    let mut samples = block_on(one_by_one(directory.path()));
    report.line(
        "one pod, create to Ready on a watch: median",
        millis(percentile(&mut samples, 0.5)),
        "< 10 ms",
        "about 2 s",
    );
    report.line("one pod, create to Ready on a watch: p99", millis(percentile(&mut samples, 0.99)), "< 40 ms", "");
    report.line("Deployment of 100 to all Ready", millis(deploy(directory.path(), 100)), "< 500 ms", "0.7 s (hollow)");
    report.line("rolling update of 100", millis(block_on(roll(directory.path()))), "< 1000 ms", "1.7 s (hollow)");
    let listing = |_| {
        let begun = Instant::now();
        Cluster::wk(directory.path(), &["get", "pods"]);
        begun.elapsed()
    };
    let mut samples: Vec<Duration> = (0..21).map(listing).collect();
    report.line(
        "wk get pods with 100 pods, whole process: median",
        millis(percentile(&mut samples, 0.5)),
        "< 30 ms",
        "",
    );
}

async fn one_by_one(directory: &Path) -> Vec<Duration> {
    let api: Api<Pod> = Api::default_namespaced(Cluster::client(directory).await);
    let mut samples = Vec::new();
    let changes = watcher(api.clone(), watcher::Config::default()).applied_objects();
    let mut changes = std::pin::pin!(changes);
    for index in 0..101 {
        let name = format!("one-{index}");
        let begun = Instant::now();
        let (params, object) = (PostParams::default(), pod(&name));
        let created = api.create(&params, &object);
        let ready = async {
            while let Some(pod) = changes.try_next().await.unwrap() {
                if pod.metadata.name.as_deref() == Some(&name) && is_ready(&pod) {
                    return begun.elapsed();
                }
            }
            unreachable!("a watcher does not end")
        };
        let (created, elapsed) = futures::join!(created, ready);
        created.unwrap();
        // The first one compiles the image.
        if index > 0 {
            samples.push(elapsed);
        }
        api.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
    samples
}

async fn roll(directory: &Path) -> Duration {
    let api: Api<Deployment> = Api::default_namespaced(Cluster::client(directory).await);
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}});
    let begun = Instant::now();
    let patched = api.patch("bench", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let generation = patched.metadata.generation;
    until(&api, move |deployment| {
        let Some(status) = &deployment.status else { return false };
        let count = |count: Option<i32>| count.unwrap_or(0);
        status.observed_generation >= generation
            && count(status.updated_replicas) == 100
            && count(status.available_replicas) == 100
            && count(status.replicas) == 100
    })
    .await;
    begun.elapsed()
}

pub fn many(report: &mut Report) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), &[]);
    let elapsed = deploy(directory.path(), 1000);
    report.line("1,000 pods on one node to all Ready", millis(elapsed), "< 5 s", "");
    let memory = Usage::of(cluster.pid()).pss_bytes / 1_000_000;
    report.line("1,000 pods: memory (PSS)", format!("{memory} MB"), "< 400 MB", "");
}
