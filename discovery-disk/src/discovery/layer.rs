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
    /// The name of the [state directory](Self::state_dir) below a cache's root: `discovery-state`.
    pub const STATE: &str = "discovery-state";

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
        let root = root.as_ref();
        let layer = Self::new(root.join("discovery").join(name));
        Ok(layer.state_dir(root.join(Self::STATE)).server(address))
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

    /// Keeps the files of this identity apart from those of others, in a directory beside the server's that has `~` and a
    /// sum of the identity behind its name. kubectl does not find them.
    ///
    /// An identity is whatever tells two users or two clusters apart that have one address: the user's name, the cluster's
    /// CA, the TLS server name. The sum does not tell it.
    ///
    /// ```
    /// use discovery_disk::DiskDiscoveryLayer;
    ///
    /// let layer = DiskDiscoveryLayer::for_server("cache", &"https://proxy:6443".parse()?)?;
    /// let (one, other) = (layer.clone().partition("one"), layer.clone().partition("other"));
    /// assert_ne!(one.dir(), other.dir());
    /// assert_ne!(one.dir(), layer.dir());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn partition(self, identity: impl AsRef<[u8]>) -> Self {
        self.set(|settings| {
            settings.dir = settings
                .dir
                .take()
                .map(|dir| crate::partition(&dir, identity.as_ref()));
        })
    }

    /// Chooses whether expired or invalidated files are told when the server gives no answer (none at all, a broken one
    /// or one that is no discovery document, 429 or 5xx). Off unless set, as in kubectl.
    ///
    /// Such an answer says so: [`ParsedAnswer::last_good`] is set, and with it that of
    /// [`Discovered::origin`](discovery_core::Discovered::origin); other callers see it in the response's `Cache-Status`
    /// (RFC 9211).
    ///
    /// [`ParsedAnswer::last_good`]: discovery_core::engine::ParsedAnswer::last_good
    #[must_use]
    pub fn keep_last_good(self, keep: bool) -> Self {
        self.set(|settings| settings.keep_last_good = keep)
    }

    /// Sets for how long after its time to live a file is told while it is fetched anew in the background, once for all
    /// callers: not at all unless set. `stale-while-revalidate` in terms of RFC 5861.
    ///
    /// Such an answer says so in [`ParsedAnswer::stale`](discovery_core::engine::ParsedAnswer::stale) and in the response's
    /// `Cache-Status`. The background is Tokio's: without a runtime, the caller waits for the server as ever.
    #[must_use]
    pub fn stale_while_revalidate(self, time: Duration) -> Self {
        self.set(|settings| settings.stale_while_revalidate = time)
    }

    /// Sets for how long the answer for a group version that has no resources, or whose server gives none (4xx and 5xx but
    /// 401, 403, 407, 408 and 429), is told again: not at all unless set. A 5xx is kept when it comes twice.
    ///
    /// kubectl asks for these at each run. They are kept in the [state directory](Self::state_dir), where kubectl does not
    /// look; without one they are not.
    #[must_use]
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        self.set(|settings| settings.negative_ttl = ttl)
    }

    /// Sets the directory for what kubectl does not have: locks and negative entries. In
    /// [`for_server`](Self::for_server) it is `<root>/discovery-state`; [`new`](Self::new) has none. Servers may share it.
    ///
    /// A server's lock is `locks/<server>`, which is there while it is held, and its negative entries are
    /// `negative/<server>/<group version>`. Both names are [escaped](crate::store::EscapedNames); a server's is the way to
    /// its directory from the one that the state directory is in, such as `discovery%2f10.0.0.1_6443`.
    #[must_use]
    pub fn state_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.set(|settings| settings.state_dir = Some(dir.into()))
    }

    /// Sets how long a process waits for another one that asks the same server for all groups, so that of twenty that
    /// start with nothing only one asks: 10 s unless set. Zero waits for nobody.
    ///
    /// This needs a [state directory](Self::state_dir) and a file system with locks, and is left out otherwise. A process
    /// that was told to [invalidate](Handle::invalidate) what it knows waits for none. The lock ends with its process.
    #[must_use]
    pub fn max_lock_wait(self, wait: Duration) -> Self {
        self.set(|settings| settings.max_lock_wait = wait)
    }

    /// Sets whether the directory is used whoever owns it, and whoever may write to it: not unless set, because whoever can
    /// put a file there decides what a program believes. [`DiskStoreOptions::trust_any_owner`] tells more.
    ///
    /// [`DiskStoreOptions::trust_any_owner`]: crate::store::DiskStoreOptions::trust_any_owner
    #[must_use]
    pub fn trust_any_owner(self, trust: bool) -> Self {
        self.set(|settings| settings.trust_any_owner = trust)
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
