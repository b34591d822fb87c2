//! Configures a server and starts it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

use super::{
    control::{Control, Switches},
    model::Group,
    serve,
    server::{EmbeddedServer, Runner},
    site::Site,
    state::State,
    table,
    tls::Identity,
};

/// Connections that wait to be accepted: a benchmark opens many at once.
const BACKLOG: u32 = 1024;

/// Configures a server; see [`EmbeddedServer::builder`].
///
/// ```
/// use embedded_apiserver::EmbeddedServer;
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
    pub(super) tls: bool,
    pub(super) identity: Option<Identity>,
    pub(super) token: Option<String>,
    client_certificates: bool,
    pub(super) base: String,
    port: u16,
    /// Keeps others off the port.
    reserved: Option<Arc<TcpSocket>>,
    seed: u64,
    no_v2: bool,
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

    /// Asks clients for a certificate by the server's authority, over TLS. A client that has one needs no token; 403 for
    /// none of both. See [`Identity::client`].
    pub fn client_certificates(mut self, on: bool) -> Self {
        self.client_certificates = on;
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
        self.reserved = None;
        self
    }

    /// Decides the order of custom resources in legacy documents, which in real servers differs
    /// from start to start.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts with [`Control::set_legacy_only`]. As there, the later of this and
    /// [`v2beta1`](Self::v2beta1) counts.
    pub fn legacy_only(mut self, on: bool) -> Self {
        self.no_v2 = on;
        self.v2beta1 &= !on;
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
        let listener = prepared.socket.listen(BACKLOG)?;
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
        let Prepared {
            socket,
            acceptor,
            control,
            builder,
        } = self.prepare()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener: TcpListener = {
            let _inside = runtime.enter();
            socket.listen(BACKLOG)?
        };
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let state = Arc::clone(&control.state);
        let thread = thread::Builder::new()
            .name("embedded-apiserver".to_owned())
            .spawn(move || {
                // Goes away last, whatever happens.
                let _end: oneshot::Sender<()> = end;
                runtime.block_on(serve::accept(listener, acceptor, state, stopped));
                drop(runtime);
            })?;
        Ok(EmbeddedServer {
            control,
            builder,
            stop: Some(stop),
            runner: Some(Runner::Thread(thread, ended)),
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
            .map(|identity| identity.config(self.client_certificates))
            .transpose()?
            .map(|config| TlsAcceptor::from(Arc::new(config)));
        let socket = self.bind()?;
        let address = socket.local_addr()?;
        self.port = address.port();

        let mut switches = Switches::default();
        switches.no_v2 = self.no_v2;
        switches.v2beta1 = self.v2beta1;
        let state = State::new(
            Site::new(groups),
            switches,
            address,
            self.base.clone(),
            self.token.clone(),
            self.client_certificates,
            self.seed,
        );
        let control = Control {
            state: Arc::new(state),
        };
        control.set_vary_authorization(self.vary_authorization);
        control.set_latency(self.latency);
        Ok(Prepared {
            socket,
            acceptor,
            control,
            builder: self,
        })
    }

    /// A socket to listen with.
    ///
    /// Linux lets two sockets have one port as long as only one of them listens. The other one
    /// keeps it from being given to anybody else: what connects after the server has stopped is
    /// refused, and a successor gets it for certain.
    fn bind(&mut self) -> io::Result<TcpSocket> {
        if cfg!(target_os = "linux") && self.reserved.is_none() {
            self.reserved = Some(Arc::new(bind(self.port)?));
        }
        match &self.reserved {
            Some(reserved) => bind(reserved.local_addr()?.port()),
            None => bind(self.port),
        }
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

struct Prepared {
    socket: TcpSocket,
    acceptor: Option<TlsAcceptor>,
    control: Control,
    builder: Builder,
}
