//! The flags that stand for fields of a kubeconfig, with kubectl's names.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::kubeconfig::{Chosen, Cluster, User};
use crate::values;

/// The profiles that kubectl can write.
const PROFILES: [&str; 7] = [
    "none",
    "cpu",
    "heap",
    "goroutine",
    "threadcreate",
    "block",
    "mutex",
];

/// The fields of the cluster and the user that the command line tells.
#[derive(Clone, Default, Args)]
pub(crate) struct Overrides {
    /// The name of the kubeconfig cluster to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) cluster: Option<String>,

    /// The name of the kubeconfig user to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Bearer token for authentication to the API server.
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,

    /// Username for basic authentication to the API server.
    #[arg(long, global = true, value_name = "NAME")]
    username: Option<String>,

    /// Password for basic authentication to the API server.
    #[arg(long, global = true, value_name = "PASSWORD")]
    password: Option<String>,

    /// Path to a client certificate file for TLS.
    #[arg(long, global = true, value_name = "FILE")]
    client_certificate: Option<String>,

    /// Path to a client key file for TLS.
    #[arg(long, global = true, value_name = "FILE")]
    client_key: Option<String>,

    /// Path to a cert file for the certificate authority.
    #[arg(long, global = true, value_name = "FILE")]
    certificate_authority: Option<String>,

    /// If true, the server's certificate is not checked for validity. This makes your HTTPS connections insecure.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    insecure_skip_tls_verify: bool,

    /// Server name to use for server certificate validation, if it is not the host that is asked.
    #[arg(long, global = true, value_name = "NAME")]
    tls_server_name: Option<String>,

    /// The proxy to go through: http, https, or socks5.
    #[arg(long, global = true, value_name = "URL")]
    proxy_url: Option<String>,

    /// If true, opt out of response compression for all requests to the server.
    #[arg(
        long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set,
        value_parser = values::boolean
    )]
    disable_compression: bool,

    /// Username to impersonate for the operation.
    #[arg(long = "as", global = true, value_name = "NAME")]
    impersonate: Option<String>,

    /// Group to impersonate for the operation; may be repeated.
    #[arg(long = "as-group", global = true, value_name = "GROUP", action = ArgAction::Append)]
    as_groups: Vec<String>,

    /// UID to impersonate for the operation.
    #[arg(long = "as-uid", global = true, value_name = "UID")]
    as_uid: Option<String>,

    /// User extras to impersonate for the operation, as key=value; may be repeated.
    #[arg(long = "as-user-extra", global = true, value_name = "KEY=VALUE", action = ArgAction::Append)]
    as_extra: Vec<String>,

    /// Accepted as kubectl's, and without effect here: resources are those of the cluster.
    #[arg(short, long, global = true, value_name = "NAME", hide = true)]
    namespace: Option<String>,

    /// Accepted as kubectl's, and without effect.
    #[arg(long, global = true, value_name = "NAME", hide = true, value_parser = PROFILES)]
    profile: Option<String>,

    /// Accepted as kubectl's, and without effect.
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    profile_output: Option<String>,

    /// Accepted as kubectl's, and without effect.
    #[arg(long, global = true, value_name = "PATTERN=N", hide = true, value_parser = values::levels)]
    vmodule: Option<String>,

    /// Accepted as kubectl's, and without effect.
    #[arg(long, global = true, value_name = "DURATION", hide = true, value_parser = values::duration)]
    log_flush_frequency: Option<Duration>,
}

/// Without what may be a secret.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overrides")
            .field("cluster", &self.cluster)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Overrides {
    /// Puts the flags in the place of what a kubeconfig has, as client-go's `ConfigOverrides`. Empty ones count as not
    /// given.
    pub(crate) fn apply(&self, chosen: &mut Chosen, has_server: bool) {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let authority = given(&self.certificate_authority);
        let name = given(&self.tls_server_name);
        let proxy = given(&self.proxy_url);
        let changes_cluster = self.insecure_skip_tls_verify
            || self.disable_compression
            || authority.is_some()
            || name.is_some()
            || proxy.is_some();
        if changes_cluster || (has_server && chosen.cluster.is_some()) {
            let cluster = chosen.cluster.get_or_insert_with(Cluster::default);
            if self.insecure_skip_tls_verify || authority.is_some() {
                cluster.insecure_skip_tls_verify = self.insecure_skip_tls_verify;
                cluster.certificate_authority = authority;
                cluster.certificate_authority_data = None;
            }
            // The name of another server is none of this one's.
            if name.is_some() || has_server {
                cluster.tls_server_name = name;
            }
            if proxy.is_some() {
                cluster.proxy_url = proxy;
            }
            if self.disable_compression {
                cluster.disable_compression = true;
            }
        }
        let user = chosen.user.get_or_insert_with(User::default);
        if let Some(token) = given(&self.token) {
            user.token = Some(token);
            user.token_file = None;
        }
        user.username = given(&self.username).or(user.username.take());
        user.password = given(&self.password).or(user.password.take());
        if let Some(file) = given(&self.client_certificate) {
            user.client_certificate = Some(file);
            user.client_certificate_data = None;
        }
        if let Some(file) = given(&self.client_key) {
            user.client_key = Some(file);
            user.client_key_data = None;
        }
        let impersonated = &mut user.impersonated;
        impersonated.name = given(&self.impersonate).or(impersonated.name.take());
        impersonated.uid = given(&self.as_uid).or(impersonated.uid.take());
        if !self.as_groups.is_empty() {
            impersonated.groups.clone_from(&self.as_groups);
        }
        // Keys of the kubeconfig that no flag has stay, and a flag without a value has none.
        let mut extra = BTreeMap::<_, Vec<_>>::new();
        let pairs = self.as_extra.iter().filter_map(|pair| pair.split_once('='));
        for (key, value) in pairs {
            extra
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        impersonated.extra.extend(extra);
    }
}
