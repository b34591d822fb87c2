//! The resources that a word on the command line names. To be replaced by the client's REST mapper.

use discovery_core::kube::document::ApiResource;
use discovery_core::{GroupVersion, GroupVersionResource, Snapshot};

/// The resources that `word` names, in the server's order of groups and versions: by plural, singular, kind in any
/// case, or else by short name. As client-go's `ResourcesFor` behind the shortcut expander.
pub(crate) fn resources_for(snapshot: &Snapshot, word: &str) -> Vec<GroupVersionResource> {
    let is_name = |resource: &ApiResource| resource.name == word || resource.singular_name == word;
    let short = |resource: &ApiResource| resource.short_names.iter().any(|short| *short == word);
    // A name takes precedence over a short name, and a short name belongs to the first that has it.
    let shortened = if resources(snapshot).any(|(_, resource)| is_name(resource)) {
        None
    } else {
        resources(snapshot).find(|(_, resource)| short(resource))
    };
    let word = word.to_lowercase();
    resources(snapshot)
        .filter(|(group_version, resource)| match shortened {
            Some((first, long)) => {
                group_version.group() == first.group() && resource.name == long.name
            }
            None => resource.name == word || singular(resource) == word,
        })
        .map(|(group_version, resource)| group_version.with_resource(resource.name.clone()))
        .collect()
}

/// A legacy server may leave it out.
fn singular(resource: &ApiResource) -> String {
    if resource.singular_name.is_empty() {
        resource.kind.to_lowercase()
    } else {
        resource.singular_name.as_str().to_owned()
    }
}

/// All resources but subresources.
fn resources(snapshot: &Snapshot) -> impl Iterator<Item = (&GroupVersion, &ApiResource)> {
    let groups = snapshot.groups().map_or(&[][..], |groups| &groups.groups);
    groups
        .iter()
        .flat_map(|group| group.versions())
        .filter_map(|version| snapshot.list(&version.group_version))
        .flat_map(|(group_version, list)| {
            list.resources
                .iter()
                .filter(|resource| !resource.is_subresource())
                .map(move |resource| (group_version, resource))
        })
}
