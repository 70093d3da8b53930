//! One line per number.

/// Prints numbers as they come.
pub struct Report {
    filter: String,
}

impl Report {
    pub fn new(filter: String) -> Self {
        println!("{:<52} {:>16} {:>16}  peer (etcd + kube-apiserver…)", "what", "measured", "goal");
        Self { filter }
    }

    /// Whether the group was asked for.
    pub fn wants(&self, group: &str) -> bool {
        group.contains(&self.filter)
    }

    pub fn line(&mut self, what: &str, measured: impl std::fmt::Display, goal: &str, peer: &str) {
        println!("{what:<52} {:>16} {goal:>16}  {peer}", measured.to_string());
    }

    /// What the numbers were measured on.
    pub fn machine(&mut self) {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("machine: {cpus} x{}; load {}", model.trim_start_matches([' ', '\t', ':']), load.trim());
    }
}

/// `12.3 ms`
pub fn millis(duration: std::time::Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// The value below which `part` of the samples are.
pub fn percentile(samples: &mut [std::time::Duration], part: f64) -> std::time::Duration {
    samples.sort();
    let index = ((samples.len() as f64 * part) as usize).min(samples.len().saturating_sub(1));
    samples.get(index).copied().unwrap_or_default()
}
