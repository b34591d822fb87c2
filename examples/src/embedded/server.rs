//! Starting and stopping.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use base64::Engine as _;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::{
    control::{Control, Switches},
    log::{Counters, Entry},
    model::Group,
    serve,
    site::Site,
    state::State,
    table,
    tls::Identity,
};

/// How a server is to be; see [`EmbeddedServer::builder`].
///
/// ```
/// use discovery_examples::embedded::EmbeddedServer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let old = EmbeddedServer::builder().custom_groups(300).legacy_only(true).start().await?;
/// let upgraded = old.successor().legacy_only(false);
/// let address = old.addr();
/// old.shutdown().await;
/// assert_eq!(upgraded.start().await?.addr(), address);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    custom: Custom,
    extra: Vec<Group>,
    bare: bool,
    tls: bool,
    identity: Option<Identity>,
    token: Option<String>,
    base: String,
    port: u16,
    seed: u64,
    legacy_only: bool,
    v2beta1: bool,
    vary_authorization: bool,
    latency: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
enum Custom {
    #[default]
    None,
    Crds(usize),
    Groups(usize),
}

impl Builder {
    /// Serves `count` synthetic custom resource definitions beside the stock API, five to a group;
    /// every third group has `v1beta1` beside `v1`.
    pub fn crds(mut self, count: usize) -> Self {
        self.custom = Custom::Crds(count);
        self
    }

    /// Serves `count` synthetic groups with one custom resource each; every third group has
    /// `v1beta1` beside `v1`.
    pub fn custom_groups(mut self, count: usize) -> Self {
        self.custom = Custom::Groups(count);
        self
    }

    /// Serves this group as well.
    pub fn group(mut self, group: Group) -> Self {
        self.extra.push(group);
        self
    }

