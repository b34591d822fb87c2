//! The state that all services of an engine share.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode, response};

use super::request::{DiscoveryRequest, FlightKey, Options, Scope};
use crate::http::body::Body;
use crate::kube::extensions::{ParsedAnswer, Refresh};
use crate::store::Op;
use crate::sync::single_flight::SingleFlight;
use crate::{Answer, Endpoint, Error, Format, GroupVersion, Snapshot};

/// A place where an [`Engine`](super::Engine) keeps discovery documents.
///
/// A cache never fails. Documents that it cannot read are missing, and documents that it cannot write it
/// keeps some other way or not at all, which it tells in a `tracing` event.
pub trait Cache: Send + Sync + 'static {
    /// A name for `tracing` events, such as `disk`.
    fn name(&self) -> &'static str;

    /// The documents of `scope` that are known and have not expired. There may be more in the snapshot.
    fn load(&self, scope: &Scope) -> Op<Arc<Snapshot>>;

    /// Keeps the documents that a fetch has found, unless an invalidation comes between.
    ///
    /// The call itself must be short, because it is made with the engine locked. Work that takes longer,
    /// such as writing files, is for the operation that it returns, which the engine awaits without the
    /// lock and before any caller is answered. That work belongs to the time of the call. As soon as there
    /// was an [`invalidate`](Self::invalidate) since then, which may come while the work is under way, it
    /// must change nothing any more: the cache counts its invalidations and compares. Several such works
    /// may be under way at the same time; where two write the same thing, the later call's should last. An
    /// operation may be dropped before its end, and may then stay undone in part.
    fn save(&self, found: &Arc<Snapshot>) -> Op<()>;

    /// Forgets everything, or stops using it. This is short too, because the engine is locked.
    fn invalidate(&self);

    /// Whether everything that it answered with was fetched by this process, as far as it knows. As
    /// client-go's `Fresh`.
    fn fresh(&self) -> bool;

    /// Whether a group version that the known groups do not list is answered with 404 unasked.
    fn answers_unknown(&self) -> bool;

    /// Whether callers of parsed documents are told which group versions the server marked as stale. A cache
    /// that could do so only until its process ends had better not do it at all.
    fn tells_stale(&self) -> bool {
        true
    }

    /// The documents of `scope` from before the last invalidation or their expiry, for callers that would get nothing
    /// otherwise, since the server gives no answer. There may be more in the snapshot. `None` if there are none, or unless
    /// the cache keeps them for that.
    fn last_good(&self, scope: &Scope) -> Option<Arc<Snapshot>> {
        let _ = scope;
        None
    }

    /// The documents of `scope` that have expired, but not so long ago that they may not be told while they are fetched
    /// anew. `None` unless the cache has such a time.
    fn stale(&self, scope: &Scope) -> Option<Op<Arc<Snapshot>>> {
        let _ = scope;
        None
    }

    /// Runs `refresh` in the background, for documents that were told although they are [stale](Self::stale). `false` if
    /// the cache has nothing to run it on: it is not told any then.
    fn spawn(&self, refresh: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        drop(refresh);
        false
    }

    /// Waits until this process may fetch `scope`. Caches that processes share may let one of them fetch, and the others
    /// wait for what it has found, for a bounded time. The engine holds the permit until the documents are saved.
    fn begin_fetch(&self, scope: &Scope) -> Op<FetchPermit> {
        let _ = scope;
        Op::Ready(FetchPermit::default())
    }

    /// Notes that the server has answered a request for one list with an error. As with [`save`](Self::save), the call is
    /// made with the engine locked, and the work belongs to the time of the call.
    fn note_failure(&self, group_version: &GroupVersion, answer: &Response<Bytes>) -> Op<()> {
        let _ = (group_version, answer);
        Op::Ready(())
    }

    /// Whether a list that is not known is looked for in the aggregated answer of the server, and asked for alone only
    /// where there is none. A list is another document there, so that a cache whose documents other programs read needs
    /// them from where these would get them.
    fn prefers_aggregated(&self) -> bool {
        false
    }
}

/// Permission to fetch, for as long as it lives.
///
/// ```
/// use discovery_core::engine::FetchPermit;
///
/// // One that nobody else can have had.
/// assert!(!FetchPermit::default().may_be_late());
/// let lock = std::sync::Arc::new(());
/// assert!(FetchPermit::new(lock, true).may_be_late());
/// ```
#[derive(Default)]
#[must_use = "the permission ends when it is dropped"]
pub struct FetchPermit {
    may_be_late: bool,
    _lock: Option<Box<dyn Any + Send + Sync>>,
}

