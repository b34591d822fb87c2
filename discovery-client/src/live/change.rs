use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use discovery_core::kube::document::ApiResource;
use discovery_core::{GroupVersion, GroupVersionResource, Snapshot, Text};

/// The difference of two snapshots, in the order of the names.
///
/// A list that is not known is no news: its resources count as removed only when the server no
/// longer has their group version, and as added only once their list is there.
///
/// ```
/// use discovery_client::live::Change;
/// use discovery_core::kube::document::{ApiGroupList, ApiResource, ApiResourceList, ApiVersions};
/// use discovery_core::{GroupVersion, Snapshot};
///
/// let v1: GroupVersion = "v1".parse()?;
/// let core = ApiVersions { versions: vec!["v1".into()], ..Default::default() };
/// let mut now = Snapshot::default();
/// now.set_groups(ApiGroupList::new(vec![core.to_group()]));
/// let pods = ApiResource { name: "pods".into(), ..Default::default() };
/// now.insert(&v1, ApiResourceList::new(&v1, vec![pods]));
///
/// let change = Change::between(&Snapshot::default(), &now);
/// assert_eq!(change.added, [v1.with_resource("pods")]);
/// assert!(Change::between(&now, &now).is_empty());
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Resources that came.
    pub added: Vec<GroupVersionResource>,
    /// Resources that went.
    pub removed: Vec<GroupVersionResource>,
    /// Resources whose entry is another, for example with other verbs or short names.
    pub changed: Vec<GroupVersionResource>,
}

impl Change {
    /// Compares an earlier snapshot with a later one.
    #[must_use]
    pub fn between(before: &Snapshot, now: &Snapshot) -> Self {
        let mut change = Self::default();
        let (served_before, served_now) = (served(before), served(now));
        for (group_version, list) in now.lists() {
            if !served_now.contains(group_version) {
                continue;
            }
            let known = before.resources(group_version.as_str());
            let known = known.filter(|_| served_before.contains(group_version));
            if known.is_some_and(|known| Arc::ptr_eq(known, list)) {
                continue;
            }
            let mut known = known.map_or_else(HashMap::new, |known| by_name(&known.resources));
            for (name, resource) in by_name(&list.resources) {
                let name = || group_version.with_resource(name.clone());
                match known.remove(&resource.name) {
                    None => change.added.push(name()),
                    Some(old) if old != resource => change.changed.push(name()),
                    Some(_) => {}
                }
            }
            let gone = known.into_keys();
            let gone = gone.map(|name| group_version.with_resource(name.clone()));
            change.removed.extend(gone);
        }
        for (group_version, list) in before.lists() {
            if served_before.contains(group_version) && !served_now.contains(group_version) {
                let names = list.resources.iter().map(|resource| resource.name.clone());
                let names = names.map(|name| group_version.with_resource(name));
                change.removed.extend(names);
            }
        }
        change.added.sort_unstable();
        change.removed.sort_unstable();
        change.changed.sort_unstable();
        change
    }

    /// Whether nothing came, went or changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// The group versions of the server. A stale one is among them, though its resources are not told.
fn served(snapshot: &Snapshot) -> HashSet<&GroupVersion> {
    let listed = snapshot.group_versions().iter();
    listed.chain(snapshot.stale()).collect()
}

/// The resources by name, of which the first counts.
fn by_name(resources: &[ApiResource]) -> HashMap<&Text, &ApiResource> {
    let mut named = HashMap::with_capacity(resources.len());
    for resource in resources {
        named.entry(&resource.name).or_insert(resource);
    }
    named
}
