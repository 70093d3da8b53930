//! What a cluster costs that does nothing.

use crate::{Cluster, Report, cluster::Usage, pods};
use std::time::Duration;

/// How long "nothing" is watched.
const WINDOW: Duration = Duration::from_secs(60);

/// After the start, until caches and compiled code have settled.
const SETTLE: Duration = Duration::from_secs(15);

pub fn idle(report: &mut Report) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), &[]);
    watch(report, &cluster, "no pods", ["< 60 MB", "< 5 m", "0"]);
    pods::deploy(directory.path(), 100);
    watch(report, &cluster, "100 idle pods", ["< 100 MB", "< 10 m", "0"]);
}

fn watch(report: &mut Report, cluster: &Cluster, what: &str, goals: [&str; 3]) {
    std::thread::sleep(SETTLE);
    let before = Usage::of(cluster.pid());
    std::thread::sleep(WINDOW);
    let after = Usage::of(cluster.pid());
    let millicores = (after.cpu - before.cpu).as_secs_f64() / WINDOW.as_secs_f64() * 1e3;
    report.line(
        &format!("idle, {what}: memory (PSS)"),
        format!("{} MB", after.pss_bytes / 1_000_000),
        goals[0],
        "481 MiB",
    );
    report.line(&format!("idle, {what}: CPU"), format!("{millicores:.1} m"), goals[1], "27 m");
    let written = after.written_bytes - before.written_bytes;
    report.line(&format!("idle, {what}: written to disk in 60 s"), format!("{written} B"), goals[2], "");
}
