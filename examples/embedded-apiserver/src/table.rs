//! The stock API, read from `stock.txt`, and the synthetic custom resources.

use super::model::{Group, Resource, Subresource, Version, split_group_version, storage_hash};

const STOCK: &str = include_str!("stock.txt");

/// The verbs that the table does not spell out.
const ALL: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The number of custom resources of [`crds`] in a group.
const PER_GROUP: usize = 5;

/// The groups of a stock Kubernetes 1.36, the core group first.
pub(super) fn stock() -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in STOCK.lines() {
        let words = line.trim_start();
        match line.len() - words.len() {
            _ if words.is_empty() || words.starts_with('#') => {}
            0 => open_version(&mut groups, words),
            2 => {
                if let Some((group, version)) = last(&mut groups) {
                    let resource = resource(words, group, &version.name);
                    version.resources.push(resource);
                }
            }
            _ => {
                if let Some((_, version)) = last(&mut groups)
                    && let Some(parent) = version.resources.last_mut()
                {
                    let sub = subresource(words, &parent.kind);
                    parent.subresources.push(sub);
                }
            }
        }
    }
    groups
}

/// `count` custom resource definitions with the names, scopes and subresources of a real server
/// that was filled by a script: `widget000s` in `g00.example.test`, dealt to the groups in turn.
/// Every third group serves `v1beta1` beside `v1`.
pub(super) fn crds(count: usize) -> Vec<Group> {
    spread(count, count.div_ceil(PER_GROUP))
}

/// `count` groups with one custom resource each.
pub(super) fn groups(count: usize) -> Vec<Group> {
    spread(count, count)
}

fn spread(resources: usize, groups: usize) -> Vec<Group> {
    let wide = |least: usize, count: usize| least.max(count.saturating_sub(1).to_string().len());
    let (group_width, width) = (wide(2, groups), wide(3, resources));
    (0..groups)
        .map(|index| {
            let mut group = Group::new(format!("g{index:0group_width$}.example.test"));
            let versions: &[&str] = if index % 3 == 0 {
                &["v1", "v1beta1"]
            } else {
                &["v1"]
            };
            for name in versions {
                let mut version = Version::new(*name);
                for k in (index..resources).step_by(groups) {
                    let mut widget = widget(k, width);
                    // Both versions are stored as the first.
                    widget.storage_hash = Some(storage_hash(&group.name, "v1", &widget.kind));
                    version.resources.push(widget);
                }
                group.versions.push(version);
            }
            group
        })
        .collect()
}

fn widget(k: usize, width: usize) -> Resource {
    let mut widget = Resource::new(format!("widget{k:0width$}s"), format!("Widget{k:0width$}"));
    if k.is_multiple_of(6) {
        widget = widget.cluster_scoped();
    }
    if k.is_multiple_of(4) {
        widget = widget.short_names([format!("w{k:0width$}")]);
        let categories: &[&str] = if k.is_multiple_of(8) {
            &["all", "widgets"]
        } else {
            &["widgets"]
        };
        widget = widget.categories(categories.iter().copied());
    }
    if k.is_multiple_of(2) || k.is_multiple_of(5) {
        widget = widget.with_status();
    }
    if k.is_multiple_of(5) {
        widget = widget.with_scale();
    }
    widget
}

fn open_version(groups: &mut Vec<Group>, line: &str) {
    let (name, version) = split_group_version(line);
    if groups.last().is_none_or(|group| group.name != name) {
        groups.push(Group {
            builtin: true,
            ..Group::new(name)
        });
    }
    if let Some(group) = groups.last_mut() {
        group.versions.push(Version::new(version));
    }
}

fn last(groups: &mut [Group]) -> Option<(&str, &mut Version)> {
    let group = groups.last_mut()?;
    Some((&group.name, group.versions.last_mut()?))
}

fn resource(line: &'static str, group: &str, version: &str) -> Resource {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let mut resource = Resource::new(name, words.next().unwrap_or_default()).verbs(ALL);
    let mut stored = (group, version, resource.kind.clone());
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("cluster", _) => resource.namespaced = false,
            ("short", list) => resource = resource.short_names(list.split(',')),
            ("cat", list) => resource = resource.categories(list.split(',')),
            ("verbs", list) => resource = resource.verbs(list.split(',')),
            ("store", what) => match foreign(what) {
                Some((group, version, kind)) => stored = (group, version, kind.to_owned()),
                None => stored.1 = what,
            },
            _ => {}
        }
    }
    if resource.verbs.contains(&"watch") {
        resource.storage_hash = Some(storage_hash(stored.0, stored.1, &stored.2));
    }
    resource
}

fn subresource(line: &'static str, parent_kind: &str) -> Subresource {
    let mut words = line.split(' ');
    let mut sub = Subresource::new(words.next().unwrap_or_default(), parent_kind);
    for word in words {
        if let Some(verbs) = word.strip_prefix("verbs=") {
            sub.verbs = verbs.split(',').collect();
        } else if let Some((group, version, kind)) = foreign(word) {
            kind.clone_into(&mut sub.kind);
            sub = sub.of(group, version);
        } else {
            word.clone_into(&mut sub.kind);
        }
    }
    sub
}

/// Takes `GROUP/VERSION/KIND` apart.
fn foreign(word: &str) -> Option<(&str, &str, &str)> {
    let (group, rest) = word.split_once('/')?;
    let (version, kind) = rest.split_once('/')?;
    Some((group, version, kind))
}
