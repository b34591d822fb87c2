use std::sync::Arc;

use crate::Text;
use serde::{Deserialize, Serialize};

use super::{Kind, nullable, object, objects, optional_objects};
use crate::{GroupVersion, InvalidName};

/// `GET /api`: the versions of the core group.
///
/// ```
/// use discovery_core::kube::document::{ApiVersions, decode};
///
/// let document: ApiVersions = decode(br#"{"kind":"APIVersions","versions":["v1"]}"#)?;
/// assert_eq!(document.to_group().preferred_version.group_version, "v1");
/// # Ok::<(), discovery_core::kube::document::DecodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiVersions {
    /// `APIVersions`.
    #[serde(default, deserialize_with = "nullable")]
    pub kind: Text,
    /// Servers send none.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub api_version: Text,
    /// The versions, the preferred one first.
    #[serde(default, deserialize_with = "nullable")]
    pub versions: Vec<Text>,
    /// The addresses at which clients of given networks reach the server. Kept for the sake of clients that ask for
    /// the field.
    #[serde(
        default,
        deserialize_with = "optional_objects",
        rename = "serverAddressByClientCIDRs"
    )]
    pub server_address_by_client_cidrs: Option<Vec<ServerAddressByClientCidr>>,
}

/// The groups of a server: `GET /apis`, or with the core group in front, kubectl's
/// `servergroups.json`.
///
/// ```
/// use discovery_core::kube::document::{ApiGroupList, Document};
///
/// let file = "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"apps\",\
///     \"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\
///     \"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}]}\n";
/// let groups = Document::<ApiGroupList>::decode(file.into())?.into_inner();
/// assert_eq!(groups.group("apps").unwrap().versions()[0].version, "v1");
/// assert_eq!(Document::new(groups).json(), file);
/// # Ok::<(), discovery_core::kube::document::DecodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiGroupList {
    /// `APIGroupList`.
    #[serde(default, deserialize_with = "nullable")]
    pub kind: Text,
    /// `v1`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub api_version: Text,
    /// The groups, in the server's order.
    #[serde(default, deserialize_with = "objects")]
    pub groups: Vec<ApiGroup>,
}

/// A group: its versions, and which of them the server prefers. Also `GET /apis/<group>`.
///
/// The example is at [`ApiGroupList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiGroup {
    /// `APIGroup`, where the server sent it.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub kind: Text,
    /// `v1`, where the server sent it.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub api_version: Text,
    /// The name, `""` for the core group.
    #[serde(default, deserialize_with = "nullable")]
    pub name: Text,
    /// The versions in the server's order. `None` is Go's nil slice, which is written `null`.
    #[serde(default, deserialize_with = "optional_objects")]
    pub versions: Option<Vec<GroupVersionForDiscovery>>,
    /// The preferred version. Empty for a group whose versions are all stale.
    #[serde(default, deserialize_with = "object")]
    pub preferred_version: GroupVersionForDiscovery,
    /// The addresses at which clients of given networks reach the server.
    #[serde(
        default,
        rename = "serverAddressByClientCIDRs",
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub server_address_by_client_cidrs: Vec<ServerAddressByClientCidr>,
}

/// A group version, once whole and once the version alone.
///
/// The example is at [`ApiGroupList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupVersionForDiscovery {
    /// For example `apps/v1`.
    #[serde(default, deserialize_with = "nullable")]
    pub group_version: Text,
    /// For example `v1`.
    #[serde(default, deserialize_with = "nullable")]
    pub version: Text,
}

/// The address at which clients of a network reach the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerAddressByClientCidr {
    /// The network, for example `0.0.0.0/0`.
    #[serde(default, rename = "clientCIDR", deserialize_with = "nullable")]
    pub client_cidr: Text,
    /// Host and port.
    #[serde(default, deserialize_with = "nullable")]
    pub server_address: Text,
}

/// The resources of a group version: `GET /api/v1` and `/apis/<group>/<version>`, and kubectl's
/// `serverresources.json`.
///
/// ```
/// use discovery_core::kube::document::{ApiResourceList, decode};
///
/// let list: ApiResourceList = decode(br#"{"kind":"APIResourceList","groupVersion":"v1",
///     "resources":[{"name":"pods","namespaced":true,"kind":"Pod","verbs":["get"]}]}"#)?;
/// assert_eq!(list.resources[0].verbs(), ["get"]);
/// assert!(!list.resources[0].is_subresource());
/// # Ok::<(), discovery_core::kube::document::DecodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResourceList {
    /// `APIResourceList`.
    #[serde(default, deserialize_with = "nullable")]
    pub kind: Text,
    /// `v1`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub api_version: Text,
    /// The group version, for example `apps/v1`.
    #[serde(default, deserialize_with = "nullable")]
    pub group_version: Text,
    /// The resources in the server's order, subresources among them.
    #[serde(default, deserialize_with = "objects")]
    pub resources: Vec<ApiResource>,
}

