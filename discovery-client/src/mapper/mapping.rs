//! A resource, and the names and paths that follow from it.

use std::sync::Arc;

use discovery_core::kube::document::ApiResource;
use discovery_core::{GroupVersion, GroupVersionKind, GroupVersionResource, Text};

use super::names::{Scope, lower};

/// A resource and its names.
///
/// ```
/// # use discovery_core::{Snapshot, kube::document::{ApiGroupList, ApiResource, ApiResourceList, ApiVersions}};
/// # let core = ApiVersions { versions: vec!["v1".into()], ..Default::default() }.to_group();
/// # let mut snapshot = Snapshot::default();
/// # snapshot.set_groups(ApiGroupList::new(vec![core]));
/// # let pods = ApiResource { name: "pods".into(), kind: "Pod".into(), namespaced: true, ..Default::default() };
/// # snapshot.insert(&"v1".parse()?, ApiResourceList::new(&"v1".parse()?, vec![pods]));
/// use discovery_client::mapper::{RestMapper, Scope};
///
/// let pods = RestMapper::new(&snapshot).resolve("pods")?;
/// assert_eq!((&*pods.kind, pods.scope), ("Pod", Scope::Namespaced));
/// assert_eq!(pods.path(Some("default")), "/api/v1/namespaces/default/pods");
/// assert_eq!(pods.group_version_kind().to_string(), "v1, Kind=Pod");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mapping {
    /// The group and the version.
    pub group_version: GroupVersion,
    /// The plural name, which is that in paths.
    pub resource: Text,
    /// The singular name. A server that tells none means the kind in lower case.
    pub singular: Text,
    /// The kind.
    pub kind: Text,
    /// Whether its objects are in namespaces.
    pub scope: Scope,
    /// The short names.
    pub short_names: Vec<Text>,
    /// The categories, such as `all`.
    pub categories: Vec<Text>,
    /// The verbs, shared with the snapshot.
    pub verbs: Arc<[Text]>,
}

impl Mapping {
    pub(super) fn new(group_version: &GroupVersion, resource: &ApiResource) -> Self {
        let singular = if resource.singular_name.is_empty() {
            lower(&resource.kind).as_ref().into()
        } else {
            resource.singular_name.clone()
        };
        Self {
            group_version: group_version.clone(),
            resource: resource.name.clone(),
            singular,
            kind: resource.kind.clone(),
            scope: if resource.namespaced {
                Scope::Namespaced
            } else {
                Scope::Cluster
            },
            short_names: resource.short_names.clone(),
            categories: resource.categories.clone(),
            verbs: resource.verbs.clone().unwrap_or_default(),
        }
    }

    /// The group version and the plural name.
    #[must_use]
    pub fn group_version_resource(&self) -> GroupVersionResource {
        self.group_version.with_resource(self.resource.clone())
    }

    /// The group version and the kind.
    #[must_use]
    pub fn group_version_kind(&self) -> GroupVersionKind {
        self.group_version.with_kind(self.kind.clone())
    }

    /// The name with version and group: `deployments.v1.apps`, or `pods` for the core group.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.group_version.group() {
            "" => self.resource.to_string(),
            group => format!("{}.{}.{group}", self.resource, self.group_version.version()),
        }
    }

    /// The path of the collection: in a namespace, if the resource is namespaced and one is given.
    #[must_use]
    pub fn path(&self, namespace: Option<&str>) -> String {
        let base = self.group_version.path();
        match namespace.filter(|_| self.scope == Scope::Namespaced) {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{}", self.resource),
            None => format!("{base}/{}", self.resource),
        }
    }
}