impl FetchPermit {
    /// A permission that `lock` stands for. `may_be_late` tells that somebody else may have fetched meanwhile, so that the
    /// cache is to be asked once more.
    pub fn new(lock: impl Send + Sync + 'static, may_be_late: bool) -> Self {
        Self {
            may_be_late,
            _lock: Some(Box::new(lock)),
        }
    }

    /// Whether somebody else may have fetched meanwhile.
    #[must_use]
    pub const fn may_be_late(&self) -> bool {
        self.may_be_late
    }
}

impl fmt::Debug for FetchPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchPermit")
            .field("may_be_late", &self.may_be_late)
            .finish_non_exhaustive()
    }
}

/// Why an answer is told although it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// It is fetched anew meanwhile.
    WhileRevalidate,
    /// The server gives no answer.
    LastGood,
}

/// Shared by the clones of an engine, its services and its handles.
pub(super) struct Inner<C> {
    pub(super) cache: C,
    pub(super) options: Options,
    pub(super) flights: SingleFlight<FlightKey, Landing>,
    /// The latest [`Refresh`] that was obeyed.
    refreshed: AtomicU64,
    /// Held while the cache starts to forget or to save, so that nothing is saved that a refresh has made
    /// old.
    changing: Mutex<()>,
    saves: AtomicU64,
    /// Whether documents from before were told since the last save. It is a warning once.
    has_told_last_good: AtomicBool,
    /// Whether stale documents are being fetched anew.
    pub(super) revalidating: AtomicBool,
    pub(super) counters: Counters,
}

/// The result of a fetch, for the callers that waited for it.
#[derive(Clone)]
pub(super) enum Landing {
    /// The documents that it found.
    Found(Arc<Snapshot>),
    /// The results of its requests, one of which has brought no document.
    Failed(Arc<[Failed]>),
}

/// The result of one request of a fetch that has failed. The request itself may have succeeded.
pub(super) struct Failed {
    pub(super) endpoint: Endpoint,
    pub(super) result: Result<(response::Parts, Bytes), NoAnswer>,
}

