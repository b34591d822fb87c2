//! The stack for one run.

use std::env;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use discovery_client::request_defaults::RequestDefaults;
use discovery_client::retry::RetryAfter;
use discovery_client::{DiscoveryClient, Handles, HttpService, Stack};
use discovery_core::store::Store;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskDiscovery, KubectlStore};
use discovery_memory::MemoryDiscovery;
use embedded_apiserver::EmbeddedServer;
use http::header::USER_AGENT;
use http::{HeaderValue, Uri};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower_http::set_header::{SetRequestHeader, SetRequestHeaderLayer};

use crate::args::{EMBEDDED_PORT, Global};
use crate::counted::{Counted, Written};
use crate::errors::Fatal;
use crate::kubeconfig::home;
use crate::server::Server;
use crate::transport::Transport;

const AGENT: &str = concat!("kubectl-discovery/", env!("CARGO_PKG_VERSION"));

/// kubectl's limit for a discovery answer, unless another is given.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(32);

/// kubectl's stack over our transport.
type Service = DiskDiscovery<
    MemoryDiscovery<
        RequestDefaults<RetryAfter<SetRequestHeader<HttpService<Transport>, HeaderValue>>>,
    >,
>;

/// The client of one run, and the layers below it.
pub(crate) struct Session {
    pub(crate) client: DiscoveryClient<Service, Full<Bytes>>,
    /// The service of the client, for requests of other kinds.
    pub(crate) service: Service,
    /// The directory of the caches.
    pub(crate) root: PathBuf,
    /// The server's address, as the names of its files are made of it.
    pub(crate) address: String,
    pub(crate) handles: Handles,
    /// Counts the writes to the HTTP cache.
    pub(crate) http_written: Arc<Written>,
    pub(crate) transport: Transport,
    /// The server's address, a URL by now.
    pub(crate) url: Uri,
    /// The timeout of a request, if the user has set one.
    pub(crate) timeout: Option<Duration>,
    offline: bool,
    runtime: Runtime,
    /// Stops when this is dropped.
    _embedded: Option<EmbeddedServer>,
}

impl Session {
    /// Reads the configuration and puts the stack together. Sends nothing.
    pub(crate) fn start(flags: Global) -> Result<Self, Fatal> {
        let embedded = flags.embedded.then(|| embedded(&flags)).transpose()?;
        let server = match &embedded {
            Some(embedded) => Server::open(embedded.url()),
            None => Server::configured(&flags)?,
        };
        let (address, name) = (server.url()?, server.name()?);
        let url = server.uri()?;
        let root = cache_root(flags.cache_dir);
        let trusts = flags.trust_cache_dir;
        let store_options = DiskStoreOptions::new().trust_any_owner(trusts);
        let http_written = Arc::<Written>::default();
        let http_store = flags.http_cache.then(|| {
            let store = KubectlStore::with_options(root.join("http"), store_options.clone());
            Arc::new(Counted::new(store, Arc::clone(&http_written))) as Arc<dyn Store>
        });
        let mut stack = Stack::new(&address, &root)
            .map_err(|_| Server::no_url(&address))?
            .named(&name)
            // Files of any age count, where there is nothing else.
            .ttl(if flags.offline {
                Duration::MAX
            } else {
                flags.cache_ttl
            })
            .files(move |layer| layer.trust_any_owner(trusts))
            .http_store(http_store);
        let timeout = Some(flags.request_timeout).filter(|timeout| !timeout.is_zero());
        if let Some(timeout) = timeout {
            stack = stack.timeout(timeout);
        }

        let records = flags
            .offline
            .then(|| KubectlStore::with_options(root.join("http"), store_options));
        let transport = Transport::new(server, url.clone(), records);
        let bounded = transport.limit(Some(timeout.unwrap_or(DISCOVERY_TIMEOUT)));
        let (service, handles) = stack.kubectl_with(&agent(), bounded);
        // Files, sockets and timers, all on this thread.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Fatal::new)?;
        survive_file_limits(&runtime);
        Ok(Self {
            client: DiscoveryClient::new(service.clone()).server(&url),
            service,
            root,
            address: name,
            handles,
            http_written,
            transport,
            url,
            timeout,
            offline: flags.offline,
            runtime,
            _embedded: embedded,
        })
    }

    /// The caches forget what they know, unless nothing else can be had.
    pub(crate) fn forget(&self) {
        if !self.offline {
            self.client.invalidate();
        }
    }

    /// Ends the run. Where nothing was sent, nothing is under way, and the operating system takes the
    /// memory back faster than we can.
    pub(crate) fn end(self) {
        if self.transport.sent().requests == 0 {
            std::mem::forget(self);
        }
    }

    /// Waits for what needs the stack.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// A write beyond the limit for files (`ulimit -f`) fails then, and ends the program no more.
fn survive_file_limits(runtime: &Runtime) {
    #[cfg(target_os = "linux")]
    {
        const SIGXFSZ: i32 = 25;
        let _inside = runtime.enter();
        let kind = tokio::signal::unix::SignalKind::from_raw(SIGXFSZ);
        // Once it is there, the handler stays.
        if let Err(error) = tokio::signal::unix::signal(kind) {
            tracing::debug!(%error, "the limit for files may end the program");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = runtime;
}

/// Sets our User-Agent.
pub(crate) fn agent() -> SetRequestHeaderLayer<HeaderValue> {
    SetRequestHeaderLayer::overriding(USER_AGENT, HeaderValue::from_static(AGENT))
}

fn embedded(flags: &Global) -> Result<EmbeddedServer, Fatal> {
    let mut builder = EmbeddedServer::builder();
    if let Some(count) = flags.crds {
        builder = builder.crds(count);
    }
    if let Some(count) = flags.groups {
        builder = builder.custom_groups(count);
    }
    if let Some(port) = flags.embedded_port {
        builder = builder.port(port);
        return builder
            .start_in_thread()
            .map_err(|error| not_started(&error));
    }
    let started = match builder.clone().port(EMBEDDED_PORT).start_in_thread() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => builder.start_in_thread(),
        started => started,
    };
    started.map_err(|error| not_started(&error))
}

fn not_started(error: &io::Error) -> Fatal {
    Fatal::new(format_args!("can't start the embedded server: {error}"))
}

/// The directory of kubectl's caches.
pub(crate) fn cache_root(flag: Option<PathBuf>) -> PathBuf {
    let given = |dir: &PathBuf| !dir.as_os_str().is_empty();
    flag.filter(given)
        .or_else(|| env::var_os("KUBECACHEDIR").map(PathBuf::from).filter(given))
        .unwrap_or_else(|| home().join(".kube/cache"))
}
