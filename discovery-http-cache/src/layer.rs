use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use discovery_core::http::uri::Origin;
use discovery_core::store::Store;
use discovery_core::sync::clock::Clock;
use http::uri::{Authority, Scheme};
use hyper::rt::{Executor, Timer};
use tower_layer::Layer;

use crate::cache::{Cache, State};
use crate::cache_status::ResponseMarker;
use crate::entry::HeadCache;
use crate::extend::{Cacheable, Lifetime, RequestKey, ResponseUri};
use crate::options::BoxFuture;
use crate::options::Options;
use crate::policy::request::TargetOrigin;
use crate::service::HttpCache;
use crate::stats::Handle;

/// Caches HTTP responses in a [`Store`]. See the [crate's documentation](crate).
///
/// All services that a layer and its clones make share the store, the table of requests under way,
/// and the [`Handle`].
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use bytes::Bytes;
/// use discovery_http_cache::{HttpCacheLayer, MapStore};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Empty, Full};
/// use tower::{Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// static ASKED: AtomicU32 = AtomicU32::new(0);
/// let server = tower::service_fn(|_: Request<Empty<Bytes>>| async {
///     ASKED.fetch_add(1, Ordering::Relaxed);
///     let response = Response::builder().header("cache-control", "max-age=60");
///     Ok::<_, Infallible>(response.body(Full::new(Bytes::from("hello"))).unwrap())
/// });
///
/// let layer = HttpCacheLayer::new(MapStore::new());
/// let service = layer.layer(server);
/// for _ in 0..2 {
///     let request = Request::get("http://example.com/").body(Empty::new()).unwrap();
///     let response = service.clone().oneshot(request).await.unwrap();
///     assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
/// }
/// assert_eq!(ASKED.load(Ordering::Relaxed), 1);
/// assert_eq!(layer.handle().stats().hits, 1);
/// # });
/// ```
pub struct HttpCacheLayer<St> {
    store: Arc<St>,
    state: Arc<State>,
    heads: Arc<HeadCache>,
    options: Options,
}

impl<St: Store> HttpCacheLayer<St> {
    /// A private cache by RFC 9111, over `store`.
    #[must_use]
    pub fn new(store: St) -> Self {
        Self {
            store: Arc::new(store),
            state: Arc::default(),
            heads: Arc::default(),
            options: Options::default(),
        }
    }
}

impl<St: Store> HttpCacheLayer<St> {
    /// Replaces the defaults by those of kubectl's stack:
    ///
    /// - kubectl's keys;
    /// - only requests for discovery documents, OpenAPI and the server's version are cached. kube-apiserver marks all
    ///   that it sends `no-cache, private`, which a private cache may store, Secrets included. Set
    ///   [`cacheable`](Self::cacheable) for others, such as those of a server below a base path;
    /// - watches and followed logs bypass the cache in any case;
    /// - [`lenient_dates`](Self::lenient_dates), because Kubernetes sends such dates;
    /// - no `Age`, but `X-From-Cache: 1` on responses from the cache;
    /// - every 200 that may be stored is stored, even if it can only be served under `max-stale`, and no other status is;
    /// - no heuristic freshness, and one variant for each key;
    /// - HEAD has entries of its own, and requests with ranges or conditions bypass the cache;
    /// - an answer other than 200 and an unreachable server remove the entry;
    /// - a request with a method other than GET and HEAD, with a range, or with `no-store`, removes the entry of its own
    ///   key.
    ///
    /// Options that were set, before or after, take precedence.
    ///
    /// ```
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    ///
    /// let layer = HttpCacheLayer::new(MapStore::new()).kubectl();
    /// ```
    #[must_use]
    pub fn kubectl(mut self) -> Self {
        self.options.kubectl = true;
        self.heads = Arc::default();
        self
    }

