//! Keys for which there is no point in waiting.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many keys are remembered at most.
const PLACES: usize = 1024;

/// The keys whose last answer was for one request only, such as one with `no-store`. Those who waited
/// for it have waited for nothing, and so would the next ones: until an answer to such a key is
/// stored, each request asks for itself.
///
/// A key is remembered by its hash, in a table in which it can be displaced by another. Then it is
/// waited for once more. A hash that two keys have in common lets one of them ask more often than it
/// need; nothing else depends on it.
pub(crate) struct Alone {
    hasher: RandomState,
    /// Made for the first of them: most caches never see such an answer.
    places: OnceLock<Box<[AtomicU64]>>,
}

impl Alone {
    pub(crate) fn contains(&self, key: &str) -> bool {
        let Some(places) = self.places.get() else {
            return false;
        };
        let (place, hash) = self.place(places, key);
        place.load(Ordering::Relaxed) == hash
    }

    pub(crate) fn insert(&self, key: &str) {
        let empty = || (0..PLACES).map(|_| AtomicU64::default()).collect();
        let (place, hash) = self.place(self.places.get_or_init(empty), key);
        place.store(hash, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, key: &str) {
        let Some(places) = self.places.get() else {
            return;
        };
        let (place, hash) = self.place(places, key);
        // If another has taken the place, that one stays.
        _ = place.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn place<'a>(&self, places: &'a [AtomicU64], key: &str) -> (&'a AtomicU64, u64) {
        // Zero is an empty place.
        let hash = self.hasher.hash_one(key) | 1;
        let index = usize::try_from((hash >> 1) % PLACES as u64).unwrap_or_default();
        (&places[index], hash)
    }
}

impl Default for Alone {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            places: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it() {
        let alone = Alone::default();
        assert!(!alone.contains("a"));
        alone.insert("a");
        alone.insert("a");
        assert!(alone.contains("a"));
        assert!(!alone.contains("b"));
        alone.remove("b");
        assert!(alone.contains("a"));
        alone.remove("a");
        assert!(!alone.contains("a"));
    }

    #[test]
    fn it_is_bounded() {
        let alone = Alone::default();
        let keys: Vec<String> = (0..10 * PLACES).map(|n| n.to_string()).collect();
        for key in &keys {
            alone.insert(key);
            assert!(alone.contains(key));
        }
        let kept = keys.iter().filter(|key| alone.contains(key)).count();
        assert!((1..=PLACES).contains(&kept), "{kept}");
    }
}
