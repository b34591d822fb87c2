//! Keys for which there is no point in waiting for another request.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many keys are remembered at most.
const PLACES: usize = 1024;

/// The keys whose last answer was for one request only, such as one with `no-store`. Requests that waited for it have
/// waited for nothing, and so would the next ones: until an answer to such a key is stored, each request is forwarded on
/// its own. Varnish calls this hit-for-miss.
///
/// A key is remembered by its hash, in a table in which another key can displace it. Then requests wait for it once more.
/// Two keys with one hash let one of them be forwarded more often than it need; nothing else depends on it.
pub(crate) struct HitForMiss {
    hasher: RandomState,
    /// Made with the first key: most caches never see such an answer.
    places: OnceLock<Box<[AtomicU64]>>,
}

impl HitForMiss {
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

impl Default for HitForMiss {
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
    fn a_key_is_remembered_until_it_is_removed() {
        let table = HitForMiss::default();
        assert!(!table.contains("a"));
        table.insert("a");
        table.insert("a");
        assert!(table.contains("a"));
        assert!(!table.contains("b"));
        table.remove("b");
        assert!(table.contains("a"));
        table.remove("a");
        assert!(!table.contains("a"));
    }

    #[test]
    fn the_table_is_bounded() {
        let table = HitForMiss::default();
        let keys: Vec<String> = (0..10 * PLACES).map(|n| n.to_string()).collect();
        for key in &keys {
            table.insert(key);
            assert!(table.contains(key));
        }
        let kept = keys.iter().filter(|key| table.contains(key)).count();
        assert!((1..=PLACES).contains(&kept), "{kept}");
    }
}
