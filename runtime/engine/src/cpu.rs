//! CPU time: measured for every guest, limited for those with a limit.
//!
//! [`Metered`] wraps the future of a guest. It reads the thread's CPU clock
//! around each poll, so host calls count too, and when the time of the current
//! window is used up it waits for the next one, as the kernel's CFS bandwidth
//! control does; processes of one container share its windows. Work that a guest causes in other tasks (file I/O) escapes it.

use crate::{epoch::Ticker, limits::Account};
use parking_lot::Mutex;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// The window over which a limit holds (Kubernetes' default `cpuCFSQuotaPeriod`).
const WINDOW: Duration = Duration::from_millis(100);

/// The future of a guest, measured and throttled.
pub(crate) struct Metered {
    guest: futures::future::BoxFuture<'static, crate::run::End>,
    account: Account,
    ticker: Arc<Ticker>,
    throttle: Option<SharedThrottle>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    /// Counts into `account`, and lets all that share `throttle` have its quota.
    pub fn new(
        guest: futures::future::BoxFuture<'static, crate::run::End>,
        account: Account,
        ticker: Arc<Ticker>,
        throttle: Option<SharedThrottle>,
    ) -> Self {
        Self { guest, account, ticker, throttle, waiting: None }
    }

    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(throttle) = &self.throttle else { return Poll::Ready(()) };
        if let Some(until) = throttle.0.lock().exhausted_until(Instant::now()) {
            self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        Poll::Ready(())
    }
}

impl Future for Metered {
    type Output = crate::run::End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.poll_allowance(cx));
        let before = thread_cpu_time();
        let active = this.ticker.enter();
        this.account.own.is_running.store(true, Relaxed);
        let result = this.guest.as_mut().poll(cx);
        this.account.own.is_running.store(false, Relaxed);
        drop(active);
        let used = thread_cpu_time().saturating_sub(before);
        this.account.add_cpu_nanos(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX));
        if let Some(throttle) = &this.throttle {
            throttle.0.lock().charge(used);
        }
        result
    }
}

/// The quota of a container, for all its processes together.
#[derive(Clone)]
pub(crate) struct SharedThrottle(Arc<Mutex<Throttle>>);

impl SharedThrottle {
    /// `limit_millis` is thousandths of a CPU.
    pub fn new(limit_millis: u64) -> Self {
        Self(Arc::new(Mutex::new(Throttle::new(limit_millis, Instant::now()))))
    }
}

/// The allowance of a window, and what is used of it. Pure.
struct Throttle {
    quota: Duration,
    window_start: Instant,
    used: Duration,
}

impl Throttle {
    fn new(limit_millis: u64, now: Instant) -> Self {
        let quota = WINDOW.mul_f64(limit_millis.max(1) as f64 / 1000.0);
        Self { quota, window_start: now, used: Duration::ZERO }
    }

    fn charge(&mut self, used: Duration) {
        self.used += used;
    }

    /// When the guest may go on, if it may not now. What it overdrew in one
    /// window is paid for in the next ones.
    fn exhausted_until(&mut self, now: Instant) -> Option<Instant> {
        let windows = windows_between(self.window_start, now);
        self.window_start += WINDOW * windows;
        self.used = self.used.saturating_sub(self.quota.saturating_mul(windows));
        if self.used < self.quota {
            return None;
        }
        let owed = u32::try_from(self.used.as_nanos() / self.quota.as_nanos().max(1)).unwrap_or(u32::MAX);
        Some(self.window_start + WINDOW.saturating_mul(owed))
    }
}

fn windows_between(start: Instant, now: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(start).as_nanos() / WINDOW.as_nanos()).unwrap_or(u32::MAX)
}

/// CPU time that the calling thread has used.
#[allow(unsafe_code)]
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    // JUSTIFICATION: std has no thread CPU clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_used_up_window_waits_for_the_next() {
        let start = Instant::now();
        let mut throttle = Throttle::new(250, start);
        throttle.charge(20 * MS);
        assert_eq!(throttle.exhausted_until(start + 30 * MS), None);
        throttle.charge(5 * MS);
        assert_eq!(throttle.exhausted_until(start + 40 * MS), Some(start + 100 * MS));
        assert_eq!(throttle.exhausted_until(start + 100 * MS), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdraft_is_paid_back_over_windows() {
        let start = Instant::now();
        let mut throttle = Throttle::new(100, start);
        throttle.charge(35 * MS);
        assert_eq!(throttle.exhausted_until(start + 35 * MS), Some(start + 300 * MS));
        assert_eq!(throttle.exhausted_until(start + 300 * MS), None, "5 ms of 10 are used");
    }

    #[test]
    fn the_clock_runs_only_while_the_thread_works() {
        let before = thread_cpu_time();
        while thread_cpu_time() - before < MS {
            std::hint::black_box(0);
        }
    }
}
