use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use discovery_core::clock::{Clock, SystemClock};
use discovery_core::key::Origin;
use discovery_core::store::Store;
use http::uri::{Authority, Scheme};
use tower_layer::Layer;

use crate::cache::{Cache, Config, State};
use crate::extend::{Cacheable, ExactKey, FromCache, KubectlKey, Marker, NoWatch, RequestKey};
use crate::handle::Handle;
use crate::memo::Memo;
use crate::policy::Rules;
use crate::refresh::{NoRefresh, RefreshOn};
use crate::service::HttpCache;

const MAX_ENTRY_SIZE: u64 = 64 * 1024 * 1024;
const MEMO_SIZE: usize = 8 * 1024 * 1024;

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
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::HttpCacheLayer;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// static ASKED: AtomicU32 = AtomicU32::new(0);
/// let server = tower::service_fn(|_: Request<()>| async {
///     ASKED.fetch_add(1, Ordering::Relaxed);
///     let response = Response::builder().header("cache-control", "max-age=60");
///     Ok::<_, Infallible>(response.body(Full::new(Bytes::from("hello"))).unwrap())
/// });
///
/// let layer = HttpCacheLayer::new(MapStore::new());
/// let service = layer.layer(server);
/// for _ in 0..2 {
///     let request = Request::get("http://example.com/").body(()).unwrap();
///     let response = service.clone().oneshot(request).await.unwrap();
///     assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
/// }
/// assert_eq!(ASKED.load(Ordering::Relaxed), 1);
/// assert_eq!(layer.handle().stats().hits, 1);
/// # });
/// ```
pub struct HttpCacheLayer<St, X = NoRefresh> {
    store: Arc<St>,
    state: Arc<State>,
    memo: Arc<Memo>,
    config: Config,
    refresher: X,
}

impl<St: Store> HttpCacheLayer<St> {
    /// A private cache by RFC 9111, over `store`.
    #[must_use]
    pub fn new(store: St) -> Self {
        Self {
            store: Arc::new(store),
            state: Arc::default(),
            memo: Arc::default(),
            config: Config {
                key: Arc::new(ExactKey),
                cacheable: None,
                marker: None,
                clock: Arc::new(SystemClock),
                origin: None,
                rules: Rules::STRICT,
                posts: false,
                max_entry_size: MAX_ENTRY_SIZE,
                memo_size: MEMO_SIZE,
            },
            refresher: NoRefresh,
        }
    }
}

impl<St: Store, X> HttpCacheLayer<St, X> {
    /// What kubectl's stack needs, on top of the defaults:
    ///
    /// - its keys;
    /// - [`lenient_dates`](Self::lenient_dates), because Kubernetes sends such;
    /// - no `Age`, but `X-From-Cache: 1` on what comes from the cache;
    /// - every 200 that may be stored is stored, also if it can only be served under `max-stale`, and
    ///   no other status is;
    /// - no freshness by heuristics, and one variant for each key;
    /// - HEAD has entries of its own, and requests with ranges or conditions are left alone;
    /// - a request with another method than GET and HEAD, with a range, or with `no-store`, removes
    ///   the entry of its own key;
    /// - watches and followed logs are left alone.
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_http_cache::HttpCacheLayer;
    ///
    /// let layer = HttpCacheLayer::new(MapStore::new()).kubectl();
    /// ```
    #[must_use]
    pub fn kubectl(mut self) -> Self {
        self.config.key = Arc::new(KubectlKey);
        self.config.cacheable = Some(Arc::new(NoWatch));
        self.config.marker = Some(Arc::new(FromCache));
        self.config.rules = Rules::KUBECTL;
        self.memo = Arc::default();
        self
    }

    /// What names the entries. By default, method and URI as they are.
    #[must_use]
    pub fn key(mut self, key: impl RequestKey) -> Self {
        self.config.key = Arc::new(key);
        self
    }

    /// Which requests are the cache's business. By default, all are.
    #[must_use]
    pub fn cacheable(mut self, policy: impl Cacheable) -> Self {
        self.config.cacheable = Some(Arc::new(policy));
        self
    }

    /// What marks responses with where they came from, such as [`CacheStatus`](crate::CacheStatus).
    /// By default, nothing does but `Age`.
    #[must_use]
    pub fn marker(mut self, marker: impl Marker) -> Self {
        self.config.marker = Some(Arc::new(marker));
        self
    }

