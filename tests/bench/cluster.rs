//! A server process under measurement.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server in a directory, killed when dropped.
pub struct Cluster {
    child: Child,
    /// From exec to the line that says ready, which follows `/readyz`.
    pub started_in: Duration,
}

impl Cluster {
    pub fn start(directory: &Path, args: &[&str]) -> Self {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wk"))
            .args(["server", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory)
            .args(args)
            .env("WK_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| line.unwrap().strip_prefix("wk is ready at ").map(str::to_owned));
        assert!(ready.is_some(), "the server ended before it was ready");
        Self { child, started_in: begun.elapsed() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client with the administrator's certificate and no rate limit.
    pub async fn client(directory: &Path) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(directory.join("kubeconfig")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Runs `wk` against this cluster.
    pub fn wk(directory: &Path, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wk"));
        command.args(args).env("WK_DATA_DIR", directory).env("KUBECONFIG", directory.join("kubeconfig"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used, from /proc.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub written_bytes: u64,
    pub pss_bytes: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let number = |text: &str, field: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: u64 = [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok()).sum();
        Self {
            // USER_HZ is 100 on every Linux that wk runs on.
            cpu: Duration::from_millis(ticks * 10),
            written_bytes: number(&read("io"), "write_bytes:"),
            pss_bytes: number(&read("smaps_rollup"), "Pss:") * 1024,
        }
    }
}
