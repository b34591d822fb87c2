//! The server that is asked, and the credentials for it.

use std::env;
use std::path::Path;

use discovery_core::http::uri;
use http::Uri;
use kube::Config;
use kube::config::{
    AuthInfo, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};

use crate::args::Global;
use crate::errors::{Fatal, InvalidPort};
use crate::kubeconfig::{Content, chosen, no_context, read};
use crate::kuberc::{self, Plugins};
use crate::overrides::Overrides;

/// kubectl's server where none is configured.
const DEFAULT_SERVER: &str = "http://localhost:8080";

/// The token of a pod's service account.
const SERVICE_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The server to ask, and what tells the credentials when they are needed.
#[derive(Debug)]
pub(crate) struct Server {
    /// As it was given.
    address: String,
    credentials: Credentials,
    overrides: Overrides,
    /// The credential plugins that may run.
    pub(crate) plugins: Plugins,
    /// Whether nothing is to be sent.
    pub(crate) offline: bool,
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
    InCluster,
}

impl Server {
    /// A server that asks for no credentials.
    pub(crate) fn open(address: String) -> Self {
        Self {
            address,
            credentials: Credentials::None,
            overrides: Overrides::default(),
            plugins: Plugins::default(),
            offline: false,
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
            offline: flags.offline,
            has_flag,
        };
        if let (Some(address), None, None) = (&given, &context, &file) {
            return Ok(with(address.clone(), Credentials::Unread));
        }
        let Some(kubeconfig) = read(file)? else {
            return match (given, context) {
                (_, Some(context)) => Err(no_context(&context)),
                (None, None) => Ok(match in_cluster() {
                    Some(address) => with(address, Credentials::InCluster),
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

    /// The address with a scheme. Where it has none, TLS is not meant, whatever is configured for it.
    pub(crate) fn url(&self) -> Result<String, Fatal> {
        if self.address.contains("://") {
            return Ok(self.address.clone());
        }
        if self.address.contains('/') {
            return Err(Self::no_url(&self.address));
        }
        Ok(format!("http://{}", self.address))
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

    /// The configuration for the server at `url`, certificates and all. As in kubectl, credentials are
    /// sent over TLS only, and the impersonated user, which is no secret, over anything.
    pub(crate) async fn config(&self, url: Uri) -> Result<Config, Fatal> {
        let unread = match &self.credentials {
            Credentials::Unread => read(None)?,
            _ => None,
        };
        let content = match &self.credentials {
            Credentials::Kubeconfig(content, _) => Some(&**content),
            Credentials::Unread => unread.as_ref(),
            Credentials::None | Credentials::InCluster => None,
        };
        let context = match &self.credentials {
            Credentials::Kubeconfig(_, context) => context.as_deref(),
            _ => None,
        };
        let mut config = match &self.credentials {
            Credentials::InCluster => Config::incluster_env().map_err(Fatal::new)?,
            _ => self.load(content, context, &url).await?,
        };
        // A plugin is told the address as it was given.
        let exec = config.auth_info.exec.as_mut();
        if let Some(cluster) = exec.and_then(|exec| exec.cluster.as_mut()) {
            cluster.server = Some(self.url()?);
        }
        if url.scheme_str() != Some("https") {
            let user = std::mem::take(&mut config.auth_info);
            config.auth_info = AuthInfo {
                impersonate: user.impersonate,
                impersonate_uid: user.impersonate_uid,
                impersonate_groups: user.impersonate_groups,
                impersonate_user_extra: user.impersonate_user_extra,
                ..AuthInfo::default()
            };
        } else if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
            return Err(Fatal::new(
                "unable to load root certificates: unable to parse bytes as PEM block",
            ));
        }
        config.cluster_url = url;
        Ok(config)
    }

    /// Only what the context uses goes to kube.
    async fn load(
        &self,
        content: Option<&Content>,
        context: Option<&str>,
        url: &Uri,
    ) -> Result<Config, Fatal> {
        let chosen = content.map(|content| chosen(content, context, &self.overrides));
        let mut chosen = chosen.transpose()?.flatten().unwrap_or_default();
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
        // A key alone is of no use, and no harm.
        if user.client_certificate.is_none() && user.client_certificate_data.is_none() {
            user.client_key = None;
            user.client_key_data = None;
        }
        // The address may be missing there, or be in a form that is no URL.
        cluster.server = Some(url.to_string());
        if !has_tls {
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = None;
        }
        let has_proxy = cluster.proxy_url.is_some();
        let name = || "chosen".to_owned();
        let kubeconfig = Kubeconfig {
            clusters: vec![NamedCluster {
                name: name(),
                cluster: Some(cluster),
                ..NamedCluster::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: name(),
                auth_info: Some(user),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext {
                name: name(),
                context: Some(Context {
                    cluster: name(),
                    user: Some(name()),
                    ..Context::default()
                }),
                ..NamedContext::default()
            }],
            current_context: Some(name()),
            ..Kubeconfig::default()
        };
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(Fatal::new)?;
        if !has_proxy {
            // kube puts one of the environment there, which is subject to NO_PROXY.
            config.proxy_url = None;
        }
        Ok(config)
    }
}

/// In a pod without a kubeconfig: the server of its own cluster.
fn in_cluster() -> Option<String> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    // Without a token kubectl does not take the cluster either.
    if !Path::new(SERVICE_TOKEN).exists() {
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
}