/// Why a request has no whole answer.
pub(super) struct NoAnswer {
    pub(super) error: Error,
    /// The inner service's error, for the first caller that takes it: it can't be cloned.
    cause: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Sees and steers the cache behind a layer. Cheap to clone.
///
/// ```
/// # use discovery_core::engine::{Cache, Engine, Options, Scope};
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
/// let handle = Engine::new(Nothing, Options::new()).handle();
/// handle.invalidate();
/// assert!(handle.fresh());
/// assert_eq!(handle.stats().hits, 0);
/// ```
#[derive(Clone)]
pub struct Handle {
    control: Arc<dyn Control>,
}

/// The part of an engine that a [`Handle`] uses, whatever its cache.
pub(super) trait Control: Send + Sync {
    fn invalidate(&self);
    fn fresh(&self) -> bool;
    fn stats(&self) -> Stats;
}

/// Counts of a discovery cache, since it was made.
///
/// ```
/// assert_eq!(discovery_core::engine::Stats::default().misses, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered from the cache.
    pub hits: u64,
    /// Requests that the cache could not answer.
    pub misses: u64,
    /// Of the misses, those that waited for another caller's fetch and took its result.
    pub coalesced: u64,
    /// Requests that are not for a discovery cache.
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

impl<C: Cache> Inner<C> {
    pub(super) fn new(cache: C, options: Options) -> Self {
        Self {
            cache,
            options,
            flights: SingleFlight::new(),
            refreshed: AtomicU64::new(0),
            changing: Mutex::default(),
            saves: AtomicU64::new(0),
            has_told_last_good: AtomicBool::new(false),
            revalidating: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.refreshed.load(Ordering::Acquire)
    }

    pub(super) fn refresh(&self, refresh: Refresh, reason: &'static str) {
        if self.generation() >= refresh.generation() {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation() < refresh.generation() {
            tracing::debug!(cache = self.cache.name(), decision = "refresh", reason);
            self.cache.invalidate();
            // Not before it is done: whoever sees this joins the fetches that come after.
            self.refreshed
                .store(refresh.generation(), Ordering::Release);
        }
    }

    /// The number of saves. A caller that sees the same number before it looked at the cache and later need
    /// not look again.
    pub(super) fn saves(&self) -> u64 {
        self.saves.load(Ordering::Acquire)
    }

    /// The known documents for the request; `None` if they do not count.
    pub(super) fn load(&self, request: &DiscoveryRequest) -> Option<Op<Arc<Snapshot>>> {
        let anew = request.no_cache && request.list().is_some();
        (!anew).then(|| self.cache.load(&request.scope()))
    }

    /// The answer from `snapshot`. `None` if the server has to be asked.
    pub(super) fn answer<B>(
        &self,
        request: &DiscoveryRequest,
        snapshot: &Arc<Snapshot>,
        hit: bool,
    ) -> Option<Response<Body<B>>> {
        let response = if request.takes_groups() {
            snapshot.groups()?;
            let wants_lists = request.endpoint == Endpoint::Apis && !request.groups_only;
            let legacy = snapshot.format() == Some(Format::Legacy);
            let is_unknown = |listed: &GroupVersion| !snapshot.knows(listed);
            if wants_lists && !legacy && snapshot.missing().any(is_unknown) {
                return None;
            }
            Response::new(Body::default())
        } else {
            match snapshot.answer(&request.endpoint, request.accept)? {
                Answer::Document { format, json } => document(format, json, request.want_parsed),
                Answer::Refused(negative) => {
                    let mut response = Response::new(Body::full(negative.body));
                    *response.status_mut() = negative.status;
                    if let Some(content_type) = negative.content_type {
                        response.headers_mut().insert(CONTENT_TYPE, content_type);
                    }
                    response
                }
                Answer::NotFound if hit && !self.cache.answers_unknown() => return None,
                Answer::NotFound => status(
                    StatusCode::NOT_FOUND,
                    "NotFound",
                    "the server could not find the requested resource",
                ),
            }
        };
        Some(self.with_parsed(response, snapshot, hit))
    }

    /// The groups, however many of their lists are missing, for a caller that takes incomplete documents. If
    /// the server can't be asked, they are better than nothing.
    pub(super) fn last_resort<B>(
        &self,
        request: &DiscoveryRequest,
        known: Option<&Arc<Snapshot>>,
    ) -> Option<Response<Body<B>>> {
        if !request.takes_groups() {
            return None;
        }
        let cache = self.cache.name();
        let path = request.endpoint.path();
        if let Some(known) = known.filter(|known| known.groups().is_some()) {
            let reason = "the server has no answer, and the groups are known";
            tracing::debug!(cache, decision = "hit", reason, %path);
            return Some(self.with_parsed(Response::new(Body::default()), known, true));
        }
        self.last_good(request)
    }

    /// The documents that were known before, for any caller, when the server gives no answer.
    pub(super) fn last_good<B>(&self, request: &DiscoveryRequest) -> Option<Response<Body<B>>> {
        let last_good = self.cache.last_good(&request.scope())?;
        let response = if request.takes_groups() {
            self.with_parsed(Response::new(Body::default()), &last_good, true)
        } else {
            self.answer(request, &last_good, true)?
        };
        let cache = self.cache.name();
        let path = request.endpoint.path();
        let reason = "the server has no answer: what was known before is told";
        if self.has_told_last_good.swap(true, Ordering::Relaxed) {
            tracing::debug!(cache, decision = "hit", reason, %path);
        } else {
            let further = "further cases are logged at DEBUG";
            tracing::warn!(cache, decision = "hit", reason, %path, "{further}");
        }
        Some(self.marked(response, Stale::LastGood))
    }

    /// Says in a response that it has expired: in [`ParsedAnswer`], and in `Cache-Status` (RFC 9211 §2).
    pub(super) fn marked<B>(&self, mut response: Response<B>, stale: Stale) -> Response<B> {
        if let Some(parsed) = response.extensions_mut().get_mut::<ParsedAnswer>() {
            parsed.stale = true;
            parsed.last_good = stale == Stale::LastGood;
        }
        let detail = match stale {
            Stale::WhileRevalidate => "stale, and fetched anew meanwhile",
            Stale::LastGood => "stale, since the server gives no answer",
        };
        let status = format!("discovery-{}; hit; detail=\"{detail}\"", self.cache.name());
        if let Ok(status) = HeaderValue::from_str(&status) {
            response.headers_mut().insert("cache-status", status);
        }
        response
    }

    fn with_parsed<B>(
        &self,
        mut response: Response<B>,
        snapshot: &Arc<Snapshot>,
        hit: bool,
    ) -> Response<B> {
        let mut snapshot = Arc::clone(snapshot);
        if !snapshot.stale().is_empty() && !self.cache.tells_stale() {
            Arc::make_mut(&mut snapshot).set_stale(Vec::new());
        }
        response.extensions_mut().insert(ParsedAnswer {
            snapshot,
            cache: self.cache.name(),
            hit,
            last_good: false,
            stale: false,
        });
        response
    }

    /// Keeps the documents of a fetch, unless a refresh has made them old meanwhile.
    pub(super) async fn keep(&self, request: &DiscoveryRequest, found: &Arc<Snapshot>) {
        let saving = {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            (self.generation() == request.generation).then(|| self.cache.save(found))
        };
        let cache = self.cache.name();
        // Its work comes after the lock.
        match saving {
            Some(saving) => {
                saving.await;
                self.has_told_last_good.store(false, Ordering::Relaxed);
                self.saves.fetch_add(1, Ordering::Release);
                tracing::debug!(
                    cache,
                    decision = "save",
                    groups = found.groups().is_some(),
                    lists = found.lists().len(),
                );
            }
            None => tracing::debug!(
                cache,
                decision = "discard",
                reason = "the cache was refreshed while the fetch was under way",
            ),
        }
    }

    /// Has the cache note an error answer, unless a refresh has come since its request.
    pub(super) async fn note_failure(
        &self,
        request: &DiscoveryRequest,
        group_version: &GroupVersion,
        answer: &Response<Bytes>,
    ) {
        let noting = {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            (self.generation() == request.generation)
                .then(|| self.cache.note_failure(group_version, answer))
        };
        if let Some(noting) = noting {
            noting.await;
        }
    }
}

fn document<B>(format: Format, json: Bytes, parsed: bool) -> Response<Body<B>> {
    let json = if parsed { Bytes::new() } else { json };
    let length = HeaderValue::from(json.len());
    let mut response = Response::new(Body::full(json));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, length);
    response
}

/// An error answer as the server would give it.
pub(super) fn status<B>(code: StatusCode, reason: &str, message: &str) -> Response<Body<B>> {
    let json = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","details":{{}},"code":{}}}"#,
        code.as_u16()
    );
    let mut response = document(Format::Legacy, json.into(), false);
    *response.status_mut() = code;
    response
}

impl<C: Cache> Control for Inner<C> {
    fn invalidate(&self) {
        self.refresh(Refresh::next(), "its handle was told to invalidate it");
    }