    /// Sets how entries are named. By default, by method and URI, with one name for equivalent URIs (RFC 9110 §4.2.3).
    #[must_use]
    pub fn key(mut self, key: impl RequestKey) -> Self {
        self.options.key = Some(Arc::new(key));
        self
    }

    /// Sets which requests the cache may handle. All by default; see also [`kubectl`](Self::kubectl).
    ///
    /// Unsafe requests invalidate entries in any case.
    #[must_use]
    pub fn cacheable(mut self, policy: impl Cacheable) -> Self {
        self.options.cacheable = Some(Arc::new(policy));
        self
    }

    /// Sets how long responses are fresh. By default, as long as they say.
    #[must_use]
    pub fn lifetime(mut self, lifetime: impl Lifetime) -> Self {
        self.options.lifetime = Some(Arc::new(lifetime));
        self.heads = Arc::default();
        self
    }

    /// Sets the marker that tells callers where a response came from, such as [`CacheStatus`](crate::CacheStatus). None by
    /// default; `Age` is there without one.
    #[must_use]
    pub fn marker(mut self, marker: impl ResponseMarker) -> Self {
        self.options.marker = Some(Arc::new(marker));
        self
    }

    /// Sets which entries are versions of one thing, of which only the latest is of use, such as those of a URL with a hash
    /// in it: `name` tells of an entry's key what it is a version of. An entry that is stored then removes the one that was
    /// stored before it under the same name, by this process or another. Off unless set.
    ///
    /// The key is the URI, unless [another one](Self::key) was chosen.
    ///
    /// ```
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    ///
    /// let without_hash = |key: &str| key.split_once("?hash=").map(|(name, _)| name.to_owned());
    /// let layer = HttpCacheLayer::new(MapStore::new()).keep_latest_of(without_hash);
    /// ```
    #[must_use]
    pub fn keep_latest_of(
        mut self,
        name: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.options.latest_of = Some(Arc::new(name));
        self
    }

    /// Sets how the cache learns which URI a response came from, for a layer below it that follows redirects: see
    /// [`ResponseUri`]. By default, every response counts as that of the request's URI.
    #[must_use]
    pub fn response_uri(mut self, uri: impl ResponseUri) -> Self {
        self.options.response_uri = Some(Arc::new(uri));
        self
    }

    /// Sets the source of the time. The system's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// Sets the origin of requests whose URI has none.
    ///
    /// Without it they bypass the cache, because the answers of two servers would share a
    /// key. Give one if the layer is outside of the one that completes URIs, as with kube's
    /// `ClientBuilder::with_layer`, and all its requests go to one server.
    ///
    /// ```
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    /// use http::uri::{Authority, Scheme};
    ///
    /// let authority = Authority::from_static("127.0.0.1:6443");
    /// let layer = HttpCacheLayer::new(MapStore::new()).authority(Scheme::HTTPS, authority);
    /// ```
    #[must_use]
    pub fn authority(mut self, scheme: Scheme, authority: Authority) -> Self {
        self.options.origin = TargetOrigin::Fixed(Origin::new(scheme, authority));
        self
    }

    /// Takes the authority of requests whose URI has none from their `Host` field (RFC 9110 §7.2). `scheme` completes
    /// it. This is for a layer in front of a server, such as one around an axum router, which gets URIs without a host.
    ///
    /// Each host has entries of its own. A request with no `Host`, with an invalid one or with several
    /// bypasses the cache. Clients choose the field: put the cache behind whatever refuses unknown hosts if
    /// the store has no bound.
    ///
    /// This and [`authority`](Self::authority) replace each other.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use bytes::Bytes;
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    /// use http::uri::Scheme;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Empty, Full};
    /// use tower::{Layer, ServiceExt};
    ///
    /// # tokio_test::block_on(async {
    /// // A server with two virtual hosts.
    /// let server = tower::service_fn(|request: Request<Empty<Bytes>>| async move {
    ///     let host = request.headers()["host"].to_str().unwrap().to_owned();
    ///     let response = Response::builder().header("cache-control", "max-age=60");
    ///     Ok::<_, Infallible>(response.body(Full::new(Bytes::from(host))).unwrap())
    /// });
    /// let layer = HttpCacheLayer::new(MapStore::new()).authority_from_host(Scheme::HTTP);
    /// let service = layer.layer(server);
    /// for host in ["one", "two", "one"] {
    ///     let request = Request::get("/").header("host", host).body(Empty::new()).unwrap();
    ///     let response = service.clone().oneshot(request).await.unwrap();
    ///     assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), host);
    /// }
    /// assert_eq!(layer.handle().stats().hits, 1);
    /// # });
    /// ```
    #[must_use]
    pub fn authority_from_host(mut self, scheme: Scheme) -> Self {
        self.options.origin = TargetOrigin::Host(scheme);
        self
    }

