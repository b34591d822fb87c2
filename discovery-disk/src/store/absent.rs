//! Which keys had no file when they were asked for.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many keys are remembered at most.
const PLACES: usize = 64;

/// The keys that [`get`](super::DiskStore) has found nothing under, until something is written there. A
/// cache writes what it has not found, and that need not be compared with what is there.
///
/// A key is remembered by its hash, in a table in which it can be displaced by another. Both ways of
/// being wrong do no harm: a comparison too many, or a file that is written although it had come to be
/// there with the same content.
pub(crate) struct Absent {
    hasher: RandomState,
    places: [AtomicU64; PLACES],
}

impl Absent {
    pub(crate) fn insert(&self, key: &str) {
        let (place, hash) = self.place(key);
        place.store(hash, Ordering::Relaxed);
    }

    /// Whether the key was absent. From now on it is not.
    pub(crate) fn take(&self, key: &str) -> bool {
        let (place, hash) = self.place(key);
        let taken = place.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    fn place(&self, key: &str) -> (&AtomicU64, u64) {
        // Zero is an empty place.
        let hash = self.hasher.hash_one(key) | 1;
        let index = usize::try_from((hash >> 1) % PLACES as u64).unwrap_or_default();
        (&self.places[index], hash)
    }
}

impl Default for Absent {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            places: [const { AtomicU64::new(0) }; PLACES],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once() {
        let absent = Absent::default();
        assert!(!absent.take("a"));
        absent.insert("a");
        assert!(!absent.take("b"));
        assert!(absent.take("a"));
        assert!(!absent.take("a"));
    }

    #[test]
    fn bounded() {
        let absent = Absent::default();
        let keys: Vec<String> = (0..10 * PLACES).map(|n| n.to_string()).collect();
        keys.iter().for_each(|key| absent.insert(key));
        let taken = keys.iter().filter(|key| absent.take(key)).count();
        assert!((1..=PLACES).contains(&taken), "{taken}");
    }
}
