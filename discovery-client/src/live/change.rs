use std::sync::Arc;

use discovery_core::{GroupVersion, GroupVersionResource, Snapshot};

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
        for (group_version, list) in now.lists().filter(|(name, _)| is_served(now, name)) {
            let known = before.resources(group_version.as_str());
            let known = known.filter(|_| is_served(before, group_version));
            if known.is_some_and(|known| Arc::ptr_eq(known, list)) {
                continue;
            }
            let known = known.map_or(&[][..], |known| &known.resources);
            for resource in &list.resources {
                let old = known.iter().find(|old| old.name == resource.name);
                let name = || group_version.with_resource(resource.name.clone());
                match old {
                    None => change.added.push(name()),
                    Some(old) if old != resource => change.changed.push(name()),
                    Some(_) => {}
                }
            }
            for old in known {
                if !list.resources.iter().any(|new| new.name == old.name) {
                    let name = group_version.with_resource(old.name.clone());
                    change.removed.push(name);
                }
            }
        }
        for (group_version, list) in before.lists().filter(|(name, _)| is_served(before, name)) {
            if !is_served(now, group_version) {
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

/// Whether the server has it. A stale group version is there, though its resources are not told.
fn is_served(snapshot: &Snapshot, group_version: &GroupVersion) -> bool {
    snapshot.group_versions().contains(group_version) || snapshot.stale().contains(group_version)
}
