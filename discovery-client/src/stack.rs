use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use discovery_core::engine::Handle;
use discovery_core::http::uri;
use discovery_core::store::{NoStore, Store};
use discovery_core::{BoxError, Endpoint};
use discovery_disk::{DiskDiscovery, DiskDiscoveryLayer, KubectlStore};
use discovery_http_cache::HttpCacheLayer;
use discovery_memory::{MemoryDiscovery, MemoryDiscoveryLayer};
use http::{Uri, request};
use tower_layer::{Identity, Layer};

use crate::openapi;
use crate::request_defaults::{RequestDefaults, RequestDefaultsLayer, TIMEOUT};
use crate::retry::{RetryAfter, RetryAfterLayer};

/// The HTTP cache of a stack, over a transport.
pub type HttpService<T> = <HttpCacheLayer<Arc<dyn Store>> as Layer<T>>::Service;

/// kubectl's stack over a transport: see [`Stack::kubectl`].
pub type KubectlService<T> =
    DiskDiscovery<MemoryDiscovery<RequestDefaults<RetryAfter<HttpService<T>>>>>;

/// The stack for programs that run long: see [`Stack::long_lived`].
pub type LongLivedService<T> =
    MemoryDiscovery<DiskDiscovery<RequestDefaults<RetryAfter<HttpService<T>>>>>;

/// Puts the layers around a transport, in the order that kubectl has them or in another.
///
/// The HTTP cache looks at requests for discovery, OpenAPI and the version, and at nothing else:
/// kube-apiserver marks every answer `no-cache, private`, which a private cache may store, Secrets
/// included.
///
/// ```
/// use bytes::Bytes;
/// use discovery_client::{DiscoveryClient, Stack};
/// use http::{Request, Response};
/// use http_body_util::Full;
///
/// # tokio_test::block_on(async {
/// # let root = tempfile::tempdir()?;
/// let transport = tower::service_fn(|request: Request<Full<Bytes>>| async move {
///     let json = match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
///         "/apis" => r#"{"kind":"APIGroupList","groups":[]}"#,
///         _ => r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods"}]}"#,
///     };
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(json)))
/// });
/// let (service, handles) = Stack::new("https://10.0.0.1:6443", root.path())?.kubectl(transport);
/// let client = DiscoveryClient::new(service);
/// client.discover().await?;
/// assert_eq!(handles.files.disk_stats().files_written, 2);
/// assert!(root.path().join("discovery/10.0.0.1_6443/servergroups.json").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use]
pub struct Stack {
    server: Uri,
    root: PathBuf,
    discovery_dir: Result<PathBuf, String>,
    http_store: Option<Arc<dyn Store>>,
    files: Arc<dyn Fn(DiskDiscoveryLayer) -> DiskDiscoveryLayer + Send + Sync>,
    ttl: Option<Duration>,
    timeout: Option<Duration>,
    max_body_size: Option<u64>,
    retry: RetryAfterLayer,
}

/// Sees and steers the layers of a stack.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handles {
    /// The disk cache.
    pub disk: Handle,
    /// The memory cache.
    pub memory: Handle,
    /// The HTTP cache.
    pub http: discovery_http_cache::Handle,
    /// The disk cache's layer, which tells what was done to the files.
    pub files: DiskDiscoveryLayer,
}

/// A server address that is none. Its text leaves out a part that may be a password.
///
/// ```
/// let error = discovery_client::Stack::new("https://[", "cache").unwrap_err();
/// assert_eq!(error.to_string(), r#"not a server address: "https://[""#);
/// ```
#[derive(Debug)]
pub struct StackError {
    server: String,
    source: Option<BoxError>,
}

/// The directory of a server's discovery files, or why its address has no name for one.
fn directory(root: &Path, server: &str) -> Result<PathBuf, String> {
    uri::server_directory(server)
        .map(|name| root.join("discovery").join(name))
        .map_err(|error| error.to_string())
}

