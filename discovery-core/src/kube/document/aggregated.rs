use std::sync::Arc;

use crate::Text;
use serde::{Deserialize, Serialize};

use super::{nullable, object, objects, optional_object};

/// Everything that a server serves, in one document: `/api` for the core group, `/apis` for the
/// others. The versions `v2` and `v2beta1` have the same shape.
///
/// ```
/// use discovery_core::kube::document::{ApiGroupDiscoveryList, decode};
///
/// let document: ApiGroupDiscoveryList = decode(br#"{"kind":"APIGroupDiscoveryList","items":[
///     {"metadata":{"name":"apps"},"versions":[{"version":"v1","freshness":"Current"}]}]}"#)?;
/// assert_eq!(document.items[0].metadata.name, "apps");
/// assert!(!document.items[0].versions[0].is_stale());
/// # Ok::<(), discovery_core::kube::document::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiGroupDiscoveryList {
    /// `APIGroupDiscoveryList`.
    #[serde(default, deserialize_with = "nullable")]
    pub kind: Text,
    /// `apidiscovery.k8s.io/v2` or `apidiscovery.k8s.io/v2beta1`.
    #[serde(default, deserialize_with = "nullable")]
    pub api_version: Text,
    /// Servers send it empty.
    #[serde(default, deserialize_with = "object")]
    pub metadata: ListMeta,
    /// The groups, in the server's order.
    #[serde(default, deserialize_with = "objects")]
    pub items: Vec<ApiGroupDiscovery>,
}

/// The list's metadata, of which nothing is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMeta {}

/// A group's metadata, of which only the name is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectMeta {
    /// The group's name, absent for the core group.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub name: Text,
}

/// A group with all its versions. The example is at [`ApiGroupDiscoveryList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiGroupDiscovery {
    /// Holds the name.
    #[serde(default, deserialize_with = "object")]
    pub metadata: ObjectMeta,
    /// The versions, the preferred one first.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub versions: Vec<ApiVersionDiscovery>,
}

/// A version of a group with all its resources. The example is at [`ApiGroupDiscoveryList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiVersionDiscovery {
    /// The version alone, for example `v1`.
    #[serde(default, deserialize_with = "nullable")]
    pub version: Text,
    /// The resources, in the server's order.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub resources: Vec<ApiResourceDiscovery>,
    /// `Current`, or `Stale` where the server could not reach what serves the version.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Text::is_empty"
    )]
    pub freshness: Text,
}

/// A resource with its subresources. The example is at [`ApiGroupDiscoveryList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResourceDiscovery {
    /// The plural name.
    #[serde(default, deserialize_with = "nullable")]
    pub resource: Text,
    /// The kind of the server's answers.
    #[serde(
        default,
        deserialize_with = "optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub response_kind: Option<ResponseKind>,
    /// `Namespaced` or `Cluster`.
    #[serde(default, deserialize_with = "nullable")]
    pub scope: Text,
    /// The singular name.
    #[serde(default, deserialize_with = "nullable")]
    pub singular_resource: Text,
    /// The verbs that it allows. `None` is Go's nil slice, which is written `null`.
    #[serde(default)]
    pub verbs: Option<Arc<[Text]>>,
    /// Abbreviations.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub short_names: Vec<Text>,
    /// Groups of resources that it belongs to.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub categories: Vec<Text>,
    /// Its parts, for example `status`.
    #[serde(
        default,
        deserialize_with = "objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub subresources: Vec<ApiSubresourceDiscovery>,
}

/// A part of a resource. The example is at [`ApiGroupDiscoveryList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiSubresourceDiscovery {
    /// The name, without the resource's.
    #[serde(default, deserialize_with = "nullable")]
    pub subresource: Text,
    /// The kind of the server's answers.
    #[serde(
        default,
        deserialize_with = "optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub response_kind: Option<ResponseKind>,
    /// The verbs that it allows. `None` is Go's nil slice, which is written `null`.
    #[serde(default)]
    pub verbs: Option<Arc<[Text]>>,
}

/// A kind with its group and version, which are empty where they are those of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseKind {
    /// The group.
    #[serde(default, deserialize_with = "nullable")]
    pub group: Text,
    /// The version.
    #[serde(default, deserialize_with = "nullable")]
    pub version: Text,
    /// The kind.
    #[serde(default, deserialize_with = "nullable")]
    pub kind: Text,
}

impl ApiVersionDiscovery {
    /// Whether the server could not reach what serves the version. Only `Stale` says so.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.freshness == "Stale"
    }
}

impl ResponseKind {
    /// All empty counts as missing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.group.is_empty() && self.version.is_empty() && self.kind.is_empty()
    }
}
