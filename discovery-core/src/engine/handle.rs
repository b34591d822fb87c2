use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sees and steers the cache behind a layer. Cheap to clone.
///
/// ```
/// # use discovery_core::engine::{Cache, Engine, Scope};
/// # use discovery_core::{Snapshot, store::Op};
/// # struct Nothing;
/// # impl Cache for Nothing {
/// #     fn name(&self) -> &'static str { "nothing" }
/// #     fn load(&self, _: &Scope) -> Op<std::sync::Arc<Snapshot>> { Op::Ready(Default::default()) }
/// #     fn save(&self, _: &std::sync::Arc<Snapshot>) -> Op<()> { Op::Ready(()) }
/// #     fn invalidate(&self) {}
/// #     fn fresh(&self) -> bool { true }
/// #     fn answers_unknown(&self) -> bool { false }
/// # }
/// let handle = Engine::new(Nothing).handle();
/// handle.invalidate();
/// assert!(handle.fresh());
/// assert_eq!(handle.stats().hits, 0);
/// ```
#[derive(Clone)]
pub struct Handle {
    control: Arc<dyn Control>,
}

/// What a [`Handle`] needs of an engine, whatever its cache.
pub(super) trait Control: Send + Sync {
    fn invalidate(&self);
    fn fresh(&self) -> bool;
    fn stats(&self) -> Stats;
}

/// What a discovery cache has done, since it was made.
///
/// ```
/// assert_eq!(discovery_core::engine::Stats::default().misses, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered from the cache.
    pub hits: u64,
    /// Requests that the cache could not answer.
    pub misses: u64,
    /// Of the misses, those that waited for another caller's fetch and took its result.
    pub coalesced: u64,
    /// Requests that are no business of a discovery cache.
    pub passed: u64,
    /// Requests sent to the inner service for misses.
    pub sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) coalesced: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) sent: AtomicU64,
}

impl Handle {
    pub(super) fn new(control: Arc<dyn Control>) -> Self {
        Self { control }
    }

    /// From now on only what was fetched since counts, as after client-go's `Invalidate`.
    pub fn invalidate(&self) {
        self.control.invalidate();
    }

    /// Whether everything that the cache answered with was fetched by this process, as far as it
    /// knows. As client-go's `Fresh`.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.control.fresh()
    }

    /// What the cache has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.control.stats()
    }
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: read(&self.hits),
            misses: read(&self.misses),
            coalesced: read(&self.coalesced),
            passed: read(&self.passed),
            sent: read(&self.sent),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("statistics", &self.stats())
            .finish()
    }
}
