//! Kubeconfig files: reading them, what a context names, and whether that can be used.

mod fields;
mod file;

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use discovery_core::http::uri;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::fields::{AuthProvider, Cluster, Exec, Impersonated, User};
use self::file::Entry;
pub(crate) use self::file::{Content, documents, first_yaml, without_dots};
use crate::errors::{Fatal, InvalidPort, go_words};
use crate::overrides::Overrides;

/// The versions of the protocol with credential plugins that can be spoken.
const EXEC_VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

/// The versions in which `interactiveMode` may be left out.
const EXEC_WITH_DEFAULT: [&str; 2] = [
    "client.authentication.k8s.io/v1alpha1",
    "client.authentication.k8s.io/v1beta1",
];

/// The cluster and the user of a context.
#[derive(Default)]
pub(crate) struct Chosen {
    cluster_name: String,
    pub(crate) cluster: Option<Cluster>,
    user_name: String,
    pub(crate) user: Option<User>,
}

/// Reads the kubeconfig that was named, or those that are where they should be; `None` if there is
/// none. Of those in `KUBECONFIG` some may be missing.
pub(crate) fn read(named: Option<PathBuf>) -> Result<Option<Content>, Fatal> {
    if let Some(file) = named {
        return match file.metadata() {
            Ok(_) => Content::read(&file).map(Some),
            Err(error) => Err(Fatal::new(format_args!(
                "stat {}: {}",
                file.display(),
                go_words(&error)
            ))),
        };
    }
    let is_missing = |file: &PathBuf| match file.metadata() {
        Ok(_) => false,
        // Any other error is one, for a file that can't be reached may be the one that counts.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let listed = env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let files: Vec<_> = match listed {
        Some(value) => env::split_paths(&value).collect(),
        None => {
            let file = home().join(".kube/config");
            // The name that it had once, which kubectl renames. Without HOME, kubectl does not look for it.
            let old = file.with_file_name(".kubeconfig");
            let is_renamed = is_missing(&file) && !is_missing(&old);
            vec![if is_renamed { old } else { file }]
        }
    };
    let mut merged: Option<Content> = None;
    for file in files.into_iter().filter(|file| !is_missing(file)) {
        let next = Content::read(&file)?;
        match &mut merged {
            Some(merged) => merged.merge(next),
            None => merged = Some(next),
        }
    }
    Ok(merged)
}

/// The user's home, as kubectl has it: where `HOME` is not set, it is the working directory.
pub(crate) fn home() -> PathBuf {
    env::var_os("HOME").unwrap_or_default().into()
}

/// The cluster and user of a context, or of the current one; `None` if there is no current one.
pub(crate) fn chosen(
    content: &Content,
    context: Option<&str>,
    overrides: &Overrides,
) -> Result<Option<Chosen>, Fatal> {
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let (cluster_named, user_named) = (named(&overrides.cluster), named(&overrides.user));
    let find = |entries: &[Entry], name: &str| entries.iter().position(|entry| entry.name == name);
    let name = context.unwrap_or(&content.current);
    let (mut cluster_name, mut user_name) = (String::new(), String::new());
    // The name of a context may be empty, as those of a cluster and a user.
    match find(&content.contexts, name) {
        Some(context) => {
            let context = &content.contexts[context];
            usable(context, "context")?;
            let text = |field: &str| {
                let text = context.text(field).map(str::to_owned);
                text.ok_or_else(|| of_the_wrong_type(context, "context", field))
            };
            (cluster_name, user_name) = (text("cluster")?, text("user")?);
            let is_there = find(&content.clusters, &cluster_name).is_some();
            if cluster_named.is_none() && !is_there && !cluster_name.is_empty() {
                return Err(Fatal::new(format_args!(
                    "cluster {cluster_name:?} of context {name:?} does not exist",
                )));
            }
        }
        None if !name.is_empty() => return Err(no_context(name)),
        None => {}
    }
    if let Some(name) = cluster_named {
        if find(&content.clusters, &name).is_none() {
            return Err(Fatal::new(format_args!("cluster {name:?} does not exist")));
        }
        cluster_name = name;
    }
    if let Some(name) = user_named {
        if find(&content.users, &name).is_none() {
            return Err(Fatal::new(format_args!(
                "auth info {name:?} does not exist"
            )));
        }
        user_name = name;
    }
    let cluster = find(&content.clusters, &cluster_name).map(|at| &content.clusters[at]);
    let user = find(&content.users, &user_name).map(|at| &content.users[at]);
    if name.is_empty() && cluster.is_none() && user.is_none() {
        return Ok(None);
    }
    for entry in [cluster, user].into_iter().flatten() {
        entry.check_data()?;
    }
    Ok(Some(Chosen {
        cluster: cluster
            .map(|cluster| typed(cluster, "cluster"))
            .transpose()?,
        user: user.map(|user| typed(user, "user")).transpose()?,
        cluster_name,
        user_name,
    }))
}

