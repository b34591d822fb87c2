//! A discovery cache around any HTTP service.
//!
//! The layers that keep discovery answers on disk and in memory differ in where they keep them and
//! for how long, and in nothing else. What they have in common is here: [`DiscoveryService`] looks
//! at each request and answers it from a [`Cache`], or asks the inner service and fills the cache.
//! It works on HTTP messages, so that every HTTP client becomes a caching discovery client.
//!
//! - `GET` requests for `/api`, `/apis`, `/apis/<group>` and the resource lists below them are
//!   answered, if what is known allows it, in a form that the request accepts. Everything else
//!   passes untouched, and so do these requests when they are conditional or ask for a range.
//! - When groups are not known, `/api` and `/apis` are asked at the same time, whichever of the two
//!   the request was for, in aggregated form if the server has it. An aggregated answer tells every
//!   list at once. A single list that is not known is asked for alone.
//! - Callers that want the same thing at the same time share one fetch. If it fails, each goes on
//!   alone, at once; but where the server has said for `/api` or `/apis` that it is in trouble (429,
//!   5xx), those who waited get that answer too.
//! - Answers that are errors, broken, too large or not what was asked for reach the caller as the
//!   inner service gave them, and are not kept. The inner service's errors come out unchanged.
//!
//! A request can carry [`Refresh`], which makes every cache on its way forget what it knew before; a
//! cache that was invalidated through its [`Handle`] puts one into what it sends on, so that the
//! caches below do not answer it with what it forgot. A request can also carry [`WantParsed`], which says
//! that the caller takes the parsed documents from the response's [`ParsedAnswer`] and needs no body; if the
//! server can't be asked, that caller gets the groups that are known, however few of their lists are.
//! `Cache-Control: no-cache` in a request for groups is a refresh as well; in one for a single list
//! it fetches that list anew.

mod ask;
mod body;
mod exchange;
mod fetch;
mod handle;
mod lookup;
mod outcome;
mod recent;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::Op;
use crate::{GroupVersion, Snapshot};

pub use self::body::Body;
pub use self::exchange::{Collected, DeadlineExceeded, ask, collect, drive};
pub use self::handle::{Handle, Stats};
pub use self::lookup::Engine;
pub use self::service::{DiscoveryService, ResponseFuture};

/// Where an [`Engine`] keeps what it knows.
///
/// A cache never fails: what it can't read is not known, and what it can't write it keeps some
/// other way or not at all, and says so in a `tracing` event.
pub trait Cache: Send + Sync + 'static {
    /// A name for `tracing` events, such as `disk`.
    fn name(&self) -> &'static str;

    /// What is known and has not expired; at least of what is needed, as far as it is known.
    fn load(&self, need: &Scope) -> Op<Arc<Snapshot>>;

    /// Keeps what a fetch has found, unless an invalidation comes between.
    ///
    /// The call itself must be short, because it is made with the engine locked: what takes longer,
    /// such as writing files, is for the operation that it returns, which the engine awaits without
    /// the lock and before any caller is answered. That work belongs to the time of the call. As
    /// soon as there was an [`invalidate`](Self::invalidate) since then, which may come while the
    /// work is under way, it must change nothing any more: the cache counts its invalidations and
    /// compares. Several such works may be under way at the same time; where two write the same
    /// thing, the later call's should last. An operation may be dropped before its end, and what it
    /// has not done by then may stay undone.
    fn save(&self, found: &Arc<Snapshot>) -> Op<()>;

    /// Forgets everything, or stops using what it knew until now. Short too: the engine is locked.
    fn invalidate(&self);

    /// Whether everything that it answered with was fetched by this process, as far as it knows.
    /// As client-go's `Fresh`.
    fn fresh(&self) -> bool;

    /// Whether a group version that the known groups do not list is answered with 404 unasked.
    fn answers_unknown(&self) -> bool;

    /// Whether it tells which group versions the server marked as stale. One that could do so only
    /// until its process ends had better not do it at all.
    fn tells_stale(&self) -> bool {
        true
    }
}

/// What is needed of a [`Cache`].
///
/// ```
/// use discovery_core::engine::Scope;
///
/// assert_ne!(Scope::Groups, Scope::Resources("v1".parse()?));
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The groups and their versions.
    Groups,
    /// The groups and every list.
    Everything,
    /// The resources of one group version.
    Resources(GroupVersion),
}

/// A request extension: forget what was known before, and ask the server.
///
/// Each [`next`](Self::next) is later than all before it, whoever made them. A cache obeys a
/// refresh once: requests that carry the same one join what it began.
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
    const fn of(generation: u64) -> Self {
        Self(generation)
    }
}

/// A request extension: the caller takes the parsed documents from [`ParsedAnswer`], and needs no body.
///
/// It also takes incomplete knowledge, and asks for the few lists that are missing itself.
///
/// ```
/// use discovery_core::engine::WantParsed;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(WantParsed);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantParsed;

/// A request extension beside [`WantParsed`]: of the lists, the caller takes none.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupsOnly;

/// A response extension: the parsed documents behind an answer, so that nobody parses them again.
///
/// ```
/// use discovery_core::engine::ParsedAnswer;
///
/// let known = ParsedAnswer { snapshot: Default::default(), cache: "memory", hit: true };
/// assert!(known.snapshot.groups().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct ParsedAnswer {
    /// What the answer was made from.
    pub snapshot: Arc<Snapshot>,
    /// The [name](Cache::name) of the cache that answered.
    pub cache: &'static str,
    /// Whether it knew the answer, rather than having fetched it for this request.
    pub hit: bool,
}
