//! What the host says about itself; what it does not say is left empty.

use std::fs::read_to_string;

/// Memory maps of a process that is not allowed to say (Linux's default).
const MAPS_DEFAULT: u64 = 65_530;

/// Memory maps that the process itself needs: code, heaps, threads, RocksDB.
const MAPS_RESERVED: u64 = 4_096;

/// Memory maps that a running guest takes (measured: 7 with copy-on-write).
const MAPS_PER_POD: u64 = 8;

/// Upstream's default of `--max-pods`, and the least a node says here.
const PODS_MIN: u64 = 110;

fn line(path: &str) -> String {
    read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The host's name.
pub(super) fn hostname() -> String {
    Some(line("/proc/sys/kernel/hostname")).filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

pub(super) fn kernel_version() -> String {
    line("/proc/sys/kernel/osrelease")
}

pub(super) fn boot_id() -> String {
    line("/proc/sys/kernel/random/boot_id")
}

pub(super) fn machine_id() -> String {
    line("/etc/machine-id")
}

/// `PRETTY_NAME` of os-release(5).
pub(super) fn os_image() -> String {
    let text = read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// Bytes of memory; 1 GiB when the host does not say.
pub(super) fn memory_bytes() -> u64 {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.map_or(1 << 30, |kibibytes| kibibytes * 1024)
}

/// Pods that all nodes of this process can run together: each takes some of the
/// memory maps that the kernel allows a process.
pub(super) fn pods_max() -> u64 {
    pods_for(line("/proc/sys/vm/max_map_count").parse().unwrap_or(MAPS_DEFAULT))
}

fn pods_for(maps: u64) -> u64 {
    (maps.saturating_sub(MAPS_RESERVED) / MAPS_PER_POD).max(PODS_MIN)
}

/// Thousandths of a CPU.
pub(super) fn cpu_millis() -> u64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64 * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_follow_from_the_memory_maps() {
        assert_eq!(pods_for(65_530), 7_679);
        assert_eq!(pods_for(1_000), PODS_MIN);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_bytes() > 64 << 20 && cpu_millis() >= 1000);
    }
}