    fn fresh(&self) -> bool {
        self.cache.fresh()
    }

    fn stats(&self) -> Stats {
        self.counters.read()
    }
}

impl Failed {
    /// A result that is cloned, and so without the cause of a failure.
    pub(super) fn of(endpoint: &Endpoint, answer: &Result<Response<Bytes>, Error>) -> Self {
        let result = match answer {
            Ok(answer) => Ok(answer.clone().into_parts()),
            Err(error) => Err(NoAnswer {
                error: error.clone(),
                cause: Mutex::default(),
            }),
        };
        Self {
            endpoint: endpoint.clone(),
            result,
        }
    }

    /// Adds the inner service's error.
    pub(super) fn with_cause(mut self, cause: Box<dyn Any + Send>) -> Self {
        if let Err(no_answer) = &mut self.result {
            no_answer.cause = Mutex::new(Some(cause));
        }
        self
    }
}

impl NoAnswer {
    /// The inner service's error, unless another caller has got it.
    pub(super) fn take_cause<E: 'static>(&self) -> Option<E> {
        let mut cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = cause.take()?.downcast::<E>().ok()?;
        Some(*cause)
    }
}

impl Handle {
    pub(super) fn new(control: Arc<dyn Control>) -> Self {
        Self { control }
    }

    /// Forgets everything that was fetched before, as client-go's `Invalidate`.
    pub fn invalidate(&self) {
        self.control.invalidate();
    }

    /// Whether everything that the cache answered with was fetched by this process, as far as it knows. As
    /// client-go's `Fresh`.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.control.fresh()
    }

    /// The counts of the cache.
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
            .field("stats", &self.stats())
            .finish()
    }
}
