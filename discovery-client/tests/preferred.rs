//! Which version of a resource is preferred.

use discovery_client::preferred;
use discovery_core::kube::document::{ApiGroup, ApiGroupList, ApiResource, ApiResourceList};
use discovery_core::{GroupVersion, Snapshot};

/// A snapshot of one group, `g`, from versions and the names in them; the first version is preferred
/// unless named.
fn snapshot(preferred: &str, versions: &[(&str, &[&str])]) -> Snapshot {
    let group_version = |version: &str| GroupVersion::new("g", version).unwrap();
    let mut snapshot = Snapshot::default();
    snapshot.set_groups(ApiGroupList::new(vec![ApiGroup {
        name: "g".into(),
        versions: Some(
            versions
                .iter()
                .map(|(version, _)| (&group_version(version)).into())
                .collect(),
        ),
        preferred_version: (&group_version(preferred)).into(),
        ..ApiGroup::default()
    }]));
    for (version, names) in versions {
        let resources = names.iter().map(|name| ApiResource {
            name: (*name).into(),
            namespaced: name.starts_with('n'),
            ..ApiResource::default()
        });
        let version = group_version(version);
        snapshot.insert(
            &version,
            ApiResourceList::new(&version, resources.collect()),
        );
    }
    snapshot
}

fn chosen(snapshot: &Snapshot) -> Vec<String> {
    let resources = preferred(snapshot);
    resources
        .iter()
        .map(|one| format!("{}/{}", one.group_version().version(), one.name))
        .collect()
}

#[test]
fn the_preferred_version_wins_wherever_it_stands() {
    let versions: &[(&str, &[&str])] = &[("v1", &["a", "b"]), ("v2", &["b", "c"])];
    assert_eq!(chosen(&snapshot("v1", versions)), ["v1/a", "v1/b", "v2/c"]);
    assert_eq!(chosen(&snapshot("v2", versions)), ["v1/a", "v2/b", "v2/c"]);
}

#[test]
fn else_the_first_that_has_it() {
    let versions: &[(&str, &[&str])] = &[("v3", &["a"]), ("v2", &["b"]), ("v1", &["b", "a"])];
    assert_eq!(chosen(&snapshot("v3", versions)), ["v3/a", "v2/b"]);
}

#[test]
fn subresources_are_left_out() {
    assert_eq!(
        chosen(&snapshot("v1", &[("v1", &["a", "a/status", "a/scale"])])),
        ["v1/a"]
    );
}

#[test]
fn a_list_that_is_not_known_gives_way_to_others() {
    let mut snapshot = snapshot("v1", &[("v1", &[]), ("v2", &["a"])]);
    let groups = snapshot.groups().unwrap().clone();
    let known = snapshot.resources("g/v2").unwrap().resources.clone();
    snapshot = Snapshot::default();
    snapshot.set_groups((**groups).clone());
    let v2 = "g/v2".parse().unwrap();
    snapshot.insert(&v2, ApiResourceList::new(&v2, known));
    assert_eq!(chosen(&snapshot), ["v2/a"]);
}

/// As kubectl, which prints each resource of a group once.
#[test]
fn of_what_is_listed_twice_the_later_counts() {
    let named = |name: &str, kind: &str| ApiResource {
        name: name.into(),
        kind: kind.into(),
        ..ApiResource::default()
    };
    let v1 = GroupVersion::new("g", "v1").unwrap();
    let v2 = GroupVersion::new("g", "v2").unwrap();
    let group = |versions: &[&GroupVersion]| ApiGroup {
        name: "g".into(),
        versions: Some(versions.iter().map(|version| (*version).into()).collect()),
        preferred_version: (&v1).into(),
        ..ApiGroup::default()
    };
    let mut snapshot = Snapshot::default();
    snapshot.set_groups(ApiGroupList::new(vec![group(&[&v1, &v2]), group(&[&v1])]));
    let twice = vec![named("a", "First"), named("b", "B"), named("a", "Second")];
    snapshot.insert(&v1, ApiResourceList::new(&v1, twice));
    let not_preferred = vec![named("c", "First"), named("c", "Second")];
    snapshot.insert(&v2, ApiResourceList::new(&v2, not_preferred));

    let found = preferred(&snapshot);
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.name.as_str(), one.kind.as_str()))
        .collect();
    assert_eq!(found, [("c", "First"), ("b", "B"), ("a", "Second")]);
}
