use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use discovery_core::engine::{Configured, DiscoveryService, Engine, Handle, Options, Settings};
use discovery_core::http::uri::{NameError, server_directory};
use discovery_core::sync::clock::Clock;
use http::Uri;
use tower_layer::Layer;

use super::settings::DiskSettings;
use super::{DiskBackend, DiskStats};

/// Keeps discovery answers in kubectl's files.
///
/// It answers `/api`, `/apis`, `/apis/<group>` and the resource lists from the
/// [files](super), and fills them; the [engine](discovery_core::engine) tells how. It stands for
/// client-go's `CachedDiscoveryClient`, with two differences: it asks only for what is missing, and
/// nothing that it finds in the directory makes it fail.
///
/// All services of a layer and of its clones share one state.
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
#[derive(Clone, Debug)]
pub struct DiskDiscoveryLayer {
    configured: Configured<DiskSettings>,
}

/// An HTTP service behind a [`DiskDiscoveryLayer`].
pub type DiskDiscovery<S> = DiscoveryService<S, DiskBackend>;

impl DiskDiscoveryLayer {
    /// Makes a layer over the files in `dir`, the directory of one server, for a server without a base path.
    /// [`for_server`](Self::for_server) finds kubectl's directory.
    ///
    /// Nothing is made until there is something to write.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_dir(Some(dir.into()))
    }

    /// Makes a layer over kubectl's files for the server at `address`: those in `<root>/discovery/`, in the
    /// directory that [`server_directory`] derives from the address. kubectl's own root is `~/.kube/cache`.
    ///
    /// ```
    /// use discovery_disk::DiskDiscoveryLayer;
    ///
    /// let layer = DiskDiscoveryLayer::for_server("cache", &"https://10.0.0.1:6443".parse()?)?;
    /// assert_eq!(layer.dir(), Some("cache/discovery/10.0.0.1_6443".as_ref()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the address gives no name for a directory, or one that leads out of `root`.
    pub fn for_server(root: impl AsRef<Path>, address: &Uri) -> Result<Self, NameError> {
        let name = server_directory(&address.to_string())?;
        let dir = root.as_ref().join("discovery").join(name);
        Ok(Self::new(dir).server(address))
    }

    /// Makes a layer without a directory, for a server whose address gives no safe name for one: answers are
    /// kept in memory, for the same time.
    ///
    /// ```
    /// assert_eq!(discovery_disk::DiskDiscoveryLayer::without_files().dir(), None);
    /// ```
    #[must_use]
    pub fn without_files() -> Self {
        Self::with_dir(None)
    }

    fn with_dir(dir: Option<PathBuf>) -> Self {
        Self {
            configured: Configured::new(DiskSettings::new(dir)),
        }
    }

    /// Sets how long a file counts after its modification time: six hours unless set, as in kubectl.
    /// [`Duration::MAX`] is for ever.
    ///
    /// As all setters, it gives the layer a state of its own, over the same files. Clones, services and handles
    /// that were made before keep theirs.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|settings| settings.ttl = ttl)
    }

    /// Sets the clock: the system's unless set.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|settings| settings.clock = Arc::new(clock))
    }

    /// Chooses whether a list without a file is asked for alone. Off unless set.
    ///
    /// kubectl takes each list from the aggregated answers for `/api` and `/apis`, and so does this layer, unless the
    /// server is known to have none: the files get kubectl's bytes, and the next request for another list is a hit. A
    /// program that needs few of many lists, and does not share its files, gets them at less cost alone. They are
    /// other documents then: with `storageVersionHash`, and in another order.
    #[must_use]
    pub fn single_lists(self, single: bool) -> Self {
        self.set(|settings| settings.single_lists = single)
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
        self.set(|settings| settings.faults = Some(Arc::new(hook)))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.configured.settings().dir.as_deref()
    }

    /// A handle, which sees and steers the cache: invalidation, freshness, counts.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.configured.engine().handle()
    }

    /// The counts of reads and writes of the files.
    #[must_use]
    pub fn disk_stats(&self) -> DiskStats {
        self.configured.engine().cache().stats()
    }

    fn set(self, change: impl FnOnce(&mut DiskSettings)) -> Self {
        Self {
            configured: self.configured.set(change),
        }
    }

    fn set_option(self, change: impl FnOnce(Options) -> Options) -> Self {
        self.set(|settings| settings.options = change(settings.options.clone()))
    }
}

impl Settings for DiskSettings {
    type Cache = DiskBackend;

    fn engine(&self) -> Engine<DiskBackend> {
        Engine::new(DiskBackend::new(self), self.options.clone())
    }
}

impl<S> Layer<S> for DiskDiscoveryLayer {
    type Service = DiskDiscovery<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.configured.engine().service(inner)
    }
}
