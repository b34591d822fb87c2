use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use discovery_core::engine::{
    Cache, Configured, DiscoveryService, Engine, Handle, Options, Scope, Settings,
};
use discovery_core::store::Op;
use discovery_core::sync::clock::{Clock, SystemClock};
use discovery_core::{GroupVersion, Snapshot};
use http::Uri;
use tower_layer::Layer;

use crate::primitives::{ArcSwap, AtomicBool, Mutex, MutexGuard};

/// Keeps discovery answers in memory, as client-go's memory cache does.
///
/// It answers `/api`, `/apis`, `/apis/<group>` and the resource lists; the
/// [engine](discovery_core::engine) tells how. An answer counts until the memory is invalidated, or
/// until a time to live that can be set. A group version that the known groups do not list is
/// answered with 404 unasked, and so is one again that the server has refused for good; after a
/// failure that may pass (no answer, 429, 5xx) the server is asked at each use.
///
/// All services of a layer and of its clones share one memory. For a program that runs long it
/// belongs outside the disk cache, so that a hit costs a pointer; kubectl has it inside.
///
/// ```
/// use bytes::Bytes;
/// use discovery_memory::MemoryDiscoveryLayer;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// let server = service_fn(|request: Request<Full<Bytes>>| async move {
///     let json = match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
///         _ => r#"{"kind":"APIGroupList","groups":[]}"#,
///     };
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(json)))
/// });
/// let layer = MemoryDiscoveryLayer::new();
/// let client = ServiceBuilder::new().layer(&layer).service(server);
/// for _ in 0..3 {
///     client.clone().oneshot(Request::get("/apis").body(Full::default()).unwrap()).await?;
/// }
/// // `/api` and `/apis`, once.
/// assert_eq!(layer.handle().stats().sent, 2);
/// assert_eq!(layer.handle().stats().hits, 2);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MemoryDiscoveryLayer {
    configured: Configured<MemorySettings>,
}

#[derive(Clone)]
struct MemorySettings {
    options: Options,
    ttl: Option<Duration>,
    keep_last_good: bool,
    clock: Arc<dyn Clock>,
}

/// The memory that a [`MemoryDiscoveryLayer`]'s services share: one state, which is replaced and never changed, so that
/// readers wait for nobody.
pub struct MemoryBackend {
    state: ArcSwap<State>,
    /// Held while a new state is made of the last one.
    writing: Mutex<Pending>,
    has_pending: AtomicBool,
    ttl: Option<Duration>,
    keep_last_good: bool,
    clock: Arc<dyn Clock>,
}

/// An HTTP service behind a [`MemoryDiscoveryLayer`].
pub type MemoryDiscovery<S> = DiscoveryService<S, MemoryBackend>;

#[derive(Clone, Default)]
struct State {
    snapshot: Arc<Snapshot>,
    /// The time at which the oldest part of the snapshot came.
    since: Option<SystemTime>,
    /// The documents from before the last invalidation.
    last_good: Option<Arc<Snapshot>>,
}

/// Lists that came one by one, and are put into the state together when one of them, or all, are asked for: a state has
/// hundreds of lists, and making a new one for each of them would take a square of that.
#[derive(Default)]
struct Pending {
    lists: Snapshot,
    since: Option<SystemTime>,
}

impl MemoryDiscoveryLayer {
    /// Makes a layer with an empty memory, for a server without a base path.
    #[must_use]
    pub fn new() -> Self {
        let settings = MemorySettings {
            options: Options::new(),
            ttl: None,
            keep_last_good: false,
            clock: Arc::new(SystemClock),
        };
        Self {
            configured: Configured::new(settings),
        }
    }

    /// Sets how long answers count: for ever unless set, as in client-go. Should the clock be set back by more
    /// than that, they are fetched anew.
    ///
    /// As all setters, it gives the layer a memory of its own, with nothing in it. Clones, services and handles
    /// that were made before keep theirs.
    ///
    /// ```
    /// use discovery_memory::MemoryDiscoveryLayer;
    /// use std::time::Duration;
    ///
    /// let layer = MemoryDiscoveryLayer::new();
    /// let short = layer.clone().ttl(Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|settings| settings.ttl = Some(ttl))
    }

    /// Chooses whether what was known before an invalidation, or before it expired, is told when the server gives no answer
    /// (none at all, a broken one or one that is no discovery document, 429 or 5xx). It says so:
    /// [`ParsedAnswer::last_good`] is set, and with it that of [`Discovered::origin`](discovery_core::Discovered::origin);
    /// the response has a `Cache-Status`. Off unless set, as in client-go.
    ///
    /// [`ParsedAnswer::last_good`]: discovery_core::engine::ParsedAnswer::last_good
    #[must_use]
    pub fn keep_last_good(self, keep: bool) -> Self {
        self.set(|settings| settings.keep_last_good = keep)
    }

    /// Sets the clock for the time to live: the system's unless set.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }

    /// Sets the path that relative URIs begin with, such as `/k8s/clusters/c-1`. None unless set.
    #[must_use]
    pub fn base_path(self, base: &str) -> Self {
        self.set_option(|options| options.base_path(base))
    }

    /// Names the server that the services reach, as [`Options::server`] tells: requests for other servers pass.
    #[must_use]
    pub fn server(self, address: &Uri) -> Self {
        self.set_option(|options| options.server(address))
    }

    /// Sets the largest answer that is kept, in bytes; larger ones pass through. 64 MiB unless set.
    #[must_use]
    pub fn max_body_size(self, bytes: u64) -> Self {
        self.set_option(|options| options.max_body_size(bytes))
    }

    /// A handle, which sees and steers the cache: invalidation, freshness, counts.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.configured.engine().handle()
    }

    fn set(self, change: impl FnOnce(&mut MemorySettings)) -> Self {
        Self {
            configured: self.configured.set(change),
        }
    }

    fn set_option(self, change: impl FnOnce(Options) -> Options) -> Self {
        self.set(|settings| settings.options = change(settings.options.clone()))
    }
}

