//! UIDs, name suffixes, jitter: from the system, or from a seed.

use parking_lot::Mutex;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use std::{sync::Arc, time::Duration};

/// The letters of generated names: no vowels and no look-alikes, so that no
/// words form (upstream: `k8s.io/apimachinery/pkg/util/rand`).
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of randomness. Clones share the sequence.
#[derive(Clone)]
pub struct Entropy {
    rng: Arc<Mutex<StdRng>>,
}

impl Entropy {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self { rng: Arc::new(Mutex::new(StdRng::from_os_rng())) }
    }

    /// The same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// A random (version 4) UUID in its lower-case hyphenated form.
    pub fn uid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string()
    }

    /// `length` letters fit to end a name.
    pub fn suffix(&self, length: usize) -> String {
        let mut rng = self.rng.lock();
        (0..length).map(|_| char::from(SUFFIX_LETTERS[rng.random_range(0..SUFFIX_LETTERS.len())])).collect()
    }

    /// `base` stretched by a random factor between 1 and `1 + max_factor`.
    pub fn jitter(&self, base: Duration, max_factor: f64) -> Duration {
        base.mul_f64(1.0 + self.rng.lock().random::<f64>() * max_factor)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.rng.lock().random_range(0..bound) }
    }

    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.rng.lock().fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_names() {
        let (left, right) = (Entropy::seeded(7), Entropy::seeded(7));
        assert_eq!((left.suffix(5), left.uid()), (right.suffix(5), right.uid()));
    }

    #[test]
    fn uid_is_a_version_4_uuid() {
        let uid = Entropy::seeded(1).uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
    }
}
