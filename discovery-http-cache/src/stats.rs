use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shows what a layer's services do. Cheap to clone.
///
/// ```
/// use discovery_http_cache::{HttpCacheLayer, MapStore};
///
/// let layer = HttpCacheLayer::new(MapStore::new());
/// let handle = layer.handle();
/// assert_eq!(handle.stats().hits, 0);
/// ```
#[derive(Clone)]
pub struct Handle {
    counters: Arc<Counters>,
    evictions: Option<Evictions>,
}

pub(crate) type Evictions = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Counts of what the services of a layer have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered without the server: fresh, or stale where that is allowed.
    pub hits: u64,
    /// Requests answered from the cache after a 304.
    pub revalidations: u64,
    /// Requests that the server answered, although the cache might have, or that failed. Background refreshes do not
    /// count.
    pub misses: u64,
    /// Background refreshes of stale responses that were served meanwhile.
    pub refreshes: u64,
    /// Entries written: new ones, and those that a 304 has changed.
    pub stores: u64,
    /// Requests that the cache left alone.
    pub bypassed: u64,
    /// Requests among the hits that shared the answer to another request in place of being forwarded.
    pub coalesced: u64,
    /// Removals of entries that were outdated or invalidated, whether or not the store had them.
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
    pub(crate) refreshes: Counter,
    pub(crate) stores: Counter,
    pub(crate) bypassed: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) removals: Counter,
    pub(crate) errors: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Handle {
    pub(crate) fn new(counters: Arc<Counters>, evictions: Option<Evictions>) -> Self {
        Self {
            counters,
            evictions,
        }
    }

    /// The counts at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Self { counters, .. } = self;
        Stats {
            hits: counters.hits.value(),
            revalidations: counters.revalidations.value(),
            misses: counters.misses.value(),
            refreshes: counters.refreshes.value(),
            stores: counters.stores.value(),
            bypassed: counters.bypassed.value(),
            coalesced: counters.coalesced.value(),
            removals: counters.removals.value(),
            evictions: self.evictions.as_ref().map_or(0, |count| count()),
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

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.stats()).finish()
    }
}