impl Settings for MemorySettings {
    type Cache = MemoryBackend;

    fn engine(&self) -> Engine<MemoryBackend> {
        let backend = MemoryBackend::new(self.ttl, self.keep_last_good, Arc::clone(&self.clock));
        Engine::new(backend, self.options.clone())
    }
}

impl MemoryBackend {
    pub(crate) fn new(ttl: Option<Duration>, keep_last_good: bool, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: ArcSwap::default(),
            writing: Mutex::default(),
            has_pending: AtomicBool::new(false),
            ttl,
            keep_last_good,
            clock,
        }
    }

    fn expired(&self, state: &State) -> bool {
        match (self.ttl, state.since) {
            (Some(ttl), Some(since)) => {
                let now = self.clock.now();
                // An age limit beyond the end of time is none.
                let later = |time: SystemTime, than: SystemTime| {
                    than.checked_add(ttl).is_some_and(|end| time > end)
                };
                // From further ahead than it may last: a clock that was set back would keep it for
                // as long as that.
                later(now, since) || later(since, now)
            }
            _ => false,
        }
    }

    /// The documents that are known, expired or not, or else those from before.
    fn last_good_of(&self, state: &State) -> Option<Arc<Snapshot>> {
        let known = Some(&state.snapshot).filter(|known| known.groups().is_some());
        let last = known.or(state.last_good.as_ref());
        last.filter(|_| self.keep_last_good).cloned()
    }

    fn age(&self, state: &State) -> Option<Duration> {
        self.clock.now().duration_since(state.since?).ok()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what is pending into the state, if somebody needs it.
    fn settle(&self, need: Option<&GroupVersion>) {
        if !self.has_pending.load(Ordering::Acquire) {
            return;
        }
        let mut pending = self.pending();
        if need.is_none_or(|need| pending.lists.knows(need)) {
            self.flush(&mut pending);
        }
    }

    /// Puts what is pending into the state. Those who see that nothing is pending find it there.
    fn flush(&self, pending: &mut Pending) {
        let Pending { lists, since } = std::mem::take(pending);
        if since.is_some() {
            // These came in its time and belong to it, even if it has expired since.
            self.add(State::clone(&self.state.load()), &Arc::new(lists), since);
        }
        self.has_pending.store(false, Ordering::Release);
    }

    /// The state that new documents belong to: the last one, unless it has expired.
    fn current(&self) -> State {
        let last = self.state.load();
        if !self.expired(&last) {
            return State::clone(&last);
        }
        State {
            last_good: self.last_good_of(&last),
            ..State::default()
        }
    }

    /// Puts a state with these documents more, which came at that time, in the place of the last. Only one at a time.
    fn add(&self, mut next: State, found: &Arc<Snapshot>, since: Option<SystemTime>) {
        if found.groups().is_some() {
            next.last_good = None;
        }
        if found.is_complete() {
            next.since = since;
            next.snapshot = Arc::clone(found);
        } else {
            next.since = next.since.or(since);
            Arc::make_mut(&mut next.snapshot).merge(found);
        }
        self.state.store(Arc::new(next));
    }
}

impl Cache for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn load(&self, need: &Scope) -> Op<Arc<Snapshot>> {
        self.settle(match need {
            Scope::Resources(group_version) => Some(group_version),
            _ => None,
        });
        let state = self.state.load();
        if self.expired(&state) {
            tracing::debug!(decision = "skip", reason = "expired", age = ?self.age(&state));
            return Op::Ready(Arc::default());
        }
        tracing::trace!(decision = "read", age = ?self.age(&state));
        Op::Ready(Arc::clone(&state.snapshot))
    }

    fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
        let now = self.clock.now();
        let mut pending = self.pending();
        if found.groups().is_none() && !self.expired(&self.state.load()) {
            pending.lists.merge(found);
            pending.since.get_or_insert(now);
            self.has_pending.store(true, Ordering::Release);
            return Op::Ready(());
        }
        self.flush(&mut pending);
        self.add(self.current(), found, Some(now));
        Op::Ready(())
    }

    fn invalidate(&self) {
        let mut pending = self.pending();
        self.flush(&mut pending);
        let last_good = self.last_good_of(&self.state.load());
        self.state.store(Arc::new(State {
            last_good,
            ..State::default()
        }));
    }

    fn last_good(&self, _: &Scope) -> Option<Arc<Snapshot>> {
        self.settle(None);
        self.last_good_of(&self.state.load())
    }

    fn fresh(&self) -> bool {
        true
    }

    fn answers_unknown(&self) -> bool {
        true
    }
}

impl Default for MemoryDiscoveryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for MemoryDiscoveryLayer {
    type Service = MemoryDiscovery<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.configured.engine().service(inner)
    }
}

impl fmt::Debug for MemorySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySettings")
            .field("options", &self.options)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("snapshot", &self.state.load().snapshot)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