    /// Leaves the stock API out.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Speaks TLS, with HTTP/2 and HTTP/1.1 by ALPN, instead of plain HTTP/1.1 and HTTP/2 with
    /// prior knowledge.
    pub fn tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// Speaks TLS with this identity instead of a new one.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self.tls(true)
    }

    /// Asks for this bearer token: 401 for another, 403 for none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Serves everything below this path, as a proxy in front of several clusters does:
    /// `/k8s/clusters/c-1`.
    pub fn base_path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        self.base = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        self
    }

    /// Listens on this port of `127.0.0.1` instead of any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Decides the order of custom resources in legacy documents, which in real servers differs
    /// from start to start.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts with [`Control::set_legacy_only`].
    pub fn legacy_only(mut self, on: bool) -> Self {
        self.legacy_only = on;
        self
    }

    /// Starts with [`Control::set_v2beta1`].
    pub fn v2beta1(mut self, on: bool) -> Self {
        self.v2beta1 = on;
        self
    }

    /// Starts with [`Control::set_vary_authorization`].
    pub fn vary_authorization(mut self, on: bool) -> Self {
        self.vary_authorization = on;
        self
    }

    /// Starts with [`Control::set_latency`].
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Starts the server on the current Tokio runtime, of either flavour.
    ///
    /// # Errors
    ///
    /// When the port is taken or the TLS identity cannot be made.
    pub async fn start(self) -> io::Result<EmbeddedServer> {
        let prepared = self.prepare()?;
        let listener = tokio::net::TcpListener::from_std(prepared.listener)?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&prepared.control.state);
        let task = tokio::spawn(serve::accept(listener, prepared.acceptor, state, stopped));
        Ok(EmbeddedServer {
            control: prepared.control,
            builder: prepared.builder,
            stop: Some(stop),
            runner: Some(Runner::Task(task)),
        })
    }

    /// Starts the server on a thread and a runtime of its own: for callers without a runtime, and
    /// for those that block theirs, for instance while another program runs.
    ///
    /// # Errors
    ///
    /// When the port is taken, or when the TLS identity, the thread or the runtime cannot be made.
    pub fn start_in_thread(self) -> io::Result<EmbeddedServer> {
        let prepared = self.prepare()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&prepared.control.state);
        let (std_listener, acceptor) = (prepared.listener, prepared.acceptor);
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(std_listener)?
        };
        let thread = thread::Builder::new()
            .name("embedded-api-server".to_owned())
            .spawn(move || runtime.block_on(serve::accept(listener, acceptor, state, stopped)))?;
        Ok(EmbeddedServer {
            control: prepared.control,
            builder: prepared.builder,
            stop: Some(stop),
            runner: Some(Runner::Thread(thread)),
        })
    }

    fn prepare(mut self) -> io::Result<Prepared> {
        let mut groups = if self.bare {
            Vec::new()
        } else {
            table::stock()
        };
        groups.extend(match self.custom {
            Custom::None => Vec::new(),
            Custom::Crds(count) => table::crds(count),
            Custom::Groups(count) => table::groups(count),
        });
        groups.extend(self.extra.iter().cloned());

        if self.tls && self.identity.is_none() {
            self.identity = Some(Identity::generate()?);
        }
        let acceptor = self
            .identity
            .as_ref()
            .filter(|_| self.tls)
            .map(|identity| TlsAcceptor::from(Arc::clone(&identity.config)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        self.port = address.port();

        let state = State::new(
            Site::new(groups),
            Switches::default(),
            address,
            self.base.clone(),
            self.token.clone(),
            self.seed,
        );
        let control = Control {
            state: Arc::new(state),
        };
        control.set_v2beta1(self.v2beta1);
        if self.legacy_only {
            control.set_legacy_only(true);
        }
        control.set_vary_authorization(self.vary_authorization);
        control.set_latency(self.latency);
        Ok(Prepared {
            listener,
            acceptor,
            control,
            builder: self,
        })
    }
}

struct Prepared {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    control: Control,
    builder: Builder,
}

/// A running server. It stops when this is dropped.
///
/// ```
/// use std::{
///     io::{Read as _, Write as _},
///     net::TcpStream,
/// };
///
/// use discovery_examples::embedded::EmbeddedServer;
///
/// # fn main() -> std::io::Result<()> {
/// let server = EmbeddedServer::builder().start_in_thread()?;
/// let mut client = TcpStream::connect(server.addr())?;
/// client.write_all(b"GET /apis/apps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.ends_with("\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}\n"));
/// assert_eq!(server.log()[0].path, "/apis/apps");
/// # Ok(())
/// # }
/// ```
pub struct EmbeddedServer {
    control: Control,
    /// With the port and the identity filled in.
    builder: Builder,
    stop: Option<oneshot::Sender<()>>,
    runner: Option<Runner>,
}

enum Runner {
    Task(JoinHandle<()>),
    Thread(thread::JoinHandle<()>),
}

impl EmbeddedServer {
    /// A server with the stock API, plain HTTP, no token, on any free port of `127.0.0.1`, unless
    /// told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL to reach it by, the base path included, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.builder.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.addr(), self.builder.base)
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.control.state.address
    }

    /// The certificate of the authority that clients must trust, as PEM, if it speaks TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.identity().map(Identity::ca_pem)
    }

    /// What it shows over TLS, if it speaks TLS.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.builder.identity.as_ref().filter(|_| self.builder.tls)
    }

    /// A kubeconfig that points to it, with the authority and the token.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let authority = self.ca_pem().map_or_else(String::new, |pem| {
            let data = base64::engine::general_purpose::STANDARD.encode(pem);
            format!("\n    certificate-authority-data: {data}")
        });
        let user = match &self.builder.token {
            // A double-quoted YAML scalar takes what a JSON string takes.
            Some(token) => {
                let mut user = String::from("\n    token: ");
                super::json::string(&mut user, token);
                user
            }
            None => " {}".to_owned(),
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: embedded\n\
             clusters:\n- name: embedded\n  cluster:\n    server: {url}{authority}\n\
             users:\n- name: embedded\n  user:{user}\n\
             contexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: embedded\n",
            url = self.url(),
        )
    }

    /// Writes [`kubeconfig`](Self::kubeconfig) to a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.kubeconfig())
    }

    /// The switches, the data and the log.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The requests so far; the same as [`Control::log`].
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.control.log()
    }

    /// The counts so far; the same as [`Control::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.control.counters()
    }

    /// Empties the log; the same as [`Control::clear_log`].
    pub fn clear_log(&self) {
        self.control.clear_log();
    }

    /// A builder for a server that takes this one's place after it has stopped: on the same port,
    /// with the same TLS identity, token and base path, and with the data it started with.
    pub fn successor(&self) -> Builder {
        self.builder.clone()
    }

    /// Stops, and returns when the port is free and all connections are closed.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        if let Some(Runner::Task(task)) = &mut self.runner {
            let _ = task.await;
            self.runner = None;
        }
        // A thread is joined by `drop`: it has nothing left to wait for.
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.runner.take() {
            Some(Runner::Task(task)) => task.abort(),
            Some(Runner::Thread(thread)) => drop(thread.join()),
            None => {}
        }
    }
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}
