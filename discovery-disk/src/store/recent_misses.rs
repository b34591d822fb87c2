//! The keys that had no file when they were asked for.

use discovery_core::internal::lossy_set::LossySet;

/// How many keys are remembered at most.
const PLACES: usize = 64;

/// The keys that [`get`](super::DiskStore) has found nothing under, until they are written. A cache
/// writes the keys that it has not found, and such a value need not be compared with a file.
///
/// Both mistakes of the set do no harm: a comparison too many, or a file that is written although it
/// had come to be there with the same content.
pub(crate) struct RecentMisses(LossySet);

impl RecentMisses {
    pub(crate) fn insert(&self, key: &str) {
        self.0.insert(key);
    }

    /// Whether the key is one of them. From now on it is not.
    pub(crate) fn take(&self, key: &str) -> bool {
        self.0.remove(key)
    }
}

impl Default for RecentMisses {
    fn default() -> Self {
        Self(LossySet::new(PLACES))
    }
}