impl Stack {
    /// For the server at that address, as it stands in a kubeconfig, with the caches in kubectl's
    /// directories below `root` (kubectl's own is `~/.kube/cache`).
    ///
    /// An address that would lead out of `root` gets no discovery files: answers are kept in memory
    /// then, and a warning says so.
    ///
    /// # Errors
    ///
    /// When the address is no absolute `http` or `https` URL, or has an
    /// [invalid port](uri::InvalidPort) or an [invalid escape](uri::InvalidEscape). One without scheme means `http`, as in
    /// kubectl.
    pub fn new(server: &str, root: impl AsRef<Path>) -> Result<Self, StackError> {
        let error = |source| StackError {
            server: uri::without_user_info(server).into_owned(),
            source,
        };
        let text = if server.contains("://") {
            server.into()
        } else {
            format!("http://{server}")
        };
        let uri: Uri = uri::server_url(&text)
            .map_err(|source| error(Some(source.into())))?
            .parse()
            .map_err(|source: http::uri::InvalidUri| error(Some(source.into())))?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || uri.host().is_none_or(str::is_empty)
        {
            return Err(error(None));
        }
        uri::port(&uri).map_err(|source| error(Some(source.into())))?;
        let root = root.as_ref();
        let discovery_dir = directory(root, server);
        Ok(Self {
            server: uri,
            root: root.to_owned(),
            discovery_dir,
            files: Arc::new(|layer| layer),
            http_store: Some(Arc::new(KubectlStore::new(root.join("http")))),
            ttl: None,
            timeout: None,
            max_body_size: None,
            retry: RetryAfterLayer::new(),
        })
    }

