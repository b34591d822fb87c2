use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use discovery_core::clock::Clock;
use discovery_core::engine::{DiscoveryService, Engine, Handle};
use http::Uri;
use tower_layer::Layer;

use super::{DiskBackend, DiskStats};

/// Keeps discovery answers in kubectl's files.
///
/// It answers `/api`, `/apis`, `/apis/<group>` and the resource lists from the
/// [files](super), and fills them; the [engine](discovery_core::engine) tells how. It stands for
/// client-go's `CachedDiscoveryClient`, with two differences: it asks only for what is missing, and
/// nothing that it finds in the directory makes it fail.
///
/// All services of a layer and of its clones share what the layer knows about its files.
///
/// ```
/// use bytes::Bytes;
/// use discovery_disk::DiskDiscoveryLayer;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// # let cache = tempfile::tempdir()?;
/// let server = service_fn(|request: Request<Full<Bytes>>| async move {
///     let json = match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
///         _ => r#"{"kind":"APIGroupList","groups":[]}"#,
///     };
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(json)))
/// });
/// // Each turn is a program of its own, as far as the cache is concerned.
/// for sent in [2, 0] {
///     let layer = DiskDiscoveryLayer::new(cache.path().join("discovery/10.0.0.1_6443"));
///     let client = ServiceBuilder::new().layer(&layer).service(server);
///     client.oneshot(Request::get("/api").body(Full::default()).unwrap()).await?;
///     assert_eq!(layer.handle().stats().sent, sent);
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct DiskDiscoveryLayer {
    engine: Engine<DiskBackend>,
}

/// An HTTP service behind a [`DiskDiscoveryLayer`].
pub type DiskDiscovery<S> = DiscoveryService<S, DiskBackend>;

impl DiskDiscoveryLayer {
    /// A layer over the files in `dir`, the directory of one server, for a server without a base
    /// path. For kubectl's, `dir` is `<root>/discovery/` and the name that
    /// [`server_directory`](discovery_core::key::server_directory) makes of the server's URL.
    ///
    /// Nothing is made until there is something to write.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            engine: Engine::new(DiskBackend::new(Some(dir.into()))),
        }
    }

    /// A layer without a directory, for a server whose address gives no safe name for one: answers
    /// are kept in memory, for the same time.
    ///
    /// ```
    /// assert_eq!(discovery_disk::DiskDiscoveryLayer::without_files().dir(), None);
    /// ```
    #[must_use]
    pub fn without_files() -> Self {
        Self {
            engine: Engine::new(DiskBackend::new(None)),
        }
    }

    /// How long a file counts after its modification time: six hours unless set, as in kubectl.
    /// [`Duration::MAX`] is for ever.
    ///
    /// As all setters, to be called before the layer is cloned or used.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|files| files.set(|shared| shared.set_ttl(ttl)))
    }

    /// What tells the time: the system's clock unless set.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|files| files.set(|shared| shared.set_clock(clock)))
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

    /// Asks `hook` before each call to the file system whether it goes wrong.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_faults<F>(self, hook: F) -> Self
    where
        F: Fn(crate::store::faults::Step, &Path) -> Option<crate::store::faults::Fault>
            + Send
            + Sync
            + 'static,
    {
        self.set(|files| files.set(|shared| shared.set_faults(std::sync::Arc::new(hook))))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.engine.cache().shared.dir()
    }

    /// Sees and steers the cache: invalidation, freshness, statistics.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// What was done to the files.
    #[must_use]
    pub fn disk_stats(&self) -> DiskStats {
        self.engine.cache().stats()
    }

    fn set(self, change: impl FnOnce(&mut DiskBackend)) -> Self {
        Self {
            engine: self.engine.with_cache(change),
        }
    }
}

impl<S> Layer<S> for DiskDiscoveryLayer {
    type Service = DiskDiscovery<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.engine.service(inner)
    }
}

impl fmt::Debug for DiskDiscoveryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskDiscoveryLayer")
            .field("engine", &self.engine)
            .finish()
    }
}
