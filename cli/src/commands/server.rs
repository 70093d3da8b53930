//! `wk server`: a cluster, or some of its parts, until a signal.

use crate::{
    args::{Global, Server},
    client,
    compose::{self, Cluster},
    output,
};
use anyhow::{Context, Result};
use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};
use wk_controllers::ControllerSet;
use wk_platform::tasks::{OnError, TaskGroup};

pub(super) fn run(global: &Global, args: Server) -> Result<ExitCode> {
    #[expect(clippy::disallowed_methods, reason = "how long the start took, for the person who waits")]
    let started = Instant::now();
    if args.background {
        // So that the end of the terminal it was started from is not its own.
        rustix::process::setsid().context("start a session")?;
    }
    let config = config(global, args)?;
    let control = wk_platform::runtimes::control_plane().context("start the async runtime")?;
    let guests = wk_platform::runtimes::guests().context("start the guests' runtime")?;
    let result = control.block_on(async {
        let cluster = compose::start(config, guests.handle().clone()).await?;
        announce(&cluster, started)?;
        let again = TaskGroup::new();
        until_told(&cluster, &again).await?;
        cluster.stop().await
    });
    // A guest that could not be ended in time is in the middle of something for
    // ever; it is not waited for.
    guests.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

fn config(global: &Global, args: Server) -> Result<compose::Config> {
    let Server { listen, nodes, roles, controllers, service_cluster_ip_range, cluster_cidr, .. } = args;
    Ok(compose::Config {
        data_dir: std::path::absolute(client::data_dir(global)?).context("find the data directory")?,
        listen,
        nodes,
        roles,
        controllers: ControllerSet::parse(&controllers.join(",")).context("--controllers")?,
        service_cidr: service_cluster_ip_range,
        cluster_cidr,
        node_grace: grace(&args.node_monitor_grace_period).context("--node-monitor-grace-period")?,
    })
}

/// The shortest time to call a node silent: its lease is renewed four times in
/// it, in whole seconds.
const NODE_GRACE_MIN: Duration = Duration::from_secs(5);

fn grace(text: &str) -> Result<Duration> {
    let grace = super::parse_duration(text)?;
    anyhow::ensure!(grace >= NODE_GRACE_MIN, "{text} is too short: nodes need {}s", NODE_GRACE_MIN.as_secs());
    Ok(grace)
}

fn announce(cluster: &Cluster, started: Instant) -> Result<()> {
    let mut out = output::stdout();
    writeln!(out, "kubeconfig: {}", cluster.kubeconfig.display())?;
    let after = started.elapsed().as_millis();
    writeln!(out, "{}https://{} after {after} ms", super::up::READY, cluster.address)?;
    Ok(out.flush()?)
}

/// Waits for SIGTERM, SIGINT or a part's failure. A second signal ends the
/// process at once.
async fn until_told(cluster: &Cluster, again: &TaskGroup) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = cluster.failed() => return Ok(()),
    }
    again.spawn("second signal", OnError::Log, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
        #[expect(unreachable_code, reason = "names the error type of a task that cannot fail")]
        Ok::<_, std::convert::Infallible>(())
    });
    Ok(())
}