    /// Names the directory of the discovery files by another spelling of the server's address: for a client that connects
    /// to another one than stands in its kubeconfig, by which kubectl names it.
    ///
    /// ```
    /// # let root = tempfile::tempdir()?;
    /// let stack = discovery_client::Stack::new("http://localhost:8080", root.path())?.named("http://:8080");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named(mut self, server: &str) -> Self {
        self.discovery_dir = directory(&self.root, server);
        self
    }

    /// Sets the store of the HTTP cache: in kubectl's directory unless set. `None` leaves the
    /// HTTP cache out.
    pub fn http_store(mut self, store: Option<Arc<dyn Store>>) -> Self {
        self.http_store = store;
        self
    }

    /// Sets options of the discovery files' layer, for which the stack has no names of its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let root = tempfile::tempdir()?;
    /// let stack = discovery_client::Stack::new("https://10.0.0.1:6443", root.path())?.files(|layer| {
    ///     let layer = layer.keep_last_good(true).negative_ttl(Duration::from_secs(600));
    ///     layer.stale_while_revalidate(Duration::from_secs(3600))
    /// });
    /// # let _ = stack;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn files(
        mut self,
        set: impl Fn(DiskDiscoveryLayer) -> DiskDiscoveryLayer + Send + Sync + 'static,
    ) -> Self {
        self.files = Arc::new(set);
        self
    }

    /// Keeps the caches of this identity apart from those of others, in directories beside kubectl's that kubectl does not
    /// know: the discovery files as [`DiskDiscoveryLayer::partition`] tells, and the HTTP cache in kubectl's place, whatever
    /// [store](Self::http_store) was set before. An identity is whatever tells two users, or two clusters behind one
    /// address, apart.
    ///
    /// ```
    /// let root = tempfile::tempdir()?;
    /// let stack = discovery_client::Stack::new("https://10.0.0.1:6443", root.path())?.partition("alice");
    /// # let _ = stack;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn partition(mut self, identity: impl AsRef<[u8]>) -> Self {
        let identity: Arc<[u8]> = identity.as_ref().into();
        let store = KubectlStore::new(discovery_disk::partition(
            &self.root.join("http"),
            &identity,
        ));
        self.http_store = Some(Arc::new(store));
        let set = self.files;
        self.files = Arc::new(move |layer| set(layer.partition(&identity)));
        self
    }

    /// Sets how long discovery files count: six hours unless set.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The timeout that the server is told, and in which a request has to be done with all its
    /// repeats: 32 s unless set. Zero tells none, and means none. See [`RequestDefaultsLayer::timeout`] and
    /// [`RetryAfterLayer::deadline`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The largest answer that the discovery caches read and keep, in bytes: 64 MiB unless set.
    /// Larger ones pass through to the caller, who has a limit of its own:
    /// [`DiscoveryClient::max_body_size`](crate::DiscoveryClient::max_body_size).
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.max_body_size = Some(bytes);
        self
    }

    /// Sets the requests that are repeated when the server asks for it: as kubectl does unless set. Without a deadline
    /// of its own, the [timeout](Self::timeout) is its deadline.
    pub fn retry(mut self, retry: RetryAfterLayer) -> Self {
        self.retry = retry;
        self
    }

    /// kubectl's order, for programs that end soon. Outermost first: discovery files, memory,
    /// request shaping, retries, HTTP cache, transport.
    ///
    /// The transport adds what requests need beyond that (User-Agent, credentials), and decodes
    /// compressed answers: kubectl keeps them decoded.
    pub fn kubectl<T>(self, transport: T) -> (KubectlService<T>, Handles) {
        self.kubectl_with(&Identity::new(), transport)
    }

    /// As [`kubectl`](Self::kubectl), with a layer for User-Agent and credentials where kubectl has
    /// it: outside the HTTP cache.
    #[expect(
        clippy::type_complexity,
        reason = "the order of the layers is what this tells"
    )]
    pub fn kubectl_with<T, A: Layer<HttpService<T>>>(
        self,
        auth: &A,
        transport: T,
    ) -> (
        DiskDiscovery<MemoryDiscovery<RequestDefaults<RetryAfter<A::Service>>>>,
        Handles,
    ) {
        let layers = self.layers();
        let service = layers.kubectl(auth, transport);
        (service, layers.handles)
    }

    /// For programs that run long: as [`kubectl`](Self::kubectl), but memory is outermost, so that
    /// hits are pointer loads and files are read once.
    pub fn long_lived<T>(self, transport: T) -> (LongLivedService<T>, Handles) {
        self.long_lived_with(&Identity::new(), transport)
    }

    /// As [`long_lived`](Self::long_lived), with a layer for User-Agent and credentials, as
    /// [`kubectl_with`](Self::kubectl_with) has it.
    #[expect(
        clippy::type_complexity,
        reason = "the order of the layers is what this tells"
    )]
    pub fn long_lived_with<T, A: Layer<HttpService<T>>>(
        self,
        auth: &A,
        transport: T,
    ) -> (
        MemoryDiscovery<DiskDiscovery<RequestDefaults<RetryAfter<A::Service>>>>,
        Handles,
    ) {
        let layers = self.layers();
        let service = layers.long_lived(auth, transport);
        (service, layers.handles)
    }

    /// [`kubectl`](Self::kubectl)'s order as a layer, with the handles of its caches. All services that the layer makes
    /// share them.
    pub fn kubectl_layer(self) -> (KubectlLayer, Handles) {
        let layers = self.layers();
        let handles = layers.handles.clone();
        (KubectlLayer(layers), handles)
    }

    /// [`long_lived`](Self::long_lived)'s order as a layer, with the handles of its caches. All services that the layer
    /// makes share them.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use discovery_client::Stack;
    /// use http_body_util::Full;
    /// use tower::ServiceBuilder;
    ///
    /// # let root = tempfile::tempdir()?;
    /// let (discovery, handles) = Stack::new("https://10.0.0.1:6443", root.path())?.long_lived_layer();
    /// let service = ServiceBuilder::new().layer(discovery).service(tower::service_fn(
    ///     |_: http::Request<Full<Bytes>>| async { Ok::<_, std::io::Error>(http::Response::new(Full::<Bytes>::default())) },
    /// ));
    /// handles.memory.invalidate();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn long_lived_layer(self) -> (LongLivedLayer, Handles) {
        let layers = self.layers();
        let handles = layers.handles.clone();
        (LongLivedLayer(layers), handles)
    }

    fn layers(&self) -> Layers {
        let mut files = match &self.discovery_dir {
            Ok(dir) => {
                DiskDiscoveryLayer::new(dir).state_dir(self.root.join(DiskDiscoveryLayer::STATE))
            }
            Err(error) => {
                tracing::warn!(%error, "no discovery files for this server");
                DiskDiscoveryLayer::without_files()
            }
        };
        if let Some(ttl) = self.ttl {
            files = files.ttl(ttl);
        }
        files = (self.files)(files.server(&self.server));
        let mut memory = MemoryDiscoveryLayer::new().server(&self.server);
        if let Some(bytes) = self.max_body_size {
            files = files.max_body_size(bytes);
            memory = memory.max_body_size(bytes);
        }
        let mut defaults = RequestDefaultsLayer::new(&self.server);
        if let Some(timeout) = self.timeout {
            defaults = defaults.timeout(timeout);
        }
        let mut retry = self.retry.clone();
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        if !timeout.is_zero() {
            retry = retry.or_deadline(timeout);
        }
        let enabled = self.http_store.is_some();
        let store = self.http_store.clone().unwrap_or_else(|| Arc::new(NoStore));
        let base = self.server.path().trim_end_matches('/').to_owned();
        let http = HttpCacheLayer::new(store)
            .kubectl()
            .keep_latest_of(openapi::without_hash)
            .cacheable(move |request: &request::Parts| {
                enabled && Endpoint::parse(request.uri.path(), &base).is_some()
            });
        let handles = Handles {
            disk: files.handle(),
            memory: memory.handle(),
            http: http.handle(),
            files,
        };
        Layers {
            memory,
            defaults,
            retry,
            http,
            handles,
        }
    }
}

