//! The server that is asked, and the credentials for it.

use std::borrow::Cow;
use std::env;
use std::net::Ipv4Addr;
use std::path::Path;

use discovery_core::http::uri;
use http::Uri;

use crate::args::Global;
use crate::errors::{Fatal, InvalidPort};
use crate::kubeconfig::{Chosen, Cluster, Content, User, chosen, no_context, read};
use crate::kuberc::{self, Plugins};
use crate::overrides::Overrides;

/// kubectl's server where none is configured.
const DEFAULT_SERVER: &str = "http://localhost:8080";

/// The files of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the server is, and who asks it.
pub(crate) struct Config {
    pub(crate) url: Uri,
    /// The address as it was given.
    pub(crate) address: String,
    pub(crate) cluster: Cluster,
    pub(crate) user: User,
}

/// The server to ask, and what tells the credentials when they are needed.
#[derive(Debug)]
pub(crate) struct Server {
    /// As it was given.
    address: String,
    credentials: Credentials,
    overrides: Overrides,
    /// The credential plugins that may run.
    pub(crate) plugins: Plugins,
    /// Whether the address came with a flag.
    has_flag: bool,
}

#[derive(Debug)]
enum Credentials {
    None,
    /// From a kubeconfig that has been read, and its context if that is not the current one.
    Kubeconfig(Box<Content>, Option<String>),
    /// From a kubeconfig that nobody needed yet, as the address came with a flag.
    Unread,
    /// Those of the pod.
    ServiceAccount,
}

impl Server {
    /// A server that asks for no credentials.
    pub(crate) fn open(address: String) -> Self {
        Self {
            address,
            credentials: Credentials::None,
            overrides: Overrides::default(),
            plugins: Plugins::default(),
            has_flag: false,
        }
    }

    /// The server of the flags, of the kubeconfig, or of the cluster that a pod is in.
    pub(crate) fn configured(flags: &Global) -> Result<Self, Fatal> {
        let given = flags.server.clone().filter(|server| !server.is_empty());
        let context = flags.context.clone().filter(|context| !context.is_empty());
        let file = flags
            .kubeconfig
            .clone()
            .filter(|file| !file.as_os_str().is_empty());
        let overrides = flags.overrides.clone();
        let plugins = kuberc::plugins(flags.kuberc.as_deref())?;
        let has_flag = given.is_some();
        let with = |address: String, credentials| Self {
            address,
            credentials,
            overrides: overrides.clone(),
            plugins: plugins.clone(),
            has_flag,
        };
        if let (Some(address), None, None) = (&given, &context, &file) {
            return Ok(with(address.clone(), Credentials::Unread));
        }
        let Some(kubeconfig) = read(file)? else {
            return match (given, context) {
                (_, Some(context)) => Err(no_context(&context)),
                (None, None) => Ok(match in_cluster() {
                    Some(address) => with(address, Credentials::ServiceAccount),
                    None => with(DEFAULT_SERVER.into(), Credentials::None),
                }),
                (Some(address), None) => Ok(with(address, Credentials::None)),
            };
        };
        let chosen = chosen(&kubeconfig, context.as_deref(), &overrides)?;
        let address = given
            .or_else(|| chosen?.cluster?.server)
            .unwrap_or_else(|| DEFAULT_SERVER.into());
        let credentials = Credentials::Kubeconfig(Box::new(kubeconfig), context);
        Ok(with(address, credentials))
    }

    /// The address with a scheme, and with its host as it is in the DNS. Where it has no scheme, TLS is not meant, whatever
    /// is configured for it.
    pub(crate) fn url(&self) -> Result<String, Fatal> {
        self.with_ascii_host(&with_host(&self.with_scheme()?))
    }

    /// The address that kubectl names files by: without the host that is meant where none is there.
    pub(crate) fn name(&self) -> Result<String, Fatal> {
        self.with_ascii_host(&self.with_scheme()?)
    }