    /// Where the time comes from. By default, from the system.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.config.clock = Arc::new(clock);
        self
    }

    /// The origin of requests whose URI has none.
    ///
    /// Without it they bypass the cache, because the answers of two servers would share a
    /// key. Give one if the layer is outside of the one that completes URIs, as with kube's
    /// `ClientBuilder::with_layer`, and all its requests go to one server.
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_http_cache::HttpCacheLayer;
    /// use http::uri::{Authority, Scheme};
    ///
    /// let authority = Authority::from_static("127.0.0.1:6443");
    /// let layer = HttpCacheLayer::new(MapStore::new()).authority(Scheme::HTTPS, authority);
    /// ```
    #[must_use]
    pub fn authority(mut self, scheme: Scheme, authority: Authority) -> Self {
        self.config.origin = Some(Origin::new(scheme, authority));
        self
    }

    /// Whether dates with any zone abbreviation count as if it were GMT.
    ///
    /// Go writes such for times that are not in UTC, and Kubernetes' hashed OpenAPI documents
    /// come with them. RFC 9110 knows only GMT, and by default anything else has expired.
    #[must_use]
    pub fn lenient_dates(mut self, lenient: bool) -> Self {
        self.config.rules.lenient_dates = lenient;
        self.memo = Arc::default();
        self
    }

    /// The size of body, in bytes, above which a response is passed through and not stored. 64 MiB
    /// by default.
    #[must_use]
    pub fn max_entry_size(mut self, bytes: u64) -> Self {
        self.config.max_entry_size = bytes;
        self
    }

    /// The longest that a response is fresh which does not say for how long it is, but when it was
    /// last changed. A day by default; zero turns this off.
    ///
    /// Such a response is fresh for a tenth of the time for which it had not changed (RFC 9111
    /// §4.2.2), up to this.
    #[must_use]
    pub fn heuristic_limit(mut self, limit: Duration) -> Self {
        self.config.rules.heuristic = limit;
        self.memo = Arc::default();
        self
    }

    /// Whether a stale response is served when the inner service fails. Off by default.
    ///
    /// RFC 9111 §4.2.4 allows this to a cache that is disconnected, except for responses with
    /// `no-cache` or `must-revalidate`. An answer with an error status is no failure; see
    /// `stale-if-error` (RFC 5861 §4) for these.
    #[must_use]
    pub fn stale_if_disconnected(mut self, stale: bool) -> Self {
        self.config.rules.stale_if_disconnected = stale;
        self
    }

    /// Whether a stored response stays when its validation fails, with an error or a status of 500
    /// or more. Off by default: then it is removed.
    ///
    /// RFC 9111 §4.3.3 leaves the choice. What is kept can be validated again later.
    #[must_use]
    pub fn keep_on_error(mut self, keep: bool) -> Self {
        self.config.rules.keep_on_error = keep;
        self
    }

    /// Whether the answer to a POST is stored for later GETs, if it says that it is what they would
    /// get: by `Content-Location`, and how long it is fresh (RFC 9110 §9.3.3). Off by default.
    #[must_use]
    pub fn cache_posts(mut self, posts: bool) -> Self {
        self.config.posts = posts;
        self
    }

    /// Where stale responses are validated behind the answer, if they allow it by
    /// `stale-while-revalidate` (RFC 5861 §3). Without an executor they are validated before.
    ///
    /// The caller's request, which the answer leaves unused, becomes the request for the
    /// validation: there is one for each key at a time. What the executor must be able to run,
    /// [`Refresh`](crate::Refresh), is `Send` if the inner service, its future and the bodies are.
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_http_cache::HttpCacheLayer;
    /// use hyper_util::rt::TokioExecutor;
    ///
    /// let layer = HttpCacheLayer::new(MapStore::new()).executor(TokioExecutor::new());
    /// ```
    #[must_use]
    pub fn executor<E>(self, executor: E) -> HttpCacheLayer<St, RefreshOn<E>> {
        HttpCacheLayer {
            store: self.store,
            state: self.state,
            memo: self.memo,
            config: self.config,
            refresher: RefreshOn::new(executor),
        }
    }

    /// About how many bytes the decoded heads of entries may take in memory. 8 MiB by default; 0
    /// turns this off.
    #[must_use]
    pub fn memo_size(mut self, bytes: usize) -> Self {
        self.config.memo_size = bytes;
        self
    }

    /// Shows what the services of this layer and of its clones do.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.state))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &St {
        &self.store
    }
}

impl<S, St: Store, X: Clone> Layer<S> for HttpCacheLayer<St, X> {
    type Service = HttpCache<S, X>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpCache::new(
            inner,
            Cache {
                store: Arc::clone(&self.store) as Arc<dyn Store>,
                state: Arc::clone(&self.state),
                memo: Arc::clone(&self.memo),
                config: self.config.clone(),
            },
            self.refresher.clone(),
        )
    }
}

impl<St, X: Clone> Clone for HttpCacheLayer<St, X> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            state: Arc::clone(&self.state),
            memo: Arc::clone(&self.memo),
            config: self.config.clone(),
            refresher: self.refresher.clone(),
        }
    }
}

impl<St, X> fmt::Debug for HttpCacheLayer<St, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer")
            .field("rules", &self.config.rules)
            .field("origin", &self.config.origin)
            .field("max_entry_size", &self.config.max_entry_size)
            .field("memo_size", &self.config.memo_size)
            .finish_non_exhaustive()
    }
}
