//! Delays that double: between restarts of a container and between pulls of an
//! image. Pure; follows upstream's `client-go/util/flowcontrol/backoff.go`.

use jiff::Timestamp;
use std::time::Duration;

/// The first delay.
const FIRST: Duration = Duration::from_secs(10);

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(300);

/// Quiet for so long, the next failure counts as the first: twice the longest delay.
const FORGET: Duration = Duration::from_secs(600);

/// The state after at least one retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How long the next failure has to wait.
    pub delay: Duration,
    /// When the delay was last raised.
    raised_at: Timestamp,
}

impl Backoff {
    /// Until when a thing that failed at `failed_at` has to wait; `None` when it
    /// may be tried at `now`. The first failure need not wait at all.
    pub fn wait(state: Option<Self>, failed_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let state = state.filter(|state| !state.is_forgotten(failed_at))?;
        let until = failed_at + state.delay;
        (until > now).then_some(until)
    }

    /// The state after a retry at `now` of what failed at `failed_at`.
    pub fn raise(state: Option<Self>, failed_at: Timestamp, now: Timestamp) -> Self {
        let known = state.filter(|state| !state.is_forgotten(failed_at));
        Self { delay: known.map_or(FIRST, |state| (state.delay * 2).min(LONGEST)), raised_at: now }
    }

    fn is_forgotten(&self, failed_at: Timestamp) -> bool {
        Duration::try_from(failed_at.duration_since(self.raised_at)).is_ok_and(|quiet| quiet > FORGET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_wait_longer_and_longer() {
        assert_eq!(Backoff::wait(None, at(0), at(0)), None);
        let mut state = Backoff::raise(None, at(0), at(0));
        let mut delays = vec![state.delay.as_secs()];
        for _ in 0..6 {
            state = Backoff::raise(Some(state), at(1), at(1));
            delays.push(state.delay.as_secs());
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_wait_counts_from_the_failure() {
        let state = Some(Backoff::raise(None, at(0), at(0)));
        assert_eq!(Backoff::wait(state, at(5), at(6)), Some(at(15)));
        assert_eq!(Backoff::wait(state, at(5), at(15)), None);
    }

    #[test]
    fn ten_good_minutes_are_forgiving() {
        let state = Backoff::raise(Some(Backoff::raise(None, at(0), at(0))), at(0), at(0));
        assert_eq!(Backoff::wait(Some(state), at(601), at(601)), None);
        assert_eq!(Backoff::raise(Some(state), at(601), at(601)).delay, FIRST);
        assert_eq!(Backoff::raise(Some(state), at(600), at(600)).delay, FIRST * 4);
    }
}