/// A resource or, with a slash in its name, a subresource.
///
/// The example is at [`ApiResourceList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResource {
    /// The plural name, for example `pods` or `pods/status`.
    #[serde(default, deserialize_with = "nullable")]
    pub name: Text,
    /// For example `pod`.
    #[serde(default, deserialize_with = "nullable")]
    pub singular_name: Text,
    /// Whether its objects live in namespaces.
    #[serde(default, deserialize_with = "nullable")]
    pub namespaced: bool,
    /// The kind's group, where it is not that of the list.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub group: Text,
    /// The kind's version, where it is not that of the list.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub version: Text,
    /// For example `Pod`.
    #[serde(default, deserialize_with = "nullable")]
    pub kind: Text,
    /// The verbs that it allows. `None` is Go's nil slice, which is written `null`. Shared, for a server has
    /// a handful of such lists for thousands of resources.
    #[serde(default)]
    pub verbs: Option<Arc<[Text]>>,
    /// For example `po`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub short_names: Vec<Text>,
    /// For example `all`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub categories: Vec<Text>,
    /// A hash of the version that objects are stored in.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub storage_version_hash: Text,
}

impl ApiVersions {
    /// The core group that it describes; its first version is the preferred one. Without versions
    /// the group is there and has none, as in kubectl's files.
    #[must_use]
    pub fn to_group(&self) -> ApiGroup {
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|version| GroupVersionForDiscovery {
                group_version: version.clone(),
                version: version.clone(),
            })
            .collect();
        ApiGroup {
            preferred_version: versions.first().cloned().unwrap_or_default(),
            versions: Some(versions).filter(|versions| !versions.is_empty()),
            ..ApiGroup::default()
        }
    }
}

impl ApiGroupList {
    /// A list of `groups`.
    #[must_use]
    pub fn new(groups: Vec<ApiGroup>) -> Self {
        Self {
            kind: Self::KIND.into(),
            api_version: "v1".into(),
            groups,
        }
    }

    /// The group of that name; `""` is the core group.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&ApiGroup> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Every group version in order. Those whose names are not fit for a path are left out.
    pub fn group_versions(&self) -> impl Iterator<Item = GroupVersion> {
        self.groups.iter().flat_map(ApiGroup::group_versions)
    }
}

impl ApiGroup {
    /// The versions in order; none for a group whose versions are all stale.
    #[must_use]
    pub fn versions(&self) -> &[GroupVersionForDiscovery] {
        self.versions.as_deref().unwrap_or_default()
    }

    /// The group versions in order. Those whose names are not fit for a path are left out.
    pub fn group_versions(&self) -> impl Iterator<Item = GroupVersion> {
        self.versions().iter().filter_map(|version| {
            version
                .group_version()
                .inspect_err(|error| tracing::debug!(%error, "a group version is left out"))
                .ok()
        })
    }
}

impl GroupVersionForDiscovery {
    /// Its names, checked.
    ///
    /// # Errors
    ///
    /// When they are not fit for a path.
    pub fn group_version(&self) -> Result<GroupVersion, InvalidName> {
        self.group_version.parse()
    }
}

impl From<&GroupVersion> for GroupVersionForDiscovery {
    fn from(group_version: &GroupVersion) -> Self {
        Self {
            group_version: group_version.as_str().into(),
            version: group_version.version().into(),
        }
    }
}

impl ApiResourceList {
    /// The resources of `group_version`.
    #[must_use]
    pub fn new(group_version: &GroupVersion, resources: Vec<ApiResource>) -> Self {
        Self {
            kind: Self::KIND.into(),
            api_version: "v1".into(),
            group_version: group_version.as_str().into(),
            resources,
        }
    }
}

impl ApiResource {
    /// The verbs that it allows.
    #[must_use]
    pub fn verbs(&self) -> &[Text] {
        self.verbs.as_deref().unwrap_or_default()
    }

    /// Whether it is a part of another resource, for example `pods/status`.
    #[must_use]
    pub fn is_subresource(&self) -> bool {
        self.name.as_bytes().contains(&b'/')
    }

    /// Whether it supports all of these verbs. As client-go's `SupportsAllVerbs`.
    #[must_use]
    pub fn supports_all(&self, verbs: &[impl AsRef<str>]) -> bool {
        let supports = |verb: &str| self.verbs().iter().any(|own| *own == verb);
        verbs.iter().all(|verb| supports(verb.as_ref()))
    }

    /// Whether it is in a category, such as `all`.
    #[must_use]
    pub fn is_in_category(&self, name: &str) -> bool {
        self.categories.iter().any(|own| *own == name)
    }
}

impl Default for ApiVersions {
    fn default() -> Self {
        Self {
            kind: Self::KIND.into(),
            api_version: Text::default(),
            versions: Vec::new(),
            server_address_by_client_cidrs: None,
        }
    }
}

impl Kind for ApiVersions {
    const KIND: &'static str = "APIVersions";
    const FIELD: &'static str = "versions";

    fn kind(&self) -> &str {
        &self.kind
    }
}

impl Kind for ApiGroup {
    const KIND: &'static str = "APIGroup";
    const FIELD: &'static str = "versions";

    fn kind(&self) -> &str {
        &self.kind
    }
}
