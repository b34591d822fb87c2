//! The keys that had no file when they were asked for.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many keys are remembered at most.
const PLACES: usize = 64;

/// The keys that [`get`](super::DiskStore) has found nothing under, until they are written. A cache
/// writes the keys that it has not found, and such a value need not be compared with a file.
///
/// A key is remembered by its hash, in a table in which it can be displaced by another. Both ways of
/// being wrong do no harm: a comparison too many, or a file that is written although it had come to be
/// there with the same content.
pub(crate) struct RecentMisses {
    hasher: RandomState,
    places: [AtomicU64; PLACES],
}

impl RecentMisses {
    pub(crate) fn insert(&self, key: &str) {
        let (place, hash) = self.place(key);
        place.store(hash, Ordering::Relaxed);
    }

    /// Whether the key is one of them. From now on it is not.
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

impl Default for RecentMisses {
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
    fn a_miss_is_taken_once() {
        let misses = RecentMisses::default();
        assert!(!misses.take("a"));
        misses.insert("a");
        assert!(!misses.take("b"));
        assert!(misses.take("a"));
        assert!(!misses.take("a"));
    }

    #[test]
    fn the_table_is_bounded() {
        let misses = RecentMisses::default();
        let keys: Vec<String> = (0..10 * PLACES).map(|n| n.to_string()).collect();
        keys.iter().for_each(|key| misses.insert(key));
        let taken = keys.iter().filter(|key| misses.take(key)).count();
        assert!((1..=PLACES).contains(&taken), "{taken}");
    }
}
