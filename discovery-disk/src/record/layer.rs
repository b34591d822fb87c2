use std::fmt;
use std::sync::Arc;

use discovery_core::http::headers::{any_member, is_credential};
use discovery_core::http::uri::Origin;
use discovery_core::store::Store;
use http::{HeaderName, StatusCode, header, request, response};
use tower_layer::Layer;

use super::DiskStoreService;
use super::config::{Config, Key};

/// Answers GET requests from a store, and records what is not there. The [module](super) has an
/// example, and says [what ends up on disk](super#what-ends-up-on-disk).
///
/// All services of a layer and of its clones share the store.
#[derive(Clone)]
pub struct DiskStoreLayer {
    config: Config,
}

/// When the store is asked, and when the inner service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The store first, and the inner service for what is not there: the default.
    #[default]
    ReadThrough,
    /// The inner service always; what it answers replaces what is stored.
    Record,
    /// The store only. A request that is not there, whatever its method, is answered with
    /// 504 Gateway Timeout, as an HTTP cache answers `only-if-cached`. The inner service is never
    /// called, and need not be ready.
    Replay,
}

impl DiskStoreLayer {
    /// A layer over `store`, which reads through.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self {
            config: Config::new(store),
        }
    }

    /// When the store is asked: [`Mode::ReadThrough`] unless set.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// The scheme and authority of requests whose URI has none. Without it such requests have no
    /// key and are passed on, with one warning: two servers would share their answers.
    ///
    /// This replaces the [key](Self::key) by kubectl's, and kubectl's by this.
    ///
    /// ```
    /// use discovery_core::http::uri::Origin;
    /// use discovery_core::store::MapStore;
    /// use discovery_disk::record::DiskStoreLayer;
    ///
    /// let origin = Origin::from_uri(&"https://10.0.0.1:6443".parse()?).ok_or("no origin")?;
    /// let layer = DiskStoreLayer::new(MapStore::new()).origin(origin);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.config.key = Key::Uri(Some(origin));
        self
    }

    /// The key of a request, or `None` for one that is passed on: kubectl's
    /// [key](discovery_core::http::uri::cache_key), which is the URL, unless set. Headers do not take part in
    /// it; where the answer depends on them, put them into the key:
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_disk::record::DiskStoreLayer;
    /// use http::header::ACCEPT;
    ///
    /// let layer = DiskStoreLayer::new(MapStore::new()).key(|request| {
    ///     let accept = request.headers.get(ACCEPT).map(|value| value.as_bytes());
    ///     Some(format!("{} {}", accept?.escape_ascii(), request.uri))
    /// });
    /// ```
    #[must_use]
    pub fn key<F>(mut self, key: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.config.key = Key::Custom(Arc::new(key));
        self
    }

    /// Which responses are recorded: those that [`is_recordable`] accepts, unless set.
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_disk::record::DiskStoreLayer;
    ///
    /// // Failures too, for a test that repeats them.
    /// let layer = DiskStoreLayer::new(MapStore::new()).record_if(|_| true);
    /// ```
    #[must_use]
    pub fn record_if<F>(mut self, record_if: F) -> Self
    where
        F: Fn(&response::Parts) -> bool + Send + Sync + 'static,
    {
        self.config.record_if = Arc::new(record_if);
        self
    }

    /// Whether requests that carry credentials take part: those with `Authorization`, `Cookie`,
    /// `Proxy-Authorization` or an `Impersonate` header. They don't unless set: they are passed on,
    /// with one warning, because what one user may see would be there for all who ask later, and for
    /// all who can read the files. [`Mode::Replay`] answers them, and writes nothing.
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_disk::record::DiskStoreLayer;
    ///
    /// // The user's own directory, for one user's requests.
    /// let layer = DiskStoreLayer::new(MapStore::new()).credentials(true);
    /// ```
    #[must_use]
    pub fn credentials(mut self, take_part: bool) -> Self {
        self.config.credentials = take_part;
        self
    }

    /// The size of the largest body that is recorded, in bytes: 64 MiB unless set. A larger one is passed on.
    ///
    /// ```
    /// use discovery_core::store::MapStore;
    /// use discovery_disk::record::DiskStoreLayer;
    ///
    /// let layer = DiskStoreLayer::new(MapStore::new()).max_body_size(1024 * 1024);
    /// ```
    #[must_use]
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.config.max_body_size = bytes;
        self
    }
}

/// Which responses [`DiskStoreLayer`] records if nothing else is set: successes but 206 Partial
/// Content, unless they have `Set-Cookie`, `Cache-Control` has `no-store`, or `Vary` names
/// `Authorization`, `Cookie`, `Proxy-Authorization` or an `Impersonate` header. Those are not for
/// everybody who can read the files.
///
/// `Cache-Control: private` is no hindrance: Kubernetes' API servers send it with everything.
///
/// ```
/// use discovery_disk::record::is_recordable;
/// use http::Response;
///
/// let (mut response, ()) = Response::new(()).into_parts();
/// assert!(is_recordable(&response));
/// response.headers.insert("vary", "accept, authorization".parse().unwrap());
/// assert!(!is_recordable(&response));
/// ```
#[must_use]
pub fn is_recordable(response: &response::Parts) -> bool {
    let credential = |name: &[u8]| {
        // No header has a name that is not one.
        HeaderName::from_bytes(name).is_ok_and(|name| is_credential(&name))
    };
    response.status.is_success()
        && response.status != StatusCode::PARTIAL_CONTENT
        && !response.headers.contains_key(header::SET_COOKIE)
        && !any_member(&response.headers, &header::CACHE_CONTROL, |directive| {
            directive.eq_ignore_ascii_case(b"no-store")
        })
        && !any_member(&response.headers, &header::VARY, credential)
}

impl<S> Layer<S> for DiskStoreLayer {
    type Service = DiskStoreService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DiskStoreService::new(inner, self.config.clone())
    }
}

impl fmt::Debug for DiskStoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.config, f)
    }
}
