//! From a configuration to a client.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use discovery_core::BoxError;
use kube::client::ClientBuilder;
use kube::{Client, Config};

use super::layer::{CachedDiscovery, CachedDiscoveryLayer, Discovery, Way};
use super::service::erased;
use super::token::{TokenFile, TokenLayer};
use super::transport::{Transport, transport};
use crate::live::Live;
use crate::{Handles, Stack, StackError};

/// Makes a client whose discovery is cached where kubectl caches it, and stays up to date by itself.
///
/// kubectl's directory is that of the environment variable `KUBECACHEDIR`, or `.kube/cache` in the user's home:
/// [`CachedClient`] takes another. Nothing is sent before something is asked for. With the first request for discovery,
/// [live](crate::live) discovery begins, and goes on as long as the client is there: custom resources that come and go
/// are seen. The `token_file` of a user counts more than a token, and may end in a line break, as in kubectl.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = kube::Config::infer().await?;
/// let client = discovery_client::kube::client(config)?;
/// let discovery = kube::Discovery::new(client).run_aggregated().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When the configuration's address is none, its credentials can't be used, or there is no home directory.
///
/// # Panics
///
/// Outside of a Tokio runtime, as `kube::Client::try_from`.
pub fn client(config: Config) -> Result<Client, Error> {
    let root =
        kubectl_cache().ok_or_else(|| Error::other("cache", "there is no home directory"))?;
    let (client, _) = CachedClient::new(config, root)?.build()?;
    Ok(client)
}

/// Makes a client with cached discovery, with settings and handles. The module tells [what goes where](super).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use discovery_client::kube::CachedClient;
///
/// let config = kube::Config::infer().await?;
/// let (client, handles) = CachedClient::new(config, "/var/cache/my-operator")?
///     .stack(|stack| stack.ttl(Duration::from_secs(600)))
///     .live(false)
///     .build()?;
///
/// // Without live discovery, this is how a program forgets what it knows, for example when a look-up fails.
/// handles.memory.invalidate();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct CachedClient {
    config: Config,
    stack: Stack,
    live: bool,
    interval: Option<Duration>,
}

/// Why there is no client. The source tells more.
#[derive(Debug)]
pub struct Error {
    what: &'static str,
    source: BoxError,
}

impl CachedClient {
    /// For the server of a configuration, with caches below `root`.
    ///
    /// # Errors
    ///
    /// When the configuration's address is none.
    pub fn new(config: Config, root: impl AsRef<Path>) -> Result<Self, Error> {
        let stack = Stack::new(&config.cluster_url.to_string(), root).map_err(Error::address)?;
        Ok(Self {
            config,
            stack,
            live: true,
            interval: None,
        })
    }

    /// Changes the settings of the caches.
    pub fn stack(mut self, change: impl FnOnce(Stack) -> Stack) -> Self {
        self.stack = change(self.stack);
        self
    }

    /// Chooses whether discovery stays up to date by itself. It does unless set.
    pub const fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// Sets the time between two revalidations of live discovery: see [`Live::interval`].
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// When the credentials or the TLS configuration can't be used.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as `kube::Client::try_from`.
    pub fn build(self) -> Result<(Client, Handles), Error> {
        let Self {
            mut config,
            stack,
            live,
            interval,
        } = self;
        let token = TokenFile::take(&mut config.auth_info);
        let Transport { service, auth } = transport(&config, token.as_ref())?;
        let (service, handles) = stack.long_lived_with(&auth, service);
        let service = erased(service);
        let live = live.then(|| {
            let live = Live::new(CachedDiscovery::client(service.clone())).from_cache(true);
            match interval {
                Some(interval) => live.interval(interval),
                None => live,
            }
        });
        let discovery = Arc::new(Discovery {
            service,
            live,
            started: OnceLock::new(),
        });
        let layer = CachedDiscoveryLayer {
            way: Way::Apart(discovery),
            handles: handles.clone(),
        };
        let builder = ClientBuilder::try_from(config).map_err(Error::kube)?;
        let client = builder
            .with_layer(&TokenLayer(token))
            .with_layer(&layer)
            .build();
        Ok((client, handles))
    }
}

/// kubectl's directory.
fn kubectl_cache() -> Option<PathBuf> {
    let given = env::var_os("KUBECACHEDIR").filter(|dir| !dir.is_empty());
    given
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".kube/cache")))
}

impl Error {
    pub(super) fn address(error: StackError) -> Self {
        Self::other("address", error)
    }

    pub(super) fn kube(error: kube::Error) -> Self {
        Self::other("configuration", error)
    }

    pub(super) fn other(what: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self { what, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no client can be made: {}", self.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
