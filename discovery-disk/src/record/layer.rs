use std::fmt;
use std::io;
use std::sync::Arc;

use discovery_core::dump::DumpError;
use discovery_core::headers::{any_member, is_credential};
use discovery_core::internal::WarnOnce;
use discovery_core::key::{self, Origin, Redacted, RedactedError};
use discovery_core::store::Store;
use http::{HeaderName, Method, StatusCode, header, request, response};
use tower_layer::Layer;

use super::DiskStoreService;

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

type KeyOf = dyn Fn(&request::Parts) -> Option<String> + Send + Sync;

type RecordIf = dyn Fn(&response::Parts) -> bool + Send + Sync;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mode: Mode,
    pub(crate) max_body: u64,
    pub(crate) record_if: Arc<RecordIf>,
    key: Arc<KeyOf>,
    /// Whether the key is the one that asks for a host.
    needs_host: bool,
    credentials: bool,
    pub(crate) warned: Arc<Warned>,
}

/// The warnings of a layer and its clones. Each is given once.
#[derive(Default)]
pub(crate) struct Warned {
    no_host: WarnOnce,
    credentials: WarnOnce,
    store: WarnOnce,
    damage: WarnOnce,
}

impl DiskStoreLayer {
    /// A layer over `store`, which reads through.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self {
            config: Config {
                store: Arc::new(store),
                mode: Mode::default(),
                max_body: 64 * 1024 * 1024,
                record_if: Arc::new(is_recordable),
                key: Arc::new(|parts| key::of(&parts.method, &parts.uri, None)),
                needs_host: true,
                credentials: false,
                warned: Arc::default(),
            },
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
    #[must_use]
    pub fn origin(self, origin: Origin) -> Self {
        self.key(move |parts| key::of(&parts.method, &parts.uri, Some(&origin)))
    }

    /// The key of a request, or `None` for one that is passed on: kubectl's
    /// [key](discovery_core::key::of), which is the URL, unless set. Headers do not take part in
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
        self.config.key = Arc::new(key);
        self.config.needs_host = false;
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

    /// The longest body that is recorded: 64 MiB unless set. A longer one is passed on.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.config.max_body = bytes;
        self
    }
}

impl Config {
    /// The key under which the answer to a request is stored, if it is.
    pub(crate) fn key_of(&self, parts: &request::Parts) -> Option<String> {
        // A part of a document is not the document (RFC 9110 §14.2).
        if parts.method != Method::GET || parts.headers.contains_key(header::RANGE) {
            return None;
        }
        // No server has such an address, whatever the client makes of it.
        if key::port(&parts.uri).is_err() {
            return None;
        }
        let warned = &self.warned;
        if !self.credentials && self.mode != Mode::Replay && parts.headers.keys().any(is_credential)
        {
            warned.credentials();
            return None;
        }
        let key = (self.key)(parts);
        if key.is_none() && self.needs_host && parts.uri.authority().is_none() {
            warned.no_host();
        }
        key
    }
}

impl Warned {
    fn credentials(&self) {
        const MESSAGE: &str = "requests with credentials are not recorded unless that is allowed";
        if self.credentials.is_first() {
            tracing::warn!("{MESSAGE}; further cases are logged at DEBUG");
        } else {
            tracing::debug!("{MESSAGE}");
        }
    }

    fn no_host(&self) {
        const MESSAGE: &str = "requests without a host are not recorded: give the layer an origin";
        if self.no_host.is_first() {
            tracing::warn!("{MESSAGE}; further cases are logged at DEBUG");
        } else {
            tracing::debug!("{MESSAGE}");
        }
    }

    /// The store could not be `read` or `written`.
    pub(crate) fn store_failed(&self, key: &str, done: &'static str, error: &io::Error) {
        let error = RedactedError::new(error, key);
        let key = Redacted::new(key);
        if self.store.is_first() {
            tracing::warn!(
                %key, %error,
                "the store could not be {done}; further cases are logged at DEBUG"
            );
        } else {
            tracing::debug!(%key, %error, "the store could not be {done}");
        }
    }

    /// The store has something that is no response.
    pub(crate) fn record_damaged(&self, key: &str, error: &DumpError) {
        let key = Redacted::new(key);
        if self.damage.is_first() {
            tracing::warn!(
                %key, %error,
                "a damaged record is treated as missing; further cases are logged at DEBUG"
            );
        } else {
            tracing::debug!(%key, %error, "a damaged record is treated as missing");
        }
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
        self.config.fmt_as("DiskStoreLayer", f)
    }
}

impl Config {
    pub(crate) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("mode", &self.mode)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}
