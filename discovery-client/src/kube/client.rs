//! From a configuration to a client.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{env, fmt};

use kube::client::ClientBuilder;
use kube::{Client, Config};

use super::error::Error;
use super::layer::{CachedDiscoveryLayer, Discovery, Way};
use super::service::erased;
use super::token::{TokenFile, TokenLayer};
use super::transport::{Auth, transport};
use crate::live::Live;
use crate::{DiscoveryClient, Handles, Stack};

/// Makes a client whose discovery is cached where kubectl caches it, and stays up to date by itself.
///
/// kubectl's directory is that of the environment variable `KUBECACHEDIR`, or `.kube/cache` in the user's home, which is
/// the working directory where `HOME` is not set: [`CachedClient`] takes another. Nothing is sent before something is
/// asked for. With the first request for discovery, [live](crate::live) discovery begins, and goes on as long as the
/// client is there: custom resources that come and go are seen. The `token_file` of a user counts more than a token, and
/// may end in a line break, as in kubectl.
///
/// ```
/// # tokio_test::block_on(async {
/// // In a real program: `Config::infer().await?`.
/// let config = kube::Config::new("http://127.0.0.1:6443".parse()?);
/// let client = discovery_client::kube::client(config)?;
/// // As any other client: for `Api`, `watcher`, and `kube::Discovery::new(client).run_aggregated()`.
/// assert_eq!(client.default_namespace(), "default");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// When the configuration's address is none, or its credentials can't be used.
///
/// # Panics
///
/// Outside of a Tokio runtime, as `kube::Client::try_from`.
pub fn client(config: Config) -> Result<Client, Error> {
    // The standard library's home is that of the user's entry in the system, where `HOME` is not set.
    let home = match cfg!(unix) {
        true => env::var_os("HOME"),
        false => env::home_dir().map(Into::into),
    };
    let root = kubectl_cache(env::var_os("KUBECACHEDIR"), home);
    let (client, _) = CachedClient::new(config, root)?.build()?;
    Ok(client)
}

/// Makes a client with cached discovery, with settings and handles. The module tells [what goes where](super).
///
/// ```
/// # tokio_test::block_on(async {
/// # let root = tempfile::tempdir()?;
/// use std::time::Duration;
///
/// use discovery_client::kube::CachedClient;
///
/// // In a real program: `Config::infer().await?`, and a directory of its own.
/// let config = kube::Config::new("http://127.0.0.1:6443".parse()?);
/// let (client, handles) = CachedClient::new(config, root.path())?
///     .stack(|stack| stack.ttl(Duration::from_secs(600)))
///     .live(false)
///     .build()?;
///
/// // Without live discovery, a program forgets what it knows like this, for example when a look-up fails.
/// handles.memory.invalidate();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[must_use]
pub struct CachedClient {
    config: Config,
    stack: Stack,
    live: bool,
    interval: Option<Duration>,
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
        let auth = Auth::new(&config, token.clone());
        let (service, handles) = stack.long_lived_with(&auth, transport(&config, token.clone()));
        let service = erased(service);
        let live = live.then(|| {
            let live = Live::new(DiscoveryClient::new(service.clone())).from_cache(true);
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

/// Without the configuration: kube's own text of it has the password of a proxy, and the tokens of an auth provider.
impl fmt::Debug for CachedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedClient")
            .field("stack", &self.stack)
            .field("live", &self.live)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// kubectl's directory, by `KUBECACHEDIR` and the home.
fn kubectl_cache(given: Option<OsString>, home: Option<OsString>) -> PathBuf {
    let given = given.filter(|dir| !dir.is_empty()).map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(&home.unwrap_or_default()).join(".kube/cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_debug_text_has_no_credentials() {
        let mut config = Config::new("https://10.0.0.1:6443".parse().unwrap());
        config.proxy_url = Some("http://user:secret@proxy.test".parse().unwrap());
        let provider = r#"{"auth-provider":{"name":"oidc","config":{"refresh-token":"secret"}}}"#;
        config.auth_info = serde_json::from_str(provider).unwrap();
        let cached = CachedClient::new(config, "cache").unwrap();
        let text = format!("{cached:?}");
        assert!(
            text.contains("live: true") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn errors_have_no_password_of_a_proxy() {
        // The second is a scheme that kube does not know.
        for proxy in [
            "socks5://user:secret@proxy.test",
            "ftp://user:secret@proxy.test",
        ] {
            let mut config = Config::new("https://10.0.0.1:6443".parse().unwrap());
            config.proxy_url = Some(proxy.parse().unwrap());
            let Err(error) = kube::client::ClientBuilder::try_from(config) else {
                continue;
            };
            assert!(error.to_string().contains("secret"), "kube's own: {error}");
            let error = Error::kube(error);
            let mut text = format!("{error:?}");
            let mut next: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = next {
                text += &error.to_string();
                next = error.source();
            }
            assert!(
                text.contains("proxy.test") && !text.contains("secret"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_cache_is_where_kubectl_has_it() {
        let cases = [
            (Some("/given"), Some("/home/me"), "/given"),
            (Some("given"), None, "given"),
            (Some(""), Some("/home/me"), "/home/me/.kube/cache"),
            (None, Some("/home/me"), "/home/me/.kube/cache"),
            (None, Some(""), ".kube/cache"),
            (None, None, ".kube/cache"),
        ];
        for (given, home, expected) in cases {
            let dir = kubectl_cache(given.map(Into::into), home.map(Into::into));
            assert_eq!(dir, Path::new(expected), "{given:?} {home:?}");
        }
    }
}
