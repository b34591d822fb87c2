//! Extensions by which the layers above and below each other speak.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Snapshot;

/// A request extension: forget what was known before, and ask the server.
///
/// Each [`next`](Self::next) is later than all before it, whoever made them. A cache obeys a refresh once:
/// requests that carry the same one join what it began.
///
/// ```
/// use discovery_core::engine::Refresh;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Refresh::next());
/// assert!(Refresh::next() > *request.extensions().get::<Refresh>().unwrap());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refresh(u64);

impl Refresh {
    /// A refresh that is later than all before it.
    #[must_use]
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The refresh that began a generation.
    pub(crate) const fn from_generation(generation: u64) -> Self {
        Self(generation)
    }

    /// The generation that it begins.
    pub(crate) const fn generation(self) -> u64 {
        self.0
    }
}

/// A request extension: the caller takes the parsed documents from [`ParsedAnswer`], and needs no body.
///
/// It also takes incomplete documents, and asks for the few lists that are missing itself.
///
/// ```
/// use discovery_core::engine::WantParsed;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(WantParsed);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WantParsed;

/// A request extension beside [`WantParsed`]: the caller takes no lists.
///
/// Without it, a cache that knows the groups and not their lists asks the server for everything.
///
/// ```
/// use discovery_core::engine::{GroupsOnly, WantParsed};
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(WantParsed);
/// request.extensions_mut().insert(GroupsOnly);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupsOnly;

/// A response extension: the parsed documents behind an answer, so that nobody parses them again.
///
/// ```
/// use discovery_core::engine::ParsedAnswer;
///
/// fn is_hit(response: &http::Response<()>) -> bool {
///     response.extensions().get::<ParsedAnswer>().is_some_and(|answer| answer.hit)
/// }
/// assert!(!is_hit(&http::Response::new(())));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParsedAnswer {
    /// The documents that the answer was made from.
    pub snapshot: Arc<Snapshot>,
    /// The [name](crate::engine::Cache::name) of the cache that answered.
    pub cache: &'static str,
    /// Whether the cache knew the answer, rather than having fetched it for this request.
    pub hit: bool,
    /// Whether the cache was to forget the answer, and has told it since the server gave none.
    pub last_good: bool,
    /// Whether the answer has expired: it is fetched anew meanwhile, or the server gave none.
    pub stale: bool,
}

impl ParsedAnswer {
    /// Makes the extension for an answer of `cache`.
    #[must_use]
    pub const fn new(snapshot: Arc<Snapshot>, cache: &'static str, hit: bool) -> Self {
        Self {
            snapshot,
            cache,
            hit,
            last_good: false,
            stale: false,
        }
    }
}
