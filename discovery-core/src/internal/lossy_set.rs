//! A set of keys in bounded memory.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A set of keys that may forget some of them.
///
/// A key is remembered by its hash, in a table in which another key can displace it. A key that has the same hash as one
/// of the set counts as a member. Use it where both mistakes cost time and nothing else.
pub struct LossySet {
    hasher: RandomState,
    size: usize,
    /// Made with the first key.
    places: OnceLock<Box<[AtomicU64]>>,
}

impl LossySet {
    /// An empty set of at most `size` keys. Zero counts as one.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            size: size.max(1),
            places: OnceLock::new(),
        }
    }

    /// Whether the key is in the set.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        let Some(places) = self.places.get() else {
            return false;
        };
        let (place, hash) = self.place(places, key);
        place.load(Ordering::Relaxed) == hash
    }

    /// Adds the key, which may displace another one.
    pub fn insert(&self, key: &str) {
        let empty = || (0..self.size).map(|_| AtomicU64::default()).collect();
        let (place, hash) = self.place(self.places.get_or_init(empty), key);
        place.store(hash, Ordering::Relaxed);
    }

    /// Removes the key, and returns whether it was in the set.
    pub fn remove(&self, key: &str) -> bool {
        let Some(places) = self.places.get() else {
            return false;
        };
        let (place, hash) = self.place(places, key);
        // If another has taken the place, that one stays.
        let removed = place.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed);
        removed.is_ok()
    }

    fn place<'a>(&self, places: &'a [AtomicU64], key: &str) -> (&'a AtomicU64, u64) {
        // Zero is an empty place.
        let hash = self.hasher.hash_one(key) | 1;
        let index = usize::try_from((hash >> 1) % places.len() as u64).unwrap_or_default();
        (&places[index], hash)
    }
}

impl fmt::Debug for LossySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LossySet")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_until_it_is_removed() {
        let set = LossySet::new(1024);
        assert!(!set.contains("a") && !set.remove("a"));
        set.insert("a");
        set.insert("a");
        assert!(set.contains("a"));
        assert!(!set.contains("b") && !set.remove("b"));
        assert!(set.contains("a"));
        assert!(set.remove("a"));
        assert!(!set.contains("a") && !set.remove("a"));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        for size in [0, 1, 64] {
            let set = LossySet::new(size);
            let keys: Vec<String> = (0..640).map(|n| n.to_string()).collect();
            for key in &keys {
                set.insert(key);
                assert!(set.contains(key));
            }
            let kept = keys.iter().filter(|key| set.contains(key)).count();
            assert!((1..=size.max(1)).contains(&kept), "{kept} of {size}");
        }
    }
}