/// [`Stack::kubectl`]'s order, as a layer.
#[derive(Clone)]
pub struct KubectlLayer(Layers);

/// [`Stack::long_lived`]'s order, as a layer.
#[derive(Clone)]
pub struct LongLivedLayer(Layers);

impl<T> Layer<T> for KubectlLayer {
    type Service = KubectlService<T>;

    fn layer(&self, transport: T) -> KubectlService<T> {
        self.0.kubectl(&Identity::new(), transport)
    }
}

impl<T> Layer<T> for LongLivedLayer {
    type Service = LongLivedService<T>;

    fn layer(&self, transport: T) -> LongLivedService<T> {
        self.0.long_lived(&Identity::new(), transport)
    }
}

impl fmt::Debug for KubectlLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubectlLayer")
            .field("handles", &self.0.handles)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LongLivedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongLivedLayer")
            .field("handles", &self.0.handles)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Layers {
    memory: MemoryDiscoveryLayer,
    defaults: RequestDefaultsLayer,
    retry: RetryAfterLayer,
    http: HttpCacheLayer<Arc<dyn Store>>,
    handles: Handles,
}

impl Layers {
    fn kubectl<T, A: Layer<HttpService<T>>>(
        &self,
        auth: &A,
        transport: T,
    ) -> DiskDiscovery<MemoryDiscovery<RequestDefaults<RetryAfter<A::Service>>>> {
        let inner = self.memory.layer(self.inner(auth, transport));
        self.handles.files.layer(inner)
    }

    fn long_lived<T, A: Layer<HttpService<T>>>(
        &self,
        auth: &A,
        transport: T,
    ) -> MemoryDiscovery<DiskDiscovery<RequestDefaults<RetryAfter<A::Service>>>> {
        let inner = self.handles.files.layer(self.inner(auth, transport));
        self.memory.layer(inner)
    }

    /// All that is below the discovery caches.
    fn inner<T, A: Layer<HttpService<T>>>(
        &self,
        auth: &A,
        transport: T,
    ) -> RequestDefaults<RetryAfter<A::Service>> {
        let authenticated = auth.layer(self.http.layer(transport));
        self.defaults.layer(self.retry.layer(authenticated))
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("discovery_dir", &self.discovery_dir.as_ref().ok())
            .field("http_cache", &self.http_store.is_some())
            .field("ttl", &self.ttl)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a server address: {:?}", self.server)
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