    /// Sets whether dates with any zone abbreviation count as if it were GMT.
    ///
    /// Go writes such for times that are not in UTC, and Kubernetes' hashed OpenAPI documents
    /// come with them. RFC 9110 knows only GMT, and by default anything else has expired.
    #[must_use]
    pub fn lenient_dates(mut self, lenient: bool) -> Self {
        self.options.lenient_dates = Some(lenient);
        self.heads = Arc::default();
        self
    }

    /// Sets the size of a body, in bytes, above which a response is passed through and not stored. 64 MiB by default.
    ///
    /// It bounds as well how far one reader of a shared body may fall behind the fastest one; that is 4 MiB at least.
    #[must_use]
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.options.max_body_size = bytes;
        self
    }

    /// Sets the upper bound of heuristic freshness, for responses with `Last-Modified` and no explicit lifetime. A day by
    /// default; zero turns heuristics off.
    ///
    /// Such a response is fresh for a tenth of the time for which it had not changed (RFC 9111 §4.2.2), up to this bound.
    #[must_use]
    pub fn heuristic_limit(mut self, limit: Duration) -> Self {
        self.options.heuristic = Some(limit);
        self.heads = Arc::default();
        self
    }

    /// Sets whether a stale response is served when the inner service fails. Off by default.
    ///
    /// RFC 9111 §4.2.4 allows this to a cache that is disconnected, except for responses with
    /// `no-cache` or `must-revalidate`. An answer with an error status is no failure; see
    /// `stale-if-error` (RFC 5861 §4) for these.
    #[must_use]
    pub fn stale_if_disconnected(mut self, stale: bool) -> Self {
        self.options.stale_if_disconnected = stale;
        self
    }

    /// Sets whether a stored response stays when its validation fails with a status of 500 or more. Off by
    /// default: then it is removed. RFC 9111 §4.3.3 leaves the choice.
    ///
    /// It stays in any case if the server could not be reached at all. Under [`kubectl`](Self::kubectl) that
    /// is so only with this option, because kubectl deletes the entry.
    #[must_use]
    pub fn keep_on_error(mut self, keep: bool) -> Self {
        self.options.keep_on_error = keep;
        self
    }

    /// Sets whether the answer to a POST is stored for later GETs, if it says that it is what they would
    /// get: by `Content-Location`, and how long it is fresh (RFC 9110 §9.3.3). Off by default.
    #[must_use]
    pub fn cache_posts(mut self, posts: bool) -> Self {
        self.options.posts = posts;
        self
    }

    /// Runs stale-while-revalidate (RFC 5861 §3) in the background, on this executor. Without one, a stale response is
    /// validated before it is served.
    ///
    /// The caller's request, which the answer leaves unused, becomes the request for the validation. There is one for
    /// each key at a time. One that takes longer than [`max_wait`](Self::max_wait) does not keep the next one from
    /// beginning, and is given up if there is a [timer](Self::timer).
    ///
    /// ```
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    /// use hyper_util::rt::TokioExecutor;
    ///
    /// let layer = HttpCacheLayer::new(MapStore::new()).executor(TokioExecutor::new());
    /// ```
    #[must_use]
    pub fn executor(
        mut self,
        executor: impl Executor<BoxFuture<()>> + Send + Sync + 'static,
    ) -> Self {
        self.options.executor = Some(Arc::new(executor));
        self
    }

    /// Bounds waiting, by [`max_wait`](Self::max_wait), with the help of this timer. Without one, a request waits for
    /// another one, and for the store, for as long as these take.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    /// use hyper_util::rt::TokioTimer;
    ///
    /// let layer = HttpCacheLayer::new(MapStore::new())
    ///     .timer(TokioTimer::new())
    ///     .max_wait(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn timer(mut self, timer: impl Timer + Send + Sync + 'static) -> Self {
        self.options.timer = Some(Arc::new(timer));
        self
    }

    /// Sets how long a request waits for another request or for the store, if there is a [timer](Self::timer). 5 seconds
    /// by default.
    ///
    /// - A request that has waited for another one for so long is forwarded on its own.
    /// - A request does not join a body that has made no progress for so long.
    /// - A store that takes longer to answer counts as one that failed.
    /// - A background refresh is given up if the head of the answer, or the next part of its body, takes longer.
    ///
    /// How long a request waits for the server's answer to itself is for a timeout layer to bound.
    #[must_use]
    pub fn max_wait(mut self, limit: Duration) -> Self {
        self.options.max_wait = limit;
        self
    }

    /// Sets how many variants of one response are stored at most (RFC 9111 §4.1), 16 by default. The oldest is removed
    /// for the next.
    #[must_use]
    pub fn max_variants(mut self, variants: usize) -> Self {
        self.options.max_variants = variants;
        self
    }

    /// Sets the source of [`Stats::evictions`](crate::Stats::evictions), because only a store that is bounded knows how
    /// much it has forgotten. Zero by default.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use discovery_http_cache::{HttpCacheLayer, MapStore};
    ///
    /// let evicted = Arc::new(AtomicU64::new(0));
    /// let count = Arc::clone(&evicted);
    /// let layer = HttpCacheLayer::new(MapStore::new())
    ///     .evictions(move || count.load(Ordering::Relaxed));
    /// evicted.store(3, Ordering::Relaxed);
    /// assert_eq!(layer.handle().stats().evictions, 3);
    /// ```
    #[must_use]
    pub fn evictions(mut self, count: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.options.evictions = Some(Arc::new(count));
        self
    }

    /// Sets about how many bytes the decoded heads of entries may take in memory. 8 MiB by default; 0 turns this cache
    /// of heads off.
    #[must_use]
    pub fn max_head_cache_size(mut self, bytes: usize) -> Self {
        self.options.max_head_cache_size = bytes;
        self
    }

    /// Returns a handle that shows what the services of this layer and of its clones do.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(
            Arc::clone(&self.state.counters),
            self.options.evictions.clone(),
        )
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.store
    }
}

impl<S, St: Store> Layer<S> for HttpCacheLayer<St> {
    type Service = HttpCache<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpCache::new(
            inner,
            Cache {
                store: Arc::clone(&self.store) as Arc<dyn Store>,
                state: Arc::clone(&self.state),
                heads: Arc::clone(&self.heads),
                config: self.options.config(),
            },
        )
    }
}

impl<St> Clone for HttpCacheLayer<St> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            state: Arc::clone(&self.state),
            heads: Arc::clone(&self.heads),
            options: self.options.clone(),
        }
    }
}

impl<St> fmt::Debug for HttpCacheLayer<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer")
            .field("kubectl", &self.options.kubectl)
            .field("origin", &self.options.origin)
            .field("max_body_size", &self.options.max_body_size)
            .field("max_head_cache_size", &self.options.max_head_cache_size)
            .finish_non_exhaustive()
    }
}
