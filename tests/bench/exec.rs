//! How fast a command runs inside a pod.

use crate::{
    Cluster, Report, pods,
    report::{millis, percentile},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachParams};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const SAMPLES: usize = 51;

pub fn exec(report: &mut Report) {
    let directory = tempfile::tempdir().unwrap();
    let _cluster = Cluster::start(directory.path(), &[]);
    pods::deploy(directory.path(), 1);
    let pod = pods::block_on(pod(directory.path()));
    let process = || {
        let begun = Instant::now();
        Cluster::wk(directory.path(), &["exec", &pod, "--", "true"]);
        begun.elapsed()
    };
    report.line("the first exec of a data directory", millis(process()), "", "");
    let mut samples: Vec<Duration> = (0..SAMPLES).map(|_| process()).collect();
    report.line("exec of true, whole process: median", millis(percentile(&mut samples, 0.5)), "< 15 ms", "");
    let mut samples = pods::block_on(over_one_client(directory.path(), &pod));
    report.line("exec of true, through a client at hand: median", millis(percentile(&mut samples, 0.5)), "< 15 ms", "");
    report.line("exec of true, through a client at hand: p99", millis(percentile(&mut samples, 0.99)), "", "");
}

async fn pod(directory: &Path) -> String {
    let api: Api<Pod> = Api::default_namespaced(Cluster::client(directory).await);
    let pods = api.list(&Default::default()).await.unwrap();
    pods.items[0].metadata.name.clone().unwrap()
}

async fn over_one_client(directory: &Path, pod: &str) -> Vec<Duration> {
    let api: Api<Pod> = Api::default_namespaced(Cluster::client(directory).await);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        let mut running = api.exec(pod, ["true"], &AttachParams::default().stderr(false)).await.unwrap();
        let status = running.take_status().unwrap().await;
        assert_eq!(status.and_then(|status| status.status).as_deref(), Some("Success"));
        samples.push(begun.elapsed());
    }
    samples
}
