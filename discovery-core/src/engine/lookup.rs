use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode, Uri};
use http_body::Body as HttpBody;

use super::ask::{Ask, Goal};
use super::handle::{Control, Counters};
use super::recent::Recent;
use super::service::DiscoveryService;
use super::{Body, Cache, Handle, ParsedAnswer, Refresh, Stats};
use crate::flight::SingleFlight;
use crate::key::Origin;
use crate::store::Op;
use crate::{Answer, Endpoint, Format, Snapshot};

/// How many lists a caller that takes parsed documents is left to ask for itself. Up to here that
/// is no more than the two requests that would bring everything from an aggregated server.
const FEW: usize = 2;

/// The largest answer that is kept, unless set.
const MAX_BODY_SIZE: usize = 64 << 20;

/// A [`Cache`] with all that a discovery layer needs around it. Clones share one state.
///
/// A layer holds one, and makes services from it:
///
/// ```
/// # use discovery_core::engine::{Cache, Scope};
/// # use discovery_core::{Snapshot, store::Op};
/// # use std::sync::{Arc, Mutex};
/// use discovery_core::engine::Engine;
///
/// /// Keeps everything until it is told not to.
/// #[derive(Default)]
/// struct Keep(Mutex<Arc<Snapshot>>);
///
/// impl Cache for Keep {
///     fn name(&self) -> &'static str { "keep" }
///     fn load(&self, _: &Scope) -> Op<Arc<Snapshot>> { Op::Ready(self.0.lock().unwrap().clone()) }
///     fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
///         Op::Ready(Arc::make_mut(&mut *self.0.lock().unwrap()).merge(found))
///     }
///     fn invalidate(&self) { *self.0.lock().unwrap() = Arc::default(); }
///     fn fresh(&self) -> bool { true }
///     fn answers_unknown(&self) -> bool { true }
/// }
///
/// # type Body = http_body_util::Full<bytes::Bytes>;
/// # let inner = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, std::io::Error>(http::Response::new(Body::default()))
/// # });
/// let engine = Engine::new(Keep::default()).base_path("/k8s/clusters/c-1");
/// let service = engine.service(inner);
/// assert_eq!(engine.handle().stats().sent, 0);
/// ```
pub struct Engine<C> {
    pub(super) shared: Arc<Shared<C>>,
}

pub(super) struct Shared<C> {
    pub(super) cache: C,
    pub(super) base: String,
    /// The server that absolute URIs have to name, and the path that it is mounted at.
    pub(super) server: Option<(Origin, String)>,
    pub(super) limit: usize,
    pub(super) flights: SingleFlight<Goal>,
    /// The latest [`Refresh`] that was obeyed.
    refreshed: AtomicU64,
    /// Held while the cache starts to forget or to save, so that nothing is saved that a refresh
    /// has made old.
    changing: Mutex<()>,
    saves: AtomicU64,
    /// What was fetched last, for callers that waited for it.
    pub(super) recent: Recent,
    pub(super) counters: Counters,
}

