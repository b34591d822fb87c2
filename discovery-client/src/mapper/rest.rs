//! The mapper of one state of a server.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use discovery_core::kube::document::ApiGroup;
use discovery_core::{GroupVersion, Snapshot, Text};
use foldhash::quality::RandomState;

use super::error::{MapError, MapErrorKind};
use super::mapping::Mapping;
use super::names::{ResourceArg, lower};
use crate::preferred;

/// The most names that an error tells as near.
const MAX_NEAR: usize = 3;

/// Finds resources by name, by kind, by short name and by category.
///
/// It answers as client-go does (`restmapper`, `meta.PriorityRESTMapper`): the core group comes first, then the groups
/// in the server's order; of a group the preferred version, then the others. A name is in lower case, a kind as it is
/// written. A short name counts where no resource has the name. Subresources have no mapping, and the `List` kinds,
/// which client-go guesses, neither.
///
/// ```
/// # use discovery_core::{Snapshot, kube::document::{ApiGroupList, ApiResource, ApiResourceList, decode}};
/// # let groups: ApiGroupList = decode(br#"{"kind":"APIGroupList","groups":[{"name":"apps","versions":[
/// #     {"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}]}"#)?;
/// # let mut snapshot = Snapshot::default();
/// # snapshot.set_groups(groups);
/// # let deployments = ApiResource { name: "deployments".into(), kind: "Deployment".into(), namespaced: true,
/// #     short_names: vec!["deploy".into()], categories: vec!["all".into()], ..Default::default() };
/// # snapshot.insert(&"apps/v1".parse()?, ApiResourceList::new(&"apps/v1".parse()?, vec![deployments]));
/// use discovery_client::mapper::RestMapper;
///
/// let mapper = RestMapper::new(&snapshot);
/// for name in ["deployments", "deployment", "deploy", "deployments.apps", "deploy.v1.apps", "Deployment.v1.apps"] {
///     assert_eq!(mapper.resolve(name)?.resource, "deployments");
/// }
/// assert_eq!(mapper.mapping("apps", "Deployment", &[])?.group_version, "apps/v1".parse()?);
/// assert_eq!(mapper.category("all")[0].kind, "Deployment");
///
/// let error = mapper.resolve("deploymints").unwrap_err();
/// assert!(error.to_string().ends_with("near it are deployments, deployment"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct RestMapper {
    tables: Arc<Tables>,
}

#[derive(Default)]
struct Tables {
    /// All resources. Those of a group version follow each other, and group versions are in the order of their priority.
    places: Vec<Place>,
    /// By plural and singular.
    names: Table<At>,
    /// By group, and by kind: as it is written, and in lower case.
    kinds: Table<Table<At>>,
    short_names: Table<At>,
    categories: Table<Vec<Arc<Mapping>>>,
    /// The resources of all names without a group that stand for one.
    resolved: Table<Arc<Mapping>>,
}

/// By a name that a server gives: quick, and seeded, so that nobody can choose names that collide.
type Table<V> = HashMap<Text, V, RandomState>;

/// The places of the resources that have a name: one, but for a few names.
enum At {
    One(usize),
    Several(Vec<usize>),
}

struct Place {
    mapping: Arc<Mapping>,
    /// The place of the group version.
    rank: usize,
    /// The resource that a request for this one's kind goes to: of several in a group version it is the last.
    of_kind: usize,
}

