//! Wall time: the system's, or derived from tokio's (pausable) clock.
//!
//! For waiting, use `tokio::time` directly: it is virtual when paused. This is
//! for the timestamps that end up in objects.
#![allow(clippy::disallowed_methods)] // the one place that reads the clock

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// A source of wall-clock time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Virtual { epoch: Timestamp, started: Instant },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock that reads `epoch` now and advances with tokio's clock, so that
    /// it stands still when that is paused. Call it inside a tokio runtime.
    pub fn virtual_from(epoch: Timestamp) -> Self {
        Self { source: Source::Virtual { epoch, started: Instant::now() } }
    }

    /// Now, with the precision of the source.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => Timestamp::now(),
            Source::Virtual { epoch, started } => *epoch + started.elapsed(),
        }
    }

    /// Now, cut to whole seconds: the form of `metav1.Time`.
    pub fn now_seconds(&self) -> Timestamp {
        Timestamp::from_second(self.now().as_second()).expect("a whole second of a valid timestamp is valid")
    }

    /// Now, cut to microseconds: the form of `metav1.MicroTime`.
    pub fn now_micros(&self) -> Timestamp {
        Timestamp::from_microsecond(self.now().as_microsecond())
            .expect("a whole microsecond of a valid timestamp is valid")
    }

    /// Nanoseconds since the Unix epoch: the form of the CRI.
    pub fn unix_nanos(&self) -> i64 {
        i64::try_from(self.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    /// Time passed since `then`; zero when `then` is in the future.
    pub fn since(&self, then: Timestamp) -> Duration {
        Duration::try_from(self.now().duration_since(then)).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_clock_follows_paused_time() {
        let clock = Clock::virtual_from(Timestamp::from_second(1_000).expect("valid"));
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.now().as_second(), 1_090);
    }
}
