use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use discovery_core::kube::document::{ApiResource, ApiResourceList, Document};
use discovery_core::{Discovered, Error, GroupVersion, Snapshot};
use foldhash::quality::RandomState;

/// Each resource of a server once, in the version that the server prefers.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Preferred {
    /// The resources, in the server's order of groups and versions.
    pub resources: Vec<Resource>,
    /// The group versions whose resources could not be had, stale ones among them.
    pub failed: BTreeMap<GroupVersion, Error>,
}

/// A resource and the group version that it was found in. Shares the list that it is in.
///
/// ```
/// use discovery_client::preferred;
/// use discovery_core::kube::document::{ApiGroupList, ApiResource, ApiResourceList, ApiVersions};
/// use discovery_core::Snapshot;
///
/// let v1 = "v1".parse()?;
/// let mut snapshot = Snapshot::default();
/// let core = ApiVersions { versions: vec!["v1".into()], ..Default::default() };
/// snapshot.set_groups(ApiGroupList::new(vec![core.to_group()]));
/// let pods = ApiResource { name: "pods".into(), ..Default::default() };
/// snapshot.insert(&v1, ApiResourceList::new(&v1, vec![pods]));
///
/// let pods = &preferred(&snapshot)[0];
/// assert_eq!((pods.group_version(), pods.name.as_str()), (&v1, "pods"));
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone)]
pub struct Resource {
    group_version: GroupVersion,
    list: Arc<Document<ApiResourceList>>,
    index: usize,
}

impl From<Discovered> for Preferred {
    fn from(discovered: Discovered) -> Self {
        Self {
            resources: preferred(&discovered.snapshot),
            failed: discovered.failed,
        }
    }
}

impl Preferred {
    /// Keeps only what lives in namespaces.
    pub fn namespaced(mut self) -> Self {
        self.resources.retain(|resource| resource.namespaced);
        self
    }
}

/// The preferred resources of what is known: a resource comes from its group's preferred version,
/// or from the first version that has it. Subresources are left out. Of a group or a resource that
/// is listed twice, the later one counts. As client-go's `ServerPreferredResources`.
///
/// The example is at [`Resource`].
#[must_use]
pub fn preferred(snapshot: &Snapshot) -> Vec<Resource> {
    let most = snapshot.lists().map(|(_, list)| list.resources.len()).sum();
    let mut found = Vec::new();
    // Seeded, so that nobody can choose names that collide.
    let mut places = HashMap::with_capacity_and_hasher(most, RandomState::default());
    let groups = snapshot.groups().map_or(&[][..], |groups| &groups.groups);
    for group in groups {
        for version in group.versions() {
            let is_preferred = version.version == group.preferred_version.version;
            let Some((group_version, list)) = snapshot.list(&version.group_version) else {
                continue;
            };
            for (index, resource) in list.resources.iter().enumerate() {
                if resource.is_subresource() {
                    continue;
                }
                let next = found.len();
                match places.entry((group.name.as_str(), resource.name.as_str())) {
                    Entry::Occupied(_) if !is_preferred => continue,
                    Entry::Occupied(mut place) => found[place.insert(next)] = None,
                    Entry::Vacant(place) => _ = place.insert(next),
                }
                found.push(Some(Resource {
                    group_version: group_version.clone(),
                    list: Arc::clone(list),
                    index,
                }));
            }
        }
    }
    found.into_iter().flatten().collect()
}

impl Resource {
    /// The group version that it was found in.
    #[must_use]
    pub const fn group_version(&self) -> &GroupVersion {
        &self.group_version
    }
}

impl Deref for Resource {
    type Target = ApiResource;

    fn deref(&self) -> &ApiResource {
        &self.list.resources[self.index]
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("group_version", &self.group_version)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
