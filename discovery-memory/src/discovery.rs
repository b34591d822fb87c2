use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use discovery_core::Snapshot;
use discovery_core::clock::{Clock, SystemClock};
use discovery_core::engine::{Cache, DiscoveryService, Engine, Handle, Scope};
use discovery_core::store::Op;
use http::Uri;
use tower_layer::Layer;

/// Keeps discovery answers in memory, as client-go's memory cache does.
///
/// It answers `/api`, `/apis`, `/apis/<group>` and the resource lists; the
/// [engine](discovery_core::engine) tells how. What it knows counts until it is invalidated, or
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
#[derive(Clone)]
pub struct MemoryDiscoveryLayer {
    engine: Engine<MemoryBackend>,
}

/// What a [`MemoryDiscoveryLayer`]'s services share.
pub struct MemoryBackend {
    state: RwLock<State>,
    ttl: Option<Duration>,
    clock: Box<dyn Clock>,
}

/// An HTTP service behind a [`MemoryDiscoveryLayer`].
pub type MemoryDiscovery<S> = DiscoveryService<S, MemoryBackend>;

#[derive(Default)]
struct State {
    snapshot: Arc<Snapshot>,
    /// When the oldest part of the snapshot came; only where there is a time to live.
    since: Option<SystemTime>,
}

impl MemoryDiscoveryLayer {
    /// A layer that knows nothing yet, for a server without a base path.
    #[must_use]
    pub fn new() -> Self {
        let memory = MemoryBackend {
            state: RwLock::default(),
            ttl: None,
            clock: Box::new(SystemClock),
        };
        Self {
            engine: Engine::new(memory),
        }
    }

    /// How long answers count: for ever unless set, as in client-go. Should the clock be set back by
    /// more than that, they are asked for anew.
    ///
    /// As all setters, to be called before the layer is cloned or used.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self {
            engine: self.engine.with_cache(|memory| memory.ttl = Some(ttl)),
        }
    }

    /// What tells the time for the time to live: the system's clock unless set.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self {
            engine: self
                .engine
                .with_cache(|memory| memory.clock = Box::new(clock)),
        }
    }

    /// For a server that is mounted under a path, such as `/k8s/clusters/c-1`.
    #[must_use]
    pub fn base_path(self, base: &str) -> Self {
        Self {
            engine: self.engine.base_path(base),
        }
    }

    /// The address of the server that the services reach: a request whose URI names another server
    /// passes, and one that names this one is for what is below the path of the address. Relative
    /// URIs are always this server's, and [`base_path`](Self::base_path) counts for them.
    #[must_use]
    pub fn server(self, address: &Uri) -> Self {
        Self {
            engine: self.engine.server(address),
        }
    }

    /// The largest answer that is kept, in bytes; larger ones pass through. 64 MiB unless set.
    #[must_use]
    pub fn max_body_size(self, bytes: usize) -> Self {
        Self {
            engine: self.engine.max_body_size(bytes),
        }
    }

    /// Sees and steers the cache: invalidation, freshness, statistics.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.engine.handle()
    }
}

impl MemoryBackend {
    fn expired(&self, state: &State) -> bool {
        match (self.ttl, state.since) {
            (Some(ttl), Some(since)) => {
                let now = self.clock.now();
                // What may get older than time can tell never expires.
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
}

impl Cache for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn load(&self, _need: &Scope) -> Op<Arc<Snapshot>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if self.expired(&state) {
            return Op::Ready(Arc::default());
        }
        Op::Ready(Arc::clone(&state.snapshot))
    }

    fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let is_complete = found.is_complete();
        if is_complete || self.expired(&state) {
            *state = State::default();
        }
        if self.ttl.is_some() && state.since.is_none() {
            state.since = Some(self.clock.now());
        }
        if is_complete {
            state.snapshot = Arc::clone(found);
        } else {
            Arc::make_mut(&mut state.snapshot).merge(found);
        }
        Op::Ready(())
    }

    fn invalidate(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// Everything in memory was fetched by this process, as far as the memory knows.
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
        self.engine.service(inner)
    }
}

impl fmt::Debug for MemoryDiscoveryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDiscoveryLayer")
            .field("engine", &self.engine)
            .finish()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("MemoryBackend")
            .field("snapshot", &state.snapshot)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
