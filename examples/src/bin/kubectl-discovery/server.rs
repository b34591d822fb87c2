//! Which server, and who we are to it.

use std::env;
use std::io;
use std::path::PathBuf;

use http::Uri;
use kube::Config;
use kube::config::{Cluster, KubeConfigOptions, Kubeconfig};

use crate::args::Global;
use crate::errors::Fatal;

/// kubectl's server where none is configured.
const DEFAULT_SERVER: &str = "http://localhost:8080";

/// The server to ask, and what tells the credentials when they are needed.
#[derive(Debug)]
pub(crate) struct Server {
    /// As it was given.
    address: String,
    credentials: Credentials,
}

#[derive(Debug)]
enum Credentials {
    None,
    /// From a kubeconfig that has been read, and its context if that is not the current one.
    Kubeconfig(Box<Kubeconfig>, Option<String>),
    /// From a kubeconfig that nobody needed yet, as the address came with a flag.
    Unread,
    InCluster,
}

impl Server {
    /// A server that asks for no credentials.
    pub(crate) const fn open(address: String) -> Self {
        Self {
            address,
            credentials: Credentials::None,
        }
    }

    /// What the flags, the kubeconfig or the surroundings of a pod say.
    pub(crate) fn configured(flags: &Global) -> Result<Self, Fatal> {
        let given = flags.server.clone().filter(|server| !server.is_empty());
        let context = flags.context.clone().filter(|context| !context.is_empty());
        let file = flags
            .kubeconfig
            .clone()
            .filter(|file| !file.as_os_str().is_empty());
        if let (Some(address), None, None) = (&given, &context, &file) {
            return Ok(Self {
                address: address.clone(),
                credentials: Credentials::Unread,
            });
        }
        let Some(kubeconfig) = read(file)? else {
            return match (given, context) {
                (_, Some(context)) => Err(no_context(&context)),
                (None, None) => {
                    Ok(in_cluster().unwrap_or_else(|| Self::open(DEFAULT_SERVER.into())))
                }
                (Some(address), None) => Ok(Self::open(address)),
            };
        };
        let cluster = cluster(&kubeconfig, context.as_deref())?;
        let address = given
            .or_else(|| cluster?.server.clone().filter(|server| !server.is_empty()))
            .unwrap_or_else(|| DEFAULT_SERVER.into());
        Ok(Self {
            address,
            credentials: Credentials::Kubeconfig(Box::new(kubeconfig), context),
        })
    }

    /// The address with a scheme: where it has none, TLS is meant if there is something configured
    /// for TLS.
    pub(crate) fn url(&self) -> Result<String, Fatal> {
        if self.address.contains("://") {
            return Ok(self.address.clone());
        }
        if self.address.contains('/') {
            return Err(Self::no_url(&self.address));
        }
        let scheme = if self.credentials.want_tls() {
            "https"
        } else {
            "http"
        };
        Ok(format!("{scheme}://{}", self.address))
    }

    /// An address that is not to be used.
    pub(crate) fn no_url(address: &str) -> Fatal {
        Fatal::new(format_args!(
            "host must be a URL or a host:port pair: {address:?}"
        ))
    }

    /// Everything that is needed to talk to the server at `url`, certificates and all.
    pub(crate) async fn config(&self, url: Uri) -> Result<Config, Fatal> {
        let mut config = match &self.credentials {
            Credentials::None => Config::new(url.clone()),
            Credentials::InCluster => Config::incluster_env().map_err(Fatal::new)?,
            Credentials::Kubeconfig(kubeconfig, context) => {
                load((**kubeconfig).clone(), context.clone(), &url).await?
            }
            Credentials::Unread => match read(None)? {
                Some(kubeconfig) => load(kubeconfig, None, &url).await?,
                None => Config::new(url.clone()),
            },
        };
        config.cluster_url = url;
        Ok(config)
    }
}

impl Credentials {
    fn want_tls(&self) -> bool {
        let Self::Kubeconfig(kubeconfig, context) = self else {
            return false;
        };
        let cluster = cluster(kubeconfig, context.as_deref()).ok().flatten();
        cluster.is_some_and(|cluster| {
            cluster.certificate_authority.is_some()
                || cluster.certificate_authority_data.is_some()
                || cluster.insecure_skip_tls_verify == Some(true)
        })
    }
}

async fn load(
    mut kubeconfig: Kubeconfig,
    context: Option<String>,
    url: &Uri,
) -> Result<Config, Fatal> {
    if context.is_none() && current_context(&kubeconfig).is_none() {
        return Ok(Config::new(url.clone()));
    }
    // The address may be missing there, or be in a form that is no URL.
    for cluster in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut())
    {
        cluster.server = Some(url.to_string());
    }
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(Fatal::new)
}

/// Reads the kubeconfig that was named, or those that are where they should be; `None` if there is
/// none. Of those in `KUBECONFIG` some may be missing.
fn read(named: Option<PathBuf>) -> Result<Option<Kubeconfig>, Fatal> {
    if let Some(file) = named {
        return match file.metadata() {
            Ok(_) => read_one(&file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fatal::new(format_args!(
                "stat {}: no such file or directory",
                file.display()
            ))),
            Err(error) => Err(Fatal::new(format_args!("stat {}: {error}", file.display()))),
        };
    }
    let listed = env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let files: Vec<_> = match listed {
        Some(value) => env::split_paths(&value).collect(),
        None => env::home_dir()
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect(),
    };
    let mut merged: Option<Kubeconfig> = None;
    for file in files.into_iter().filter(|file| file.exists()) {
        let next = read_one(&file)?;
        merged = Some(match merged {
            Some(merged) => merged.merge(next).map_err(Fatal::new)?,
            None => next,
        });
    }
    Ok(merged)
}

fn read_one(file: &PathBuf) -> Result<Kubeconfig, Fatal> {
    Kubeconfig::read_from(file).map_err(|error| {
        // What follows the first line is a piece of the file, which may have secrets.
        let error = error.to_string();
        let error = error.lines().next().unwrap_or_default();
        Fatal::new(format_args!(
            "error loading config file \"{}\": {error}",
            file.display()
        ))
    })
}

/// The cluster of a context, of the current one if none is given; `None` if there is no current one.
fn cluster<'a>(
    kubeconfig: &'a Kubeconfig,
    context: Option<&str>,
) -> Result<Option<&'a Cluster>, Fatal> {
    let Some(name) = context.or_else(|| current_context(kubeconfig)) else {
        return Ok(None);
    };
    let context = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == name)
        .and_then(|named| named.context.as_ref())
        .ok_or_else(|| no_context(name))?;
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|named| named.name == context.cluster);
    match cluster {
        Some(named) => Ok(named.cluster.as_ref()),
        None if context.cluster.is_empty() => Ok(None),
        None => Err(Fatal::new(format_args!(
            "cluster {:?} of context {name:?} does not exist",
            context.cluster,
        ))),
    }
}

fn current_context(kubeconfig: &Kubeconfig) -> Option<&str> {
    kubeconfig
        .current_context
        .as_deref()
        .filter(|name| !name.is_empty())
}

fn no_context(name: &str) -> Fatal {
    Fatal::new(format_args!("context {name:?} does not exist"))
}

/// In a pod without a kubeconfig: the server of its own cluster.
fn in_cluster() -> Option<Server> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    // Without a token kubectl does not take the cluster either.
    let config = Config::incluster_env().ok()?;
    config
        .auth_info
        .token_file
        .filter(|file| std::path::Path::new(file).exists())?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    Some(Server {
        address: format!("https://{host}:{port}"),
        credentials: Credentials::InCluster,
    })
}
