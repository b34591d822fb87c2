//! Keys for which there is no point in waiting for another request.

use discovery_core::internal::lossy_set::LossySet;

/// How many keys are remembered at most.
const PLACES: usize = 1024;

/// The keys whose last answer was for one request only, such as one with `no-store`. Requests that waited for it have
/// waited for nothing, and so would the next ones: until an answer to such a key is stored, each request is forwarded on
/// its own. Varnish calls this hit-for-miss.
///
/// If a key is forgotten, requests wait for it once more. Two keys with one hash let one of them be forwarded more often
/// than it need; nothing else depends on it.
pub(crate) struct HitForMiss(LossySet);

impl HitForMiss {
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    pub(crate) fn insert(&self, key: &str) {
        self.0.insert(key);
    }

    pub(crate) fn remove(&self, key: &str) {
        self.0.remove(key);
    }
}

impl Default for HitForMiss {
    fn default() -> Self {
        Self(LossySet::new(PLACES))
    }
}
