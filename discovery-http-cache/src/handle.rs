use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::State;

/// Shows what a layer's services do. Cheap to clone.
///
/// ```
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::HttpCacheLayer;
///
/// let layer = HttpCacheLayer::new(MapStore::new());
/// let handle = layer.handle();
/// assert_eq!(handle.stats().hits, 0);
/// ```
#[derive(Clone)]
pub struct Handle {
    state: Arc<State>,
}

/// What the services of a layer have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered without the server: fresh, or stale where that is allowed.
    pub hits: u64,
    /// Requests answered from the cache after a 304.
    pub revalidations: u64,
    /// Requests that the server answered, although the cache might have, or that failed.
    pub misses: u64,
    /// Entries written: new ones, and those that a 304 has changed.
    pub stores: u64,
    /// Requests that were not the cache's business.
    pub bypassed: u64,
    /// Requests among the hits that waited for another's answer in place of asking.
    pub coalesced: u64,
    /// Entries removed, because they had been outdated or invalidated.
    pub removals: u64,
    /// Values that the store has forgotten to make room, if the layer
    /// [has been told](crate::HttpCacheLayer::evictions) where to ask.
    pub evictions: u64,
    /// Failures of the store, and entries that could not be decoded.
    pub errors: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) revalidations: Counter,
    pub(crate) misses: Counter,
    pub(crate) stores: Counter,
    pub(crate) bypassed: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) removals: Counter,
    pub(crate) evictions: Source,
    pub(crate) errors: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

/// A count that somebody else keeps.
#[derive(Default)]
pub(crate) struct Source(Mutex<Option<Arc<dyn Fn() -> u64 + Send + Sync>>>);

impl Handle {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// The counts at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.state.counters;
        Stats {
            hits: counters.hits.value(),
            revalidations: counters.revalidations.value(),
            misses: counters.misses.value(),
            stores: counters.stores.value(),
            bypassed: counters.bypassed.value(),
            coalesced: counters.coalesced.value(),
            removals: counters.removals.value(),
            evictions: counters.evictions.value(),
            errors: counters.errors.value(),
        }
    }
}

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Source {
    pub(crate) fn set(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        *self.lock() = Some(Arc::new(count));
    }

    fn value(&self) -> u64 {
        // Not under the lock: it is somebody else's.
        let count = self.lock().clone();
        count.map_or(0, |count| count())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Fn() -> u64 + Send + Sync>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.stats()).finish()
    }
}