impl<C: Cache> Engine<C> {
    /// An engine around `cache`, for a server without a base path.
    #[must_use]
    pub fn new(cache: C) -> Self {
        let shared = Shared {
            cache,
            base: String::new(),
            server: None,
            limit: MAX_BODY_SIZE,
            flights: SingleFlight::new(),
            refreshed: AtomicU64::new(0),
            changing: Mutex::default(),
            saves: AtomicU64::new(0),
            recent: Recent::default(),
            counters: Counters::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// For a server that is mounted under a path, such as `/k8s/clusters/c-1`.
    ///
    /// As all setters, to be called before there are clones, services or handles: they share what
    /// was set until then, and it does not change any more.
    #[must_use]
    pub fn base_path(self, base: &str) -> Self {
        self.set(|shared| shared.base = base.trim_end_matches('/').to_owned())
    }

    /// The address of the server that the services reach: a request whose URI names another one
    /// passes, so that it is not answered with this server's groups. One that names this server is
    /// for what is below the path of the address. A relative URI is always this server's, and
    /// [`base_path`](Self::base_path) counts for it.
    #[must_use]
    pub fn server(self, address: &Uri) -> Self {
        let base = address.path().trim_end_matches('/').to_owned();
        let server = Origin::from_uri(address).map(|origin| (origin, base));
        self.set(|shared| shared.server = server)
    }

    /// The largest answer that is kept, in bytes; larger ones pass through. 64 MiB unless set.
    #[must_use]
    pub fn max_body_size(self, bytes: usize) -> Self {
        self.set(|shared| shared.limit = bytes)
    }

    /// Changes the cache.
    #[must_use]
    pub fn with_cache(self, change: impl FnOnce(&mut C)) -> Self {
        self.set(|shared| change(&mut shared.cache))
    }

    fn set(mut self, change: impl FnOnce(&mut Shared<C>)) -> Self {
        match Arc::get_mut(&mut self.shared) {
            Some(shared) => change(shared),
            None => tracing::warn!("a setting came too late: the cache is in use"),
        }
        self
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &C {
        &self.shared.cache
    }

    /// A handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared) as Arc<dyn Control>)
    }

    /// Wraps a service. All services of an engine share its cache.
    pub fn service<S>(&self, inner: S) -> DiscoveryService<S, C> {
        DiscoveryService::new(inner, self.clone())
    }
}

impl<C: Cache> Shared<C> {
    pub(super) fn generation(&self) -> u64 {
        self.refreshed.load(Ordering::Acquire)
    }

    pub(super) fn refresh(&self, refresh: Refresh) {
        if self.generation() >= refresh.0 {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation() < refresh.0 {
            tracing::debug!(cache = self.cache.name(), "invalidated");
            self.cache.invalidate();
            // Not before it is done: whoever sees this joins what comes after.
            self.refreshed.store(refresh.0, Ordering::Release);
        }
    }

    /// How often something was kept. Whoever sees the same number before it looked at the cache and
    /// later need not look again.
    pub(super) fn saves(&self) -> u64 {
        self.saves.load(Ordering::Acquire)
    }

    /// What the cache knows of it; `None` if that does not count.
    pub(super) fn load(&self, ask: &Ask) -> Option<Op<Arc<Snapshot>>> {
        let anew = ask.no_cache && ask.list().is_some();
        (!anew).then(|| self.cache.load(&ask.need()))
    }

    /// The answer from `snapshot`. `None` if the server has to be asked.
    pub(super) fn answer<B>(
        &self,
        ask: &Ask,
        snapshot: &Arc<Snapshot>,
        hit: bool,
    ) -> Option<Response<Body<B>>>
    where
        B: HttpBody<Data = Bytes>,
    {
        let response = if ask.takes_groups() {
            snapshot.groups()?;
            let wants_lists = ask.endpoint == Endpoint::Apis && !ask.groups_only;
            let legacy = snapshot.format() == Some(Format::Legacy);
            if wants_lists && !legacy && snapshot.missing().nth(FEW).is_some() {
                return None;
            }
            Response::new(Body::full(Bytes::new()))
        } else {
            match snapshot.answer(&ask.endpoint, ask.accept)? {
                Answer::Document { format, json } => document(format, json, ask.typed),
                Answer::Refused(refusal) => {
                    let mut response = Response::new(Body::full(refusal.body));
                    *response.status_mut() = refusal.status;
                    if let Some(content_type) = refusal.content_type {
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
        Some(self.with_known(response, snapshot, hit))
    }

    /// The groups, however many of their lists are missing, for a caller that takes what is known:
    /// if the server can't be asked, they are better than nothing.
    pub(super) fn last_resort<B>(
        &self,
        ask: &Ask,
        known: Option<&Arc<Snapshot>>,
    ) -> Option<Response<Body<B>>>
    where
        B: HttpBody<Data = Bytes>,
    {
        let known = known.filter(|known| ask.takes_groups() && known.groups().is_some())?;
        let response = Response::new(Body::full(Bytes::new()));
        Some(self.with_known(response, known, true))
    }

    fn with_known<B>(
        &self,
        mut response: Response<B>,
        snapshot: &Arc<Snapshot>,
        hit: bool,
    ) -> Response<B> {
        response.extensions_mut().insert(ParsedAnswer {
            snapshot: Arc::clone(snapshot),
            cache: self.cache.name(),
            hit,
        });
        response
    }

    /// Keeps what was fetched, unless a refresh has made it old meanwhile.
    pub(super) async fn keep(&self, ask: &Ask, found: &Arc<Snapshot>) {
        self.recent.set_found(ask.goal(), found);
        let saving = {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            (self.generation() == ask.generation).then(|| self.cache.save(found))
        };
        // The work of it comes after the lock.
        if let Some(saving) = saving {
            saving.await;
            self.saves.fetch_add(1, Ordering::Release);
        }
    }
}

fn document<B: HttpBody<Data = Bytes>>(
    format: Format,
    json: Bytes,
    typed: bool,
) -> Response<Body<B>> {
    let json = if typed { Bytes::new() } else { json };
    let length = HeaderValue::from(json.len());
    let mut response = Response::new(Body::full(json));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(CONTENT_LENGTH, length);
    response
}

/// An error answer as the server would give it.
pub(super) fn status<B: HttpBody<Data = Bytes>>(
    code: StatusCode,
    reason: &str,
    message: &str,
) -> Response<Body<B>> {
    let json = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","details":{{}},"code":{}}}"#,
        code.as_u16()
    );
    let mut response = document(Format::Legacy, json.into(), false);
    *response.status_mut() = code;
    response
}

impl<C: Cache> Control for Shared<C> {
    fn invalidate(&self) {
        self.refresh(Refresh::next());
    }

    fn fresh(&self) -> bool {
        self.cache.fresh()
    }

    fn stats(&self) -> Stats {
        self.counters.read()
    }
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C: Cache> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("cache", &self.shared.cache.name())
            .field("statistics", &self.shared.counters.read())
            .finish_non_exhaustive()
    }
}
