use std::collections::HashMap;
use std::sync::Arc;

use crate::Text;

use super::{
    ApiGroup, ApiGroupDiscovery, ApiGroupDiscoveryList, ApiGroupList, ApiResource,
    ApiResourceDiscovery, ApiResourceList, ApiSubresourceDiscovery, ApiVersionDiscovery,
    GroupVersionForDiscovery, Kind, ListMeta, ObjectMeta, ResponseKind, Verbs,
};
use crate::GroupVersion;

/// An aggregated document, taken apart into legacy ones.
///
/// As client-go does it: stale versions are left out of their group and listed in `stale`, the
/// preferred version is the first that is not stale, and a subresource becomes a resource named
/// `<parent>/<sub>` with its parent's scope and singular name. A resource without
/// `responseKind` is left out.
///
/// ```
/// use discovery_core::kube::document::{Aggregated, ApiGroupDiscoveryList, decode};
///
/// let document: ApiGroupDiscoveryList = decode(br#"{"kind":"APIGroupDiscoveryList","items":[
///     {"metadata":{"name":"apps"},"versions":[
///         {"version":"v2","freshness":"Stale"},
///         {"version":"v1","resources":[{"resource":"deployments","scope":"Namespaced",
///             "responseKind":{"kind":"Deployment"},"verbs":["get"]}]}]}]}"#)?;
/// let aggregated = Aggregated::from(document);
/// assert_eq!(aggregated.groups[0].preferred_version.version, "v1");
/// assert_eq!(aggregated.stale[0], "apps/v2".parse()?);
/// assert_eq!(aggregated.lists[0].1.resources[0].name, "deployments");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Aggregated {
    /// The groups in the server's order.
    pub groups: Vec<ApiGroup>,
    /// The resources of each version that is not stale, in the server's order. Of a group version
    /// that is listed twice, the later list counts.
    pub lists: Vec<(GroupVersion, ApiResourceList)>,
    /// The versions whose resources the server could not tell.
    pub stale: Vec<GroupVersion>,
    /// All versions in the server's order.
    pub(crate) order: Vec<GroupVersion>,
}

impl From<ApiGroupDiscoveryList> for Aggregated {
    fn from(document: ApiGroupDiscoveryList) -> Self {
        let mut this = Self::default();
        let mut verbs = Verbs::default();
        for group in document.items {
            this.add_group(group, &mut verbs);
        }
        this
    }
}

impl Aggregated {
    fn add_group(&mut self, group: ApiGroupDiscovery, verbs: &mut Verbs) {
        let name = group.metadata.name;
        let mut versions: Option<Vec<GroupVersionForDiscovery>> = None;
        for version in group.versions {
            let group_version = match GroupVersion::new(&name, &version.version) {
                Ok(group_version) => group_version,
                Err(error) => {
                    tracing::debug!(%error, "a group version is left out");
                    continue;
                }
            };
            self.order.push(group_version.clone());
            if version.is_stale() {
                self.stale.push(group_version);
                continue;
            }
            versions
                .get_or_insert_default()
                .push((&group_version).into());
            let resources = version
                .resources
                .into_iter()
                .flat_map(legacy_resources)
                .collect();
            let mut list = ApiResourceList::new(&group_version, resources);
            verbs.compact(&mut list);
            self.lists.push((group_version, list));
        }
        let preferred_version = versions
            .as_ref()
            .and_then(|versions| versions.first().cloned())
            .unwrap_or_default();
        self.groups.push(ApiGroup {
            name,
            versions,
            preferred_version,
            ..ApiGroup::default()
        });
    }
}

/// The resource, then its subresources.
fn legacy_resources(resource: ApiResourceDiscovery) -> Vec<ApiResource> {
    let namespaced = resource.scope == "Namespaced";
    let mut all = Vec::with_capacity(1 + resource.subresources.len());
    if let Some(kind) = present(resource.response_kind) {
        all.push(ApiResource {
            name: resource.resource.clone(),
            singular_name: resource.singular_resource.clone(),
            namespaced,
            group: kind.group,
            version: kind.version,
            kind: kind.kind,
            verbs: resource.verbs,
            short_names: resource.short_names,
            categories: resource.categories,
            storage_version_hash: Text::default(),
        });
    }
    for sub in resource.subresources {
        let Some(kind) = present(sub.response_kind) else {
            continue;
        };
        all.push(ApiResource {
            name: Text::format(format_args!("{}/{}", resource.resource, sub.subresource)),
            singular_name: resource.singular_resource.clone(),
            namespaced,
            group: kind.group,
            version: kind.version,
            kind: kind.kind,
            verbs: sub.verbs,
            ..ApiResource::default()
        });
    }
    all
}

fn present(kind: Option<ResponseKind>) -> Option<ResponseKind> {
    kind.filter(|kind| !kind.is_missing())
}

