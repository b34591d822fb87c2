//! kube's types and ours.

use std::sync::Arc;

use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope as KubeScope};

use crate::mapper::{MapError, Mapping, RestMapper, Scope};

impl RestMapper {
    /// As [`mapping`](Self::mapping), for kube's name of a kind. An empty version stands for the one that comes first.
    ///
    /// ```
    /// use discovery_client::mapper::RestMapper;
    /// use discovery_core::Snapshot;
    ///
    /// let mapper = RestMapper::new(&Snapshot::default());
    /// let kind = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
    /// assert!(mapper.mapping_of(&kind).unwrap_err().is_no_match());
    /// ```
    ///
    /// # Errors
    ///
    /// When the group version has no such kind.
    pub fn mapping_of(&self, kind: &GroupVersionKind) -> Result<Arc<Mapping>, MapError> {
        let versions = [kind.version.as_str()];
        let versions = if kind.version.is_empty() {
            &[][..]
        } else {
            &versions
        };
        self.mapping(&kind.group, &kind.kind, versions)
    }

    /// The mapping of kube's name of a resource.
    ///
    /// # Errors
    ///
    /// When the group version has no such resource.
    pub fn mapping_for(&self, resource: &ApiResource) -> Result<Arc<Mapping>, MapError> {
        let ApiResource {
            group,
            version,
            plural,
            ..
        } = resource;
        let name = if group.is_empty() {
            format!("{plural}.{version}.")
        } else {
            format!("{plural}.{version}.{group}")
        };
        let mut found = self.resources_for(&name).into_iter();
        let is_it = |mapping: &Arc<Mapping>| {
            let found = &mapping.group_version;
            found.group() == group && found.version() == version && mapping.resource == *plural
        };
        match found.find(is_it) {
            Some(mapping) => Ok(mapping),
            None => self.mapping(group, &resource.kind, &[version]),
        }
    }
}

impl From<&Mapping> for GroupVersionKind {
    fn from(mapping: &Mapping) -> Self {
        let group_version = &mapping.group_version;
        Self::gvk(
            group_version.group(),
            group_version.version(),
            &mapping.kind,
        )
    }
}

/// For `kube::Api::all_with` and its like.
impl From<&Mapping> for ApiResource {
    fn from(mapping: &Mapping) -> Self {
        Self::from_gvk_with_plural(&mapping.into(), &mapping.resource)
    }
}

/// Without subresources, which have no mapping.
impl From<&Mapping> for ApiCapabilities {
    fn from(mapping: &Mapping) -> Self {
        Self {
            scope: match mapping.scope {
                Scope::Namespaced => KubeScope::Namespaced,
                Scope::Cluster => KubeScope::Cluster,
            },
            subresources: Vec::new(),
            operations: mapping.verbs.iter().map(ToString::to_string).collect(),
        }
    }
}