    fn with_scheme(&self) -> Result<Cow<'_, str>, Fatal> {
        if self.address.contains("://") {
            return Ok(self.address.as_str().into());
        }
        // Not even as much of a path as a URL may have.
        if self
            .address
            .find('/')
            .is_some_and(|at| at + 1 < self.address.len())
        {
            return Err(Self::no_url(&self.address));
        }
        Ok(format!("http://{}", self.address).into())
    }

    /// Writes the letters outside ASCII of a host name as the DNS has them (RFC 5891).
    fn with_ascii_host(&self, url: &str) -> Result<String, Fatal> {
        let Some((scheme, rest)) = url.split_once("://").filter(|_| !url.is_ascii()) else {
            return Ok(url.to_owned());
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, place) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let (host, port) = match place.rfind(':') {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        let host = idna::domain_to_ascii(host).map_err(|_| Self::no_url(&self.address))?;
        Ok(format!("{scheme}://{user}{host}{port}{path}"))
    }

    /// An address that is not to be used. The user-info is left out, because it may be a password.
    pub(crate) fn no_url(address: &str) -> Fatal {
        let address = uri::without_user_info(address);
        Fatal::new(format_args!(
            "host must be a URL or a host:port pair: {address:?}"
        ))
    }

    /// The address as a URL that requests can be sent to.
    pub(crate) fn uri(&self) -> Result<Uri, Fatal> {
        let url = self.url()?;
        let sent = uri::server_url(&url).map_err(Fatal::not_connected)?;
        let uri: Uri = sent.parse().map_err(|_| Self::no_url(&self.address))?;
        // Brackets are for IPv6 (RFC 3986 §3.2.2).
        let inside = uri.host().and_then(|host| host.strip_prefix('['));
        if inside.is_some_and(|inside| inside.trim_end_matches(']').parse::<Ipv4Addr>().is_ok()) {
            return Err(Self::no_url(&self.address));
        }
        if uri::port(&uri).is_ok() {
            return Ok(uri);
        }
        // In an address such as `https://me:12/34@host`, the "port" is a part of the password.
        let shown = uri::without_user_info(&url).parse();
        let port = shown.ok().and_then(|shown| InvalidPort::of(&shown));
        Err(match port {
            Some(port) if port.is_number() || !self.address.contains("://") => {
                Fatal::not_connected(port)
            }
            _ => Self::no_url(&self.address),
        })
    }

    /// The configuration for the server at `url`. As in kubectl, credentials are sent over TLS only, and the impersonated
    /// user, which is no secret, over anything.
    pub(crate) fn config(&self, url: Uri) -> Result<Config, Fatal> {
        let of = |content: &Content, context: Option<&str>| {
            chosen(content, context, &self.overrides).map(Option::unwrap_or_default)
        };
        let mut chosen = match &self.credentials {
            Credentials::None => Chosen::default(),
            Credentials::Kubeconfig(content, context) => of(content, context.as_deref())?,
            // A cluster or user that a flag names has to be somewhere, too.
            Credentials::Unread => of(&read(None)?.unwrap_or_default(), None)?,
            Credentials::ServiceAccount => service_account(Path::new(SERVICE_ACCOUNT)),
        };
        self.overrides.apply(&mut chosen, self.has_flag);
        chosen.check()?;
        let has_tls = url.scheme_str() == Some("https");
        if has_tls {
            chosen.check_token()?;
            chosen.check_tls()?;
        }
        let (mut cluster, mut user) = (
            chosen.cluster.unwrap_or_default(),
            chosen.user.unwrap_or_default(),
        );
        if !has_tls {
            // TLS settings are for this server alone, and not for one that it redirects to.
            cluster = Cluster {
                proxy_url: cluster.proxy_url,
                disable_compression: cluster.disable_compression,
                ..Cluster::default()
            };
            user = user.without_credentials();
        }
        Ok(Config {
            url,
            address: self.url()?,
            cluster,
            user,
        })
    }
}

/// A URL with this machine for a host that is not there, which Go dials.
pub(crate) fn with_host(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.into();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Before an `@` it is the name of a user that is empty.
    if authority.starts_with(':') && !authority.contains('@') {
        format!("{scheme}://localhost{rest}").into()
    } else {
        url.into()
    }
}

/// The cluster and the user of a pod.
fn service_account(dir: &Path) -> Chosen {
    let file = |name: &str| dir.join(name).to_str().map(str::to_owned);
    let authority = file("ca.crt").filter(|file| Path::new(file).exists());
    let cluster = Cluster {
        certificate_authority: authority,
        ..Cluster::default()
    };
    let user = User {
        token_file: file("token"),
        ..User::default()
    };
    Chosen::new(cluster, user)
}

/// In a pod without a kubeconfig: the server of its own cluster.
fn in_cluster() -> Option<String> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    // Without a token kubectl does not take the cluster either.
    if !Path::new(SERVICE_ACCOUNT).join("token").exists() {
        return None;
    }
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    Some(format!("https://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn where_nothing_is_configured_it_is_localhost() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        for config in ["", "apiVersion: v1\nkind: Config\nclusters: []\n"] {
            std::fs::write(&file, config).unwrap();
            let file = file.to_str().unwrap();
            let arguments = ["kubectl-discovery", "--kubeconfig", file, "api-versions"];
            let flags = Arguments::try_parse_from(arguments).unwrap().global;
            let server = Server::configured(&flags).unwrap();
            assert_eq!(server.url().unwrap(), "http://localhost:8080");
        }
    }

    #[test]
    fn a_port_alone_is_this_machine_s() {
        for (url, expected) in [
            ("http://:8080", "http://localhost:8080"),
            ("https://:6443/k8s:x@y", "https://localhost:6443/k8s:x@y"),
            ("http://:pw@h:1", "http://:pw@h:1"),
            ("http://h:1", "http://h:1"),
            ("http://", "http://"),
        ] {
            assert_eq!(with_host(url), expected);
        }
    }

    /// In a pod, flags stand for fields as they do with a kubeconfig. kubectl takes a part of them.
    #[test]
    fn flags_change_the_service_account_s_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().map(str::to_owned);
        let with = |flags: &[&str]| {
            let arguments = [&["kubectl-discovery"], flags, &["api-versions"]].concat();
            let flags = Arguments::try_parse_from(arguments).unwrap().global;
            let mut chosen = service_account(dir.path());
            flags.overrides.apply(&mut chosen, false);
            (chosen.cluster.unwrap(), chosen.user.unwrap())
        };
        let (cluster, user) = with(&[]);
        assert_eq!(user.token_file, path("token"));
        assert!(user.token.is_none() && cluster.certificate_authority.is_none());
        std::fs::write(dir.path().join("ca.crt"), "").unwrap();
        let (cluster, user) = with(&["--as=me", "--as-group=g"]);
        assert_eq!(cluster.certificate_authority, path("ca.crt"));
        assert_eq!(user.token_file, path("token"));
        assert_eq!(user.impersonated.name.as_deref(), Some("me"));
        assert_eq!(user.impersonated.groups, ["g"]);
        let (cluster, user) = with(&["--token=t", "--insecure-skip-tls-verify"]);
        assert_eq!((user.token.as_deref(), user.token_file), (Some("t"), None));
        assert!(cluster.insecure_skip_tls_verify && cluster.certificate_authority.is_none());
    }
}
