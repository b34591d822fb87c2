//! Kubeconfig files: reading them, what a context names, and whether that can be used.

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use discovery_core::http::uri;
use kube::config::{AuthInfo, Cluster, Kubeconfig};

use crate::errors::{Fatal, InvalidPort, go_words};

/// The cluster and the user of a context.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    cluster_name: &'a str,
    pub(crate) cluster: Option<&'a Cluster>,
    user_name: &'a str,
    user: Option<&'a AuthInfo>,
}

/// Reads the kubeconfig that was named, or those that are where they should be; `None` if there is
/// none. Of those in `KUBECONFIG` some may be missing.
pub(crate) fn read(named: Option<PathBuf>) -> Result<Option<Kubeconfig>, Fatal> {
    if let Some(file) = named {
        return match file.metadata() {
            Ok(_) => read_one(&file).map(Some),
            Err(error) => Err(Fatal::new(format_args!(
                "stat {}: {}",
                file.display(),
                go_words(&error)
            ))),
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
        // Behind the first line comes a piece of the file, which may have secrets.
        let error = error.to_string();
        let error = error.lines().next().unwrap_or_default();
        Fatal::new(format_args!(
            "error loading config file \"{}\": {error}",
            file.display()
        ))
    })
}

/// The cluster and user of a context, or of the current one; `None` if there is no current one.
pub(crate) fn chosen<'a>(
    kubeconfig: &'a Kubeconfig,
    context: Option<&str>,
) -> Result<Option<Chosen<'a>>, Fatal> {
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
    if cluster.is_none() && !context.cluster.is_empty() {
        return Err(Fatal::new(format_args!(
            "cluster {:?} of context {name:?} does not exist",
            context.cluster,
        )));
    }
    let user_name = context.user.as_deref().unwrap_or_default();
    let user = kubeconfig
        .auth_infos
        .iter()
        .find(|named| named.name == user_name);
    Ok(Some(Chosen {
        cluster_name: &context.cluster,
        cluster: cluster.and_then(|named| named.cluster.as_ref()),
        user_name,
        user: user.and_then(|named| named.auth_info.as_ref()),
    }))
}

fn current_context(kubeconfig: &Kubeconfig) -> Option<&str> {
    kubeconfig
        .current_context
        .as_deref()
        .filter(|name| !name.is_empty())
}

pub(crate) fn no_context(name: &str) -> Fatal {
    Fatal::new(format_args!("context {name:?} does not exist"))
}

impl Chosen<'_> {
    /// Whether the files can be read and the proxy is one. kubectl looks at them even where the
    /// server's scheme leaves no use for them.
    pub(crate) fn check(&self) -> Result<(), Fatal> {
        let mut unread = Vec::new();
        let mut look = |what: &str, of: &str, file: &Option<String>, has_data: bool| {
            let Some(file) = file.as_ref().filter(|file| !file.is_empty() && !has_data) else {
                return;
            };
            if let Err(error) = File::open(file) {
                let why = go_words(&error);
                unread.push(format!(
                    "unable to read {what} {file} for {of} due to open {file}: {why}"
                ));
            }
        };
        if let Some(user) = self.user {
            let (certificate, key) = (&user.client_certificate, &user.client_key);
            let has_certificate = user.client_certificate_data.is_some();
            let has_key = user.client_key_data.is_some();
            look("client-cert", self.user_name, certificate, has_certificate);
            look("client-key", self.user_name, key, has_key);
        }
        if let Some(cluster) = self.cluster {
            let has_data = cluster.certificate_authority_data.is_some();
            let file = &cluster.certificate_authority;
            look("certificate-authority", self.cluster_name, file, has_data);
        }
        match &unread[..] {
            [] => self.check_proxy(),
            [one] => Err(Fatal::new(one)),
            several => Err(Fatal::configuration(several)),
        }
    }

    fn check_proxy(&self) -> Result<(), Fatal> {
        let proxy = self
            .cluster
            .and_then(|cluster| cluster.proxy_url.as_deref());
        let proxy = proxy.unwrap_or_default();
        match proxy.split_once("://") {
            _ if proxy.is_empty() => Ok(()),
            _ if is_malformed(proxy) => {
                let proxy = uri::without_user_info(proxy);
                Err(Fatal::new(format_args!(
                    "invalid 'proxy-url' \"{proxy}\" for cluster {:?}: could not parse: {proxy}",
                    self.cluster_name
                )))
            }
            Some(("http" | "https" | "socks5", _)) => Ok(()),
            // kubectl does not know this one; resolving names at the proxy does no harm.
            Some(("socks5h", _)) => Ok(()),
            Some((scheme, _)) => {
                let proxy = uri::without_user_info(proxy);
                Err(Fatal::new(format_args!(
                    "invalid 'proxy-url' \"{proxy}\" for cluster {:?}: unsupported scheme \
                     {scheme:?}, must be http, https, or socks5",
                    self.cluster_name
                )))
            }
            None => Err(Fatal::new(format_args!(
                "invalid 'proxy-url' for cluster {:?}: not a URL",
                self.cluster_name
            ))),
        }
    }

    /// Whether the file with the token can be read, of which there is no use but over TLS.
    pub(crate) fn check_token(&self) -> Result<(), Fatal> {
        let user = self.user.filter(|user| user.token.is_none());
        match user.and_then(|user| user.token_file.as_deref()) {
            None | Some("") => Ok(()),
            Some(file) => match File::open(file) {
                Ok(_) => Ok(()),
                Err(error) => Err(cannot_open(file, &error)),
            },
        }
    }
}

/// Whether the port of a proxy's URL is not even a number. One that is too large is reported when a
/// request is to be sent.
fn is_malformed(proxy: &str) -> bool {
    let port = proxy.parse().ok().and_then(|uri| InvalidPort::of(&uri));
    port.is_some_and(|port| !port.is_number())
}

fn cannot_open(file: &str, error: &io::Error) -> Fatal {
    Fatal::new(format_args!("open {file}: {}", go_words(error)))
}