/// Puts legacy documents together into an aggregated one.
///
/// `core` asks for what `/api` answers, otherwise it is what `/apis` answers. `lists` gives the
/// resources of a group version; a version without them is marked stale, as a server marks one that
/// it can't reach. Groups without versions are left out, and absent verbs are an empty list:
/// kube-rs gives up on the whole document when it meets the one or a `null`.
///
/// ```
/// use discovery_core::kube::document::{ApiGroupList, ApiVersions, aggregate};
///
/// let versions = ApiVersions { versions: vec!["v1".into()], ..Default::default() };
/// let groups = ApiGroupList::new(vec![versions.to_group()]);
/// let document = aggregate("apidiscovery.k8s.io/v2", &groups, true, |_| None);
/// assert!(document.items[0].versions[0].is_stale());
/// ```
pub fn aggregate<'a>(
    api_version: &str,
    groups: &ApiGroupList,
    core: bool,
    lists: impl Fn(&GroupVersion) -> Option<&'a ApiResourceList>,
) -> ApiGroupDiscoveryList {
    aggregate_in_order(api_version, groups, core, preferred_first, lists)
}

/// As [`aggregate`], with the versions of each group that `versions` tells, in that order. They may be more than those of
/// the group, which has no stale ones.
pub(crate) fn aggregate_in_order<'a>(
    api_version: &str,
    groups: &ApiGroupList,
    core: bool,
    versions: impl Fn(&ApiGroup) -> Vec<GroupVersion>,
    lists: impl Fn(&GroupVersion) -> Option<&'a ApiResourceList>,
) -> ApiGroupDiscoveryList {
    let items = groups
        .groups
        .iter()
        .filter(|group| group.name.is_empty() == core)
        .map(|group| ApiGroupDiscovery {
            metadata: ObjectMeta {
                name: group.name.clone(),
            },
            versions: versions(group)
                .iter()
                .map(|group_version| aggregated_version(group_version, lists(group_version)))
                .collect(),
        })
        .filter(|group| !group.versions.is_empty())
        .collect();
    ApiGroupDiscoveryList {
        kind: ApiGroupDiscoveryList::KIND.into(),
        api_version: api_version.into(),
        metadata: ListMeta {},
        items,
    }
}

/// The order of versions is all that tells the preferred one in an aggregated document.
pub(crate) fn preferred_first(group: &ApiGroup) -> Vec<GroupVersion> {
    let mut versions: Vec<_> = group.group_versions().collect();
    let preferred = group.preferred_version.group_version.as_str();
    if let Some(at) = versions
        .iter()
        .position(|version| version.as_str() == preferred)
    {
        versions[..=at].rotate_right(1);
    }
    versions
}

fn aggregated_version(
    group_version: &GroupVersion,
    list: Option<&ApiResourceList>,
) -> ApiVersionDiscovery {
    let version = group_version.version().into();
    match list {
        Some(list) => ApiVersionDiscovery {
            version,
            resources: aggregated_resources(&list.resources),
            freshness: "Current".into(),
        },
        None => ApiVersionDiscovery {
            version,
            freshness: "Stale".into(),
            ..Default::default()
        },
    }
}

fn aggregated_resources(resources: &[ApiResource]) -> Vec<ApiResourceDiscovery> {
    let mut all: Vec<ApiResourceDiscovery> = Vec::new();
    let mut parents: HashMap<&str, usize> = HashMap::new();
    for resource in resources {
        let (parent, sub) = match resource.name.split_once('/') {
            Some((parent, sub)) => (parent, Some(sub)),
            None => (resource.name.as_str(), None),
        };
        let at = *parents.entry(parent).or_insert_with(|| {
            all.push(ApiResourceDiscovery {
                resource: parent.into(),
                scope: scope(resource),
                singular_resource: resource.singular_name.clone(),
                verbs: Some(Arc::default()),
                ..ApiResourceDiscovery::default()
            });
            all.len() - 1
        });
        let response_kind = Some(ResponseKind {
            group: resource.group.clone(),
            version: resource.version.clone(),
            kind: resource.kind.clone(),
        });
        let entry = &mut all[at];
        match sub {
            Some(sub) => entry.subresources.push(ApiSubresourceDiscovery {
                subresource: sub.into(),
                response_kind,
                verbs: Some(resource.verbs.clone().unwrap_or_default()),
            }),
            None => {
                entry.response_kind = response_kind;
                // The values of a subresource before it do not count.
                entry.scope = scope(resource);
                entry.singular_resource = resource.singular_name.clone();
                entry.verbs = Some(resource.verbs.clone().unwrap_or_default());
                entry.short_names.clone_from(&resource.short_names);
                entry.categories.clone_from(&resource.categories);
            }
        }
    }
    all
}

fn scope(resource: &ApiResource) -> Text {
    if resource.namespaced {
        Text::from_static("Namespaced")
    } else {
        Text::from_static("Cluster")
    }
}
