//! The fields of clusters and users that mean something here.
//!
//! No field is needed, and unknown ones are left alone, as in client-go. None of these types is `Debug`, for nearly all of
//! them hold secrets.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The `cluster` of an entry.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Cluster {
    pub(crate) server: Option<String>,
    pub(crate) tls_server_name: Option<String>,
    pub(crate) insecure_skip_tls_verify: bool,
    /// The name of a file.
    pub(crate) certificate_authority: Option<String>,
    /// Base64 of PEM.
    pub(crate) certificate_authority_data: Option<String>,
    pub(crate) proxy_url: Option<String>,
    pub(crate) disable_compression: bool,
    pub(crate) extensions: Vec<Extension>,
}

/// A piece of configuration that other programs keep in a kubeconfig.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Extension {
    name: Value,
    extension: Value,
}

/// The `user` of an entry.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct User {
    pub(crate) token: Option<String>,
    #[serde(rename = "tokenFile")]
    pub(crate) token_file: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    /// The name of a file.
    pub(crate) client_certificate: Option<String>,
    /// Base64 of PEM.
    pub(crate) client_certificate_data: Option<String>,
    /// The name of a file.
    pub(crate) client_key: Option<String>,
    /// Base64 of PEM.
    pub(crate) client_key_data: Option<String>,
    #[serde(flatten)]
    pub(crate) impersonated: Impersonated,
    pub(crate) auth_provider: Option<AuthProvider>,
    pub(crate) exec: Option<Exec>,
}

/// The user that the server is to take this one for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Impersonated {
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
    #[serde(rename = "as-uid")]
    pub(crate) uid: Option<String>,
    #[serde(rename = "as-groups", deserialize_with = "texts")]
    pub(crate) groups: Vec<String>,
    #[serde(rename = "as-user-extra", deserialize_with = "lists")]
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

/// A way to authenticate that client-go knew once; one of them is left.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthProvider {
    pub(crate) name: String,
    #[serde(deserialize_with = "pairs")]
    pub(crate) config: BTreeMap<String, String>,
}

/// A program that prints credentials.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Exec {
    pub(crate) command: String,
    #[serde(deserialize_with = "texts")]
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<Variable>,
    pub(crate) api_version: String,
    pub(crate) install_hint: String,
    pub(crate) provide_cluster_info: bool,
    pub(crate) interactive_mode: String,
}

/// A variable for such a program.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Cluster {
    /// The configuration that credential plugins are told.
    pub(crate) fn plugin_configuration(&self) -> Option<&Value> {
        const NAME: &str = "client.authentication.k8s.io/exec";
        let mut named = self.extensions.iter().filter(|found| found.name == NAME);
        let found = &named.next()?.extension;
        (!found.is_null()).then_some(found)
    }
}

impl User {
    /// Nothing but the user that is impersonated, which is no secret.
    pub(crate) fn without_credentials(self) -> Self {
        Self {
            impersonated: self.impersonated,
            ..Self::default()
        }
    }

    pub(crate) const fn has_certificate(&self) -> bool {
        self.client_certificate.is_some() || self.client_certificate_data.is_some()
    }

    pub(crate) const fn has_key(&self) -> bool {
        self.client_key.is_some() || self.client_key_data.is_some()
    }
}

/// A list in which a null is an empty text, as for Go.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let list = Option::<Vec<Option<String>>>::deserialize(from)?;
    let list = list.unwrap_or_default().into_iter();
    Ok(list.map(Option::unwrap_or_default).collect())
}

fn lists<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    type Lists = BTreeMap<String, Option<Vec<Option<String>>>>;
    let map = Option::<Lists>::deserialize(from)?.unwrap_or_default();
    let filled = |list: Option<Vec<Option<String>>>| {
        let list = list.unwrap_or_default().into_iter();
        list.map(Option::unwrap_or_default).collect()
    };
    Ok(map
        .into_iter()
        .map(|(key, list)| (key, filled(list)))
        .collect())
}

fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(from)?.unwrap_or_default();
    Ok(map
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_in_lists_are_empty() {
        let user: User = serde_saphyr::from_str(
            "{as: a, as-groups: [null, g], as-user-extra: {k: [null, v], l: null}, \
             auth-provider: {name: n, config: {a: null}}}",
        )
        .unwrap();
        assert_eq!(user.impersonated.groups, ["", "g"]);
        assert_eq!(user.impersonated.extra["k"], ["", "v"]);
        assert!(user.impersonated.extra["l"].is_empty());
        assert_eq!(user.auth_provider.unwrap().config["a"], "");
    }

    #[test]
    fn only_the_extension_for_plugins_is_told() {
        let cluster = |extensions: &str| -> Cluster {
            serde_saphyr::from_str(&format!("{{extensions: [{extensions}]}}")).unwrap()
        };
        let ours = "{name: client.authentication.k8s.io/exec, extension: {audience: a}}";
        let cluster_of_two = cluster(&format!("{{name: 5}}, {ours}"));
        let found = cluster_of_two.plugin_configuration();
        assert_eq!(found, Some(&serde_json::json!({ "audience": "a" })));
        let none = cluster("{name: x, extension: {}}, {name: client.authentication.k8s.io/exec}");
        assert!(none.plugin_configuration().is_none());
    }
}
