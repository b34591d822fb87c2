use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use discovery_core::http::uri::Origin;
use discovery_core::store::Store;
use discovery_core::sync::clock::Clock;
use http::{request, response};
use tower_layer::Layer;

use super::DiskStoreService;
use super::config::{Config, Key, Mode};

/// Answers GET requests from a store, and records what is not there. The [module](super) has an
/// example, and says [what ends up on disk](super#what-ends-up-on-disk).
///
/// All services of a layer and of its clones share the store.
#[derive(Clone)]
pub struct DiskStoreLayer {
    config: Config,
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

    /// Which responses are recorded: those that [`is_recordable`](super::is_recordable) accepts, unless set.
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

    /// For how long a record counts: for ever unless set. An older one is as good as none, in all modes, and stays until
    /// it is replaced. A store that does not tell [when](discovery_core::store::Value::stored_at) it got a value, as one in
    /// memory, has none that counts then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use discovery_disk::KubectlStore;
    /// use discovery_disk::record::DiskStoreLayer;
    ///
    /// let store = KubectlStore::new("records");
    /// let layer = DiskStoreLayer::new(store).max_age(Duration::from_secs(3600));
    /// ```
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.config.max_age = Some(age);
        self
    }

    /// The clock for the [maximum age](Self::max_age): the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.config.clock = Arc::new(clock);
        self
    }
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
