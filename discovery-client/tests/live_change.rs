//! The difference of two snapshots: what counts as come, gone or changed.

use discovery_client::live::Change;
use discovery_core::kube::document::{
    ApiGroup, ApiGroupList, ApiResource, ApiResourceList, GroupVersionForDiscovery,
};
use discovery_core::{GroupVersion, Snapshot};

const GROUP_VERSION: &str = "a.test/v1";

fn group_version() -> GroupVersion {
    GROUP_VERSION.parse().unwrap()
}

fn groups(snapshot: &mut Snapshot, names: &[&str]) {
    let group = |name: &&str| {
        let version = GroupVersionForDiscovery::from(&name.parse::<GroupVersion>().unwrap());
        ApiGroup {
            name: name.split('/').next().unwrap_or_default().into(),
            versions: Some(vec![version.clone()]),
            preferred_version: version,
            ..Default::default()
        }
    };
    snapshot.set_groups(ApiGroupList::new(names.iter().map(group).collect()));
}

fn with_kinds(kinds: &[(&str, &str)]) -> Snapshot {
    let resource = |(name, kind): &(&str, &str)| ApiResource {
        name: (*name).into(),
        kind: (*kind).into(),
        ..Default::default()
    };
    let mut snapshot = Snapshot::default();
    groups(&mut snapshot, &[GROUP_VERSION]);
    let list = ApiResourceList::new(&group_version(), kinds.iter().map(resource).collect());
    snapshot.insert(&group_version(), list);
    snapshot
}

#[test]
fn resources_come_go_and_change_within_a_group_version() {
    let before = with_kinds(&[("as", "A"), ("bs", "B"), ("cs", "C")]);
    let now = with_kinds(&[("ds", "D"), ("cs", "C"), ("as", "Other")]);
    let change = Change::between(&before, &now);
    assert_eq!(change.added, [group_version().with_resource("ds")]);
    assert_eq!(change.removed, [group_version().with_resource("bs")]);
    assert_eq!(change.changed, [group_version().with_resource("as")]);
    assert!(!change.is_empty());
}

#[test]
fn resources_go_with_their_group_version() {
    let before = with_kinds(&[("bs", "B"), ("as", "A")]);
    let mut now = before.clone();
    groups(&mut now, &[]);
    let names = ["as", "bs"].map(|name| group_version().with_resource(name));
    assert_eq!(Change::between(&before, &now).removed, names);
    assert_eq!(Change::between(&now, &before).added, names);
}

#[test]
fn a_list_that_is_not_known_removes_nothing() {
    let before = with_kinds(&[("as", "A")]);
    let mut now = Snapshot::default();
    groups(&mut now, &[GROUP_VERSION]);
    assert!(Change::between(&before, &now).is_empty());
}

#[test]
fn a_stale_group_version_removes_nothing() {
    let before = with_kinds(&[("as", "A")]);
    let mut now = Snapshot::default();
    groups(&mut now, &[]);
    now.set_stale(vec![group_version()]);
    assert!(Change::between(&before, &now).is_empty());
}

#[test]
fn the_order_of_resources_is_no_change() {
    let before = with_kinds(&[("as", "A"), ("bs", "B")]);
    let now = with_kinds(&[("bs", "B"), ("as", "A")]);
    assert!(Change::between(&before, &now).is_empty());
}
