//! What a guest may have: memory, tables, instances, handles.
//!
//! `run.rs` puts these on each `wasmtime::Store`. Memory is counted per
//! container over all its instances (the guest itself and what runs beside it
//! through exec), so that exec is no way around a limit. CPU is in `cpu.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};
use wasmtime::{ResourceLimiter, Result, Store};

/// Elements of one table: enough for the function tables of big interpreters,
/// at 8 bytes each.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// Core instances, memories and tables of one component. Tools that link
/// libraries dynamically make dozens.
const INSTANCES_MAX: usize = 256;

/// Open files, sockets, streams and pollables of one guest.
const HANDLES_MAX: usize = 16_384;

/// Bytes that one host call may copy out of the guest.
const HOST_CALL_BYTES_MAX: usize = 16 << 20;

/// Bytes of random data of one host call.
pub(crate) const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What every guest of a runtime may have at most, whatever its pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of a container without a limit of its own.
    pub memory_bytes_max: u64,
}

impl Default for Limits {
    /// All that a 32-bit guest can address.
    fn default() -> Self {
        Self { memory_bytes_max: 4 << 30 }
    }
}

/// What a container uses over all its instances, or one of its processes.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// CPU time since it started.
    pub cpu_nanos: AtomicU64,
    /// Bytes of linear memory.
    pub memory_bytes: AtomicU64,
    /// Whether a thread works for it now (of a process; a container has many).
    pub is_running: AtomicBool,
}

/// Where the use of one process is counted: its own, and its container's, which
/// has the limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub own: Arc<Usage>,
    pub container: Arc<Usage>,
}

impl Account {
    /// Of a new process in a container.
    pub fn of(container: Arc<Usage>) -> Self {
        Self { own: Arc::default(), container }
    }

    /// Counts CPU time.
    pub fn add_cpu_nanos(&self, nanos: u64) {
        self.own.cpu_nanos.fetch_add(nanos, Relaxed);
        self.container.cpu_nanos.fetch_add(nanos, Relaxed);
    }
}

/// The guest asked for more memory than its container may have.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the container needs {wanted_bytes} bytes of memory and may have {limit_bytes}")]
pub(crate) struct OomKilled {
    pub wanted_bytes: u64,
    pub limit_bytes: u64,
}

/// Counts the memory of a process's one instance.
pub(crate) struct MemoryLimiter {
    account: Account,
    limit_bytes: u64,
    last_growth: u64,
}

impl MemoryLimiter {
    /// For the instance of a process whose container may have `limit_bytes`.
    pub fn new(account: Account, limit_bytes: u64) -> Self {
        Self { account, limit_bytes, last_growth: 0 }
    }

    fn grow(&mut self, growth: u64) -> std::result::Result<(), OomKilled> {
        let limit = self.limit_bytes;
        let within = |used: u64| used.checked_add(growth).filter(|wanted| *wanted <= limit);
        let Account { own, container } = &self.account;
        container
            .memory_bytes
            .fetch_update(Relaxed, Relaxed, within)
            .map_err(|used| OomKilled { wanted_bytes: used.saturating_add(growth), limit_bytes: limit })?;
        own.memory_bytes.fetch_add(growth, Relaxed);
        self.last_growth = growth;
        Ok(())
    }

    fn give_back(&mut self, bytes: u64) {
        let Account { own, container } = &self.account;
        own.memory_bytes.fetch_sub(bytes, Relaxed);
        container.memory_bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.give_back(self.account.own.memory_bytes.load(Relaxed));
    }
}

impl ResourceLimiter for MemoryLimiter {
    /// Ends the guest at its limit. To refuse the growth instead would make the
    /// guest's allocator fail, which cannot be told from a crash.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        self.grow(desired.saturating_sub(current) as u64)?;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        let growth = std::mem::take(&mut self.last_growth);
        self.give_back(growth);
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

/// Puts the limits on a store whose data has a limiter.
pub(crate) fn apply<T: 'static>(
    store: &mut Store<T>,
    limiter: impl Fn(&mut T) -> &mut MemoryLimiter + Send + Sync + 'static,
) {
    store.limiter(move |data| limiter(data));
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1); // zero would end the first call at once
}

/// A table of handles with its limit.
pub(crate) fn resource_table() -> wasmtime::component::ResourceTable {
    let mut table = wasmtime::component::ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_a_container_share_its_limit() {
        let usage = Arc::new(Usage::default());
        let mut guest = MemoryLimiter::new(Account::of(usage.clone()), 100);
        let mut exec = MemoryLimiter::new(Account::of(usage.clone()), 100);
        assert!(guest.memory_growing(0, 60, None).unwrap());
        let error = exec.memory_growing(0, 50, None).unwrap_err();
        assert_eq!(error.downcast_ref::<OomKilled>().map(|oom| oom.wanted_bytes), Some(110));
        drop(guest);
        assert!(exec.memory_growing(0, 100, None).unwrap());
        drop(exec);
        assert_eq!(usage.memory_bytes.load(Relaxed), 0);
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let account = Account::of(Arc::new(Usage::default()));
        let mut limiter = MemoryLimiter::new(account.clone(), 100);
        limiter.memory_growing(0, 40, None).unwrap();
        limiter.memory_growing(40, 90, None).unwrap();
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        let counted = |usage: &Usage| usage.memory_bytes.load(Relaxed);
        assert_eq!((counted(&account.own), counted(&account.container)), (40, 40));
    }
}