fn usable(entry: &Entry, what: &str) -> Result<(), Fatal> {
    match &entry.broken {
        None => Ok(()),
        Some(why) => Err(Fatal::new(format_args!(
            "error loading config file \"{}\": the {what} {:?}: {why}",
            entry.file.display(),
            entry.name
        ))),
    }
}

/// An entry with types. Which field is wrong is told, and not what it holds.
fn typed<T: DeserializeOwned>(entry: &Entry, what: &str) -> Result<T, Fatal> {
    usable(entry, what)?;
    let wrong = || {
        let alone = |(name, value): (&String, &Value)| {
            let one = serde_json::Map::from_iter([(name.clone(), value.clone())]);
            serde_json::from_value::<T>(Value::Object(one))
                .is_err()
                .then(|| name.clone())
        };
        entry
            .fields
            .iter()
            .find_map(alone)
            .unwrap_or_else(|| "it".into())
    };
    serde_json::from_value(Value::Object(entry.fields.clone()))
        .map_err(|_| of_the_wrong_type(entry, what, &wrong()))
}

fn of_the_wrong_type(entry: &Entry, what: &str, field: &str) -> Fatal {
    Fatal::new(format_args!(
        "error loading config file \"{}\": the {what} {:?}: {field} is of the wrong type",
        entry.file.display(),
        entry.name
    ))
}

pub(crate) fn no_context(name: &str) -> Fatal {
    Fatal::new(format_args!("context {name:?} does not exist"))
}