impl RestMapper {
    /// Makes tables of what is known. Group versions whose resources are not known are left out.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut tables = Tables::default();
        let most = snapshot.lists().map(|(_, list)| list.resources.len()).sum();
        tables.places.reserve(most);
        tables.names.reserve(2 * most);
        for (rank, group_version) in by_priority(snapshot).into_iter().enumerate() {
            tables.add(snapshot, rank, &group_version);
        }
        tables.add_categories(snapshot);
        tables.resolve_all();
        Self {
            tables: Arc::new(tables),
        }
    }

    /// All resources, in the order of their group versions' priority.
    pub fn mappings(&self) -> impl ExactSizeIterator<Item = &Arc<Mapping>> {
        self.tables.places.iter().map(|place| &place.mapping)
    }

    /// The resource that `kubectl get <name>` asks for. `name` is a plural, singular or short name or a kind, with a
    /// group, or a version and a group, or neither. A group may be cut after any letter where no group has the whole
    /// name: `ingresses.networking`.
    ///
    /// # Errors
    ///
    /// When nothing has the name, or several things of the same group version have.
    pub fn resolve(&self, name: &str) -> Result<Arc<Mapping>, MapError> {
        if let Some(mapping) = self.tables.resolved.get(name) {
            return Ok(Arc::clone(mapping));
        }
        self.tables
            .resolve(ResourceArg::parse(name))
            .ok_or_else(|| self.tables.error(name))
    }

    /// All that `name` may stand for, as [`resolve`](Self::resolve) reads it, the one that it takes first. A caller that
    /// wants no priority refuses more than one.
    #[must_use]
    pub fn resources_for(&self, name: &str) -> Vec<Arc<Mapping>> {
        let tables = &self.tables;
        let arg = ResourceArg::parse(name);
        let mut found = match arg.versioned {
            Some((version, group)) => tables.named(arg.name, group, Some(version)),
            None => Vec::new(),
        };
        if found.is_empty() {
            found = tables.named(arg.name, arg.group, None);
        }
        if found.is_empty() {
            found.extend(tables.resolve(arg));
        }
        found
    }

    /// The resource of a kind: in the first of `versions` that has it, or, where none is given, in the version that comes
    /// first. As client-go's `RESTMapping`. `kind` may be in lower case.
    ///
    /// ```
    /// use discovery_client::mapper::RestMapper;
    /// use discovery_core::Snapshot;
    ///
    /// let error = RestMapper::new(&Snapshot::default()).mapping("apps", "Deployment", &["v1"]).unwrap_err();
    /// assert_eq!(error.asked(), "Deployment.apps");
    /// ```
    ///
    /// # Errors
    ///
    /// When the group has no such kind, or not in these versions.
    pub fn mapping(
        &self,
        group: &str,
        kind: &str,
        versions: &[&str],
    ) -> Result<Arc<Mapping>, MapError> {
        let tables = &self.tables;
        let found = tables.of_kind(group, kind, versions);
        found.ok_or_else(|| {
            let asked = if group.is_empty() {
                kind.to_owned()
            } else {
                format!("{kind}.{group}")
            };
            tables.error(&asked)
        })
    }

    /// The resource of a group version, by its plural or singular name.
    #[must_use]
    pub fn resource(&self, group_version: &GroupVersion, name: &str) -> Option<Arc<Mapping>> {
        let (group, version) = (group_version.group(), group_version.version());
        let mut named = self.tables.named(name, group, Some(version)).into_iter();
        named.find(|mapping| mapping.group_version == *group_version)
    }

    /// The resources of a category, such as `all`: of each the preferred version. Empty if there is no such category.
    #[must_use]
    pub fn category(&self, name: &str) -> &[Arc<Mapping>] {
        self.tables.categories.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The group versions in the order in which client-go prefers them.
fn by_priority(snapshot: &Snapshot) -> Vec<GroupVersion> {
    let mut ordered: Vec<GroupVersion> = Vec::new();
    ordered.extend(GroupVersion::new("", "v1"));
    let groups = snapshot.groups().map_or(&[][..], |groups| &groups.groups);
    for group in groups {
        let is_preferred = |group_version: &GroupVersion| {
            group_version.version() == group.preferred_version.version
        };
        let versions = || ApiGroup::group_versions(group);
        ordered.extend(versions().filter(is_preferred));
        ordered.extend(versions().filter(|group_version| !is_preferred(group_version)));
    }
    let mut seen = HashSet::<_, RandomState>::default();
    ordered.retain(|group_version| seen.insert(group_version.clone()));
    ordered
}

impl Tables {
    fn add(&mut self, snapshot: &Snapshot, rank: usize, group_version: &GroupVersion) {
        let Some(list) = snapshot.resources(group_version.as_str()) else {
            return;
        };
        let first = self.places.len();
        let kinds = self.kinds.entry(group_version.group().into()).or_default();
        let mut last_of_kind = HashMap::<&str, usize, RandomState>::default();
        let resources = list.resources.iter();
        for resource in resources.filter(|resource| !resource.is_subresource()) {
            let at = self.places.len();
            let mapping = Mapping::new(group_version, resource);
            for name in [&mapping.resource, &mapping.singular] {
                insert(&mut self.names, name, at);
            }
            for kind in [resource.kind.clone(), lower(&resource.kind).as_ref().into()] {
                insert(kinds, &kind, at);
            }
            for name in &mapping.short_names {
                insert(&mut self.short_names, name, at);
            }
            last_of_kind.insert(&resource.kind, at);
            self.places.push(Place {
                mapping: Arc::new(mapping),
                rank,
                of_kind: at,
            });
        }
        for place in &mut self.places[first..] {
            if let Some(last) = last_of_kind.get(&*place.mapping.kind) {
                place.of_kind = *last;
            }
        }
    }

    /// As client-go's category expander: of the preferred resources.
    fn add_categories(&mut self, snapshot: &Snapshot) {
        let in_categories = preferred(snapshot).into_iter();
        let in_categories: Vec<_> = in_categories
            .filter(|resource| !resource.categories.is_empty())
            .collect();
        if in_categories.is_empty() {
            return;
        }
        let mut places = HashMap::<_, _, RandomState>::default();
        places.reserve(self.places.len());
        for Place { mapping, .. } in &self.places {
            let place = places.entry((&mapping.group_version, &mapping.resource));
            place.or_insert(mapping);
        }
        for resource in in_categories {
            if let Some(mapping) = places.get(&(resource.group_version(), &resource.name)) {
                for category in &resource.categories {
                    let all = self.categories.entry(category.clone()).or_default();
                    all.push(Arc::clone(mapping));
                }
            }
        }
    }

    fn resolve_all(&mut self) {
        let names = self.names.keys().chain(self.short_names.keys());
        let kinds = self.kinds.get("").into_iter().flat_map(HashMap::keys);
        let mut resolved = Table::default();
        resolved.reserve(self.names.len() + self.short_names.len());
        for name in names.chain(kinds) {
            // With a dot it would be another name and a group.
            if !name.contains('.')
                && let Some(mapping) = self.resolve(ResourceArg::parse(name))
            {
                resolved.insert(name.clone(), mapping);
            }
        }
        self.resolved = resolved;
    }

    /// As cli-runtime's `mappingFor`: a resource with a version and a group, a resource with a group, a kind with a
    /// version and a group, a kind with a group.
    fn resolve(&self, arg: ResourceArg<'_>) -> Option<Arc<Mapping>> {
        let ResourceArg {
            name,
            group,
            versioned,
        } = arg;
        if let Some((version, group)) = versioned
            && let Some(mapping) = self.kind_for(name, group, Some(version))
        {
            return Some(mapping);
        }
        if let Some(mapping) = self.kind_for(name, group, None) {
            return Some(mapping);
        }
        if let Some((version, group)) = versioned
            && let Some(mapping) = self.of_kind(group, name, &[version])
        {
            return Some(mapping);
        }
        self.of_kind(group, name, &[])
    }

    /// The resource of the kind that a resource of this name has.
    fn kind_for(&self, name: &str, group: &str, version: Option<&str>) -> Option<Arc<Mapping>> {
        let found = self.places_named(name, group, version);
        let first = *found.first()?;
        let rank = self.places[first].rank;
        let target = self.places[first].of_kind;
        let same_rank = found
            .iter()
            .filter(|at| self.places[**at].rank == rank)
            .all(|at| self.places[*at].of_kind == target);
        same_rank.then(|| Arc::clone(&self.places[target].mapping))
    }

    fn named(&self, name: &str, group: &str, version: Option<&str>) -> Vec<Arc<Mapping>> {
        let places = self.places_named(name, group, version);
        let mapping = |at: &usize| Arc::clone(&self.places[*at].mapping);
        places.iter().map(mapping).collect()
    }

    /// The resources of this plural, singular or short name, in the order of their priority.
    fn places_named(&self, name: &str, group: &str, version: Option<&str>) -> Cow<'_, [usize]> {
        if let Some((long, group)) = self.expand(name, group) {
            // kubectl passes the version over.
            return self.matching(long, group, None);
        }
        self.matching(&lower(name), group, version)
    }

    fn matching(&self, name: &str, group: &str, version: Option<&str>) -> Cow<'_, [usize]> {
        let all = self.names.get(name).map_or(&[][..], At::all);
        let of = |at: &&usize| &self.places[**at].mapping.group_version;
        let in_version = |at: &&usize| version.is_none_or(|version| of(at).version() == version);
        if group.is_empty() {
            return match version {
                Some(_) => all.iter().filter(in_version).copied().collect(),
                None => all.into(),
            };
        }
        let exact = all.iter().filter(|at| of(at).group() == group);
        if version.is_some() {
            return exact.filter(in_version).copied().collect();
        }
        // A group version has the group of this name, or else one that begins with it.
        let begins = |at: &&usize| of(at).group().starts_with(group);
        all.iter().filter(begins).copied().collect()
    }

    /// The long name and the group of a short name, if no resource of the group has it as a name.
    fn expand(&self, name: &str, group: &str) -> Option<(&str, &str)> {
        let shorts = self.short_names.get(name)?.all();
        let in_group = |at: &usize| {
            group.is_empty() || self.places[*at].mapping.group_version.group() == group
        };
        let mut full = self.names.get(name).map_or(&[][..], At::all).iter();
        if full.any(in_group) {
            return None;
        }
        let begins = |at: &&usize| {
            self.places[**at]
                .mapping
                .group_version
                .group()
                .starts_with(group)
        };
        let found = shorts.iter().find(|at| in_group(at));
        let at = found.or_else(|| shorts.iter().find(begins))?;
        let mapping = &self.places[*at].mapping;
        let others = shorts.iter().map(|other| &self.places[*other].mapping);
        let mut others = others.filter(|other| {
            in_group(at)
                && (&other.resource, other.group_version.group())
                    != (&mapping.resource, mapping.group_version.group())
        });
        if let Some(other) = others.next() {
            tracing::debug!(
                name,
                resource = %mapping.full_name(),
                other = %other.full_name(),
                "a short name may be that of another resource, too"
            );
        }
        Some((&mapping.resource, mapping.group_version.group()))
    }

    fn of_kind(&self, group: &str, kind: &str, versions: &[&str]) -> Option<Arc<Mapping>> {
        let places = self.kinds.get(group)?.get(kind)?.all();
        let in_version = |version: &&str| {
            let mut places = places.iter();
            places.find(|at| self.places[**at].mapping.group_version.version() == *version)
        };
        let at = match versions {
            [] => places.first(),
            versions => versions.iter().find_map(in_version),
        }?;
        Some(Arc::clone(&self.places[self.places[*at].of_kind].mapping))
    }

    fn error(&self, asked: &str) -> MapError {
        let arg = ResourceArg::parse(asked);
        let candidates = match arg.versioned {
            Some((version, group)) => self.named(arg.name, group, Some(version)),
            None => self.named(arg.name, arg.group, None),
        };
        let kind = if candidates.is_empty() {
            let near = self.near(&lower(arg.name));
            MapErrorKind::NoMatch { near }
        } else {
            MapErrorKind::Ambiguous { candidates }
        };
        MapError::new(asked, kind)
    }

    /// Names that differ from this one in at most a third of its letters.
    fn near(&self, name: &str) -> Vec<String> {
        let most = name.chars().count() / 3;
        let names = self.names.keys().chain(self.short_names.keys());
        let mut near: Vec<_> = names
            .filter(|known| known.len().abs_diff(name.len()) <= most)
            .map(|known| (strsim::osa_distance(name, known), known))
            .filter(|(distance, _)| *distance <= most)
            .collect();
        near.sort_unstable();
        near.dedup();
        let near = near.into_iter().take(MAX_NEAR);
        near.map(|(_, known)| known.to_string()).collect()
    }
}

fn insert(table: &mut Table<At>, name: &Text, at: usize) {
    if name.is_empty() {
        return;
    }
    match table.entry(name.clone()) {
        Entry::Vacant(entry) => _ = entry.insert(At::One(at)),
        Entry::Occupied(mut entry) => match entry.get_mut() {
            At::One(known) if *known == at => {}
            At::One(known) => *entry.get_mut() = At::Several(vec![*known, at]),
            At::Several(known) if known.last() == Some(&at) => {}
            At::Several(known) => known.push(at),
        },
    }
}

impl At {
    /// All of them, in the order of their priority.
    fn all(&self) -> &[usize] {
        match self {
            Self::One(at) => std::slice::from_ref(at),
            Self::Several(all) => all,
        }
    }
}

impl fmt::Debug for RestMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestMapper")
            .field("resources", &self.tables.places.len())
            .finish_non_exhaustive()
    }
}