impl Chosen {
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
        if let Some(user) = &self.user {
            let (certificate, key) = (&user.client_certificate, &user.client_key);
            let has_certificate = user.client_certificate_data.is_some();
            let has_key = user.client_key_data.is_some();
            look("client-cert", &self.user_name, certificate, has_certificate);
            // A key alone is of no use, and nobody looks at it.
            if user.has_certificate() {
                look("client-key", &self.user_name, key, has_key);
            }
        }
        if let Some(cluster) = &self.cluster {
            let has_data = cluster.certificate_authority_data.is_some();
            let file = &cluster.certificate_authority;
            look("certificate-authority", &self.cluster_name, file, has_data);
        }
        unread.extend(self.contradictions());
        match &unread[..] {
            [] => self.check_proxy(),
            [one] => Err(Fatal::new(one)),
            several => Err(Fatal::configuration(several)),
        }
    }

    /// The contradictions that client-go's validation finds.
    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let of = &self.user_name;
        if let Some(cluster) = &self.cluster {
            let both = cluster.certificate_authority.is_some()
                && cluster.certificate_authority_data.is_some();
            if both {
                found.push(format!(
                    "certificate-authority-data and certificate-authority are both specified for {}. \
                     certificate-authority-data will override.",
                    self.cluster_name
                ));
            }
        }
        let Some(user) = &self.user else {
            return found;
        };
        for (what, file, data) in [
            (
                "client-cert",
                user.client_certificate.is_some(),
                user.client_certificate_data.is_some(),
            ),
            (
                "client-key",
                user.client_key.is_some(),
                user.client_key_data.is_some(),
            ),
        ] {
            if file && data && user.has_certificate() {
                found.push(format!(
                    "{what}-data and {what} are both specified for {of}. {what}-data will override."
                ));
            }
        }
        if user.has_certificate() && !user.has_key() {
            found.push(format!(
                "client-key-data or client-key must be specified for {of} to use the clientCert authentication method."
            ));
        }
        if let Some(exec) = &user.exec {
            let needed = |what: &str| {
                format!("{what} must be specified for {of} to use exec authentication plugin")
            };
            if user.auth_provider.is_some() {
                found.push(format!(
                    "authProvider cannot be provided in combination with an exec plugin for {of}"
                ));
            }
            for (name, value) in [
                ("command", &exec.command),
                ("apiVersion", &exec.api_version),
            ] {
                if value.is_empty() {
                    found.push(needed(name));
                }
            }
            let nameless = exec.env.iter().filter(|variable| variable.name.is_empty());
            found.extend(nameless.map(|_| needed("env variable name")));
            match exec.interactive_mode.as_str() {
                "Never" | "IfAvailable" | "Always" => {}
                // The older versions have a default.
                "" if EXEC_WITH_DEFAULT.contains(&&*exec.api_version) => {}
                "" => found.push(needed("interactiveMode")),
                mode => found.push(format!("invalid interactiveMode for {of}: {mode:?}")),
            }
        }
        let mut methods = Vec::new();
        if user.token.is_some() {
            methods.push("token");
        }
        if user.username.is_some() || user.password.is_some() {
            methods.push("basicAuth");
        }
        if methods.len() > 1 {
            found.push(format!(
                "more than one authentication method found for {of}; found {methods:?}, only one is allowed"
            ));
        }
        let impersonated = &user.impersonated;
        let others = impersonated.uid.is_some()
            || !impersonated.groups.is_empty()
            || !impersonated.extra.is_empty();
        if others && impersonated.name.is_none() {
            found.push(format!(
                "requesting uid, groups or user-extra for {of} without impersonating a user"
            ));
        }
        found
    }

    /// Whether TLS can be set up, and a plugin be run.
    pub(crate) fn check_tls(&self) -> Result<(), Fatal> {
        if let Some(cluster) = &self.cluster {
            let has_authority = cluster.certificate_authority.is_some()
                || cluster.certificate_authority_data.is_some();
            if cluster.insecure_skip_tls_verify && has_authority {
                return Err(Fatal::new(
                    "specifying a root certificates file with the insecure flag is not allowed",
                ));
            }
        }
        let exec = self.user.as_ref().and_then(|user| user.exec.as_ref());
        match exec.map(|exec| exec.api_version.as_str()) {
            Some(version) if !EXEC_VERSIONS.contains(&version) => Err(Fatal::new(format_args!(
                "exec plugin: invalid apiVersion {version:?}"
            ))),
            _ => Ok(()),
        }
    }

    fn check_proxy(&self) -> Result<(), Fatal> {
        let cluster = self.cluster.as_ref();
        let proxy = cluster.and_then(|cluster| cluster.proxy_url.as_deref());
        let proxy = proxy.unwrap_or_default();
        let scheme = proxy
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            _ if proxy.is_empty() => Ok(()),
            _ if is_malformed(proxy) => {
                let proxy = uri::without_user_info(proxy);
                Err(Fatal::new(format_args!(
                    "invalid 'proxy-url' \"{proxy}\" for cluster {:?}: could not parse: {proxy}",
                    self.cluster_name
                )))
            }
            Some("http" | "https" | "socks5") => Ok(()),
            // kubectl does not know this one; resolving names at the proxy does no harm.
            Some("socks5h") => Ok(()),
            Some(scheme) => {
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

    /// The cluster and the user of something other than a kubeconfig.
    pub(crate) fn new(cluster: Cluster, user: User) -> Self {
        Self {
            cluster: Some(cluster),
            user: Some(user),
            ..Self::default()
        }
    }

    /// Whether the file with the token can be read, of which there is no use but over TLS.
    pub(crate) fn check_token(&self) -> Result<(), Fatal> {
        let user = self.user.as_ref().filter(|user| user.token.is_none());
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
