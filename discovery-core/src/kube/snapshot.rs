//! The known documents of a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::kube::document::{
    ApiGroup, ApiGroupList, ApiResourceList, ApiVersions, Document, Kind, aggregate_in_order,
    go_json, preferred_first,
};
use crate::{Accept, Endpoint, Format, GroupVersion};

/// The largest number of refusals that are remembered.
const MAX_REFUSALS: usize = 256;

/// The known groups, versions and resources of a server: all of them, or a part.
///
/// It holds documents in their legacy forms, shared, and renders any other form when it is asked
/// for. Cloning one costs a pointer for each list.
///
/// An aggregated answer has all that the server's has, stale versions included, but for groups without
/// any version: at such a group kube-rs gives up on everything.
///
/// ```
/// use discovery_core::kube::document::{ApiGroupList, ApiResourceList, ApiVersions};
/// use discovery_core::{Accept, Answer, Endpoint, Format, Snapshot};
///
/// let core = ApiVersions { versions: vec!["v1".into()], ..Default::default() }.to_group();
/// let mut snapshot = Snapshot::default();
/// snapshot.set_groups(ApiGroupList::new(vec![core]));
/// assert_eq!(snapshot.missing().next(), Some(&"v1".parse()?));
///
/// let accept = Accept::parse(&"application/json".parse()?);
/// let Some(Answer::Document { format, json }) = snapshot.answer(&Endpoint::Api, accept) else {
///     panic!("the groups are known");
/// };
/// assert_eq!(format, Format::Legacy);
/// assert!(json.starts_with(br#"{"kind":"APIVersions","versions":["v1"]"#));
/// // An aggregated answer needs the resources too.
/// let aggregated = Accept::parse(&Format::V2.content_type().parse()?);
/// assert_eq!(snapshot.answer(&Endpoint::Api, aggregated), None);
///
/// snapshot.insert(&"v1".parse()?, ApiResourceList::new(&"v1".parse()?, Vec::new()));
/// assert!(snapshot.answer(&Endpoint::Api, aggregated).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Snapshot {
    format: Option<Format>,
    groups: Option<Arc<Document<ApiGroupList>>>,
    /// The group versions of the groups, so that names are checked once.
    listed: Arc<[GroupVersion]>,
    lists: Table<Arc<Document<ApiResourceList>>>,
    stale: Vec<GroupVersion>,
    /// The versions of all groups in the server's order, if some are stale: these the groups don't list.
    order: Arc<[GroupVersion]>,
    refused: Table<NegativeAnswer>,
    /// Started anew when something changes.
    rendered: Arc<Rendered>,
}

/// By group version, of which there are thousands: quick, and seeded, so that nobody can choose names that collide.
type Table<V> = HashMap<GroupVersion, V, foldhash::quality::RandomState>;

/// Documents that are made when first asked for.
#[derive(Default)]
struct Rendered {
    api: [OnceLock<Bytes>; 3],
    apis: [OnceLock<Bytes>; 3],
}

/// The answer of a [`Snapshot`] to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A document.
    Document {
        /// Its form, and by [`Format::content_type`] its `Content-Type`.
        format: Format,
        /// Its bytes.
        json: Bytes,
    },
    /// The server has no such group or group version.
    NotFound,
    /// The server's answer when it refused, for good, to tell the resources.
    Refused(NegativeAnswer),
}

/// An error answer that will be the same at the next try, for example 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegativeAnswer {
    /// The status code.
    pub status: StatusCode,
    /// The `Content-Type`, if the answer had one.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

impl NegativeAnswer {
    /// The largest body, in bytes, that is worth its memory.
    pub(crate) const MAX_BODY: usize = 64 << 10;
}

impl Snapshot {
    /// The form in which the server answered, where that is known.
    #[must_use]
    pub const fn format(&self) -> Option<Format> {
        self.format
    }

    /// Remembers the form in which the server answered.
    pub fn set_format(&mut self, format: Format) {
        self.format = Some(format);
    }

    /// The groups, the core group first.
    #[must_use]
    pub const fn groups(&self) -> Option<&Arc<Document<ApiGroupList>>> {
        self.groups.as_ref()
    }

    /// Replaces the groups. Refusals from before count no more: what was not there may have come.
    pub fn set_groups(&mut self, groups: impl Into<Document<ApiGroupList>>) {
        self.set_groups_shared(Arc::new(groups.into()));
    }

    /// As [`set_groups`](Self::set_groups), sharing the groups.
    pub fn set_groups_shared(&mut self, groups: Arc<Document<ApiGroupList>>) {
        self.listed = groups.group_versions().collect();
        self.groups = Some(groups);
        self.order = Arc::default();
        self.refused.clear();
        self.forget_rendered();
    }

    /// The resources of a group version, for example `apps/v1`.
    #[must_use]
    pub fn resources(&self, group_version: &str) -> Option<&Arc<Document<ApiResourceList>>> {
        self.lists.get(group_version)
    }

    /// As [`resources`](Self::resources), with the group version that was asked for.
    #[must_use]
    pub fn list(
        &self,
        group_version: &str,
    ) -> Option<(&GroupVersion, &Arc<Document<ApiResourceList>>)> {
        self.lists.get_key_value(group_version)
    }

    /// Keeps the resources of a group version, in place of those it has.
    pub fn insert(
        &mut self,
        group_version: &GroupVersion,
        list: impl Into<Document<ApiResourceList>>,
    ) {
        self.insert_shared(group_version, Arc::new(list.into()));
    }

    /// Whether it has the resources of a group version, or the server's refusal to tell them.
    ///
    /// ```
    /// use discovery_core::Snapshot;
    /// use discovery_core::kube::document::ApiResourceList;
    ///
    /// let mut snapshot = Snapshot::default();
    /// let v1 = "apps/v1".parse()?;
    /// assert!(!snapshot.knows(&v1));
    /// snapshot.insert(&v1, ApiResourceList::new(&v1, Vec::new()));
    /// assert!(snapshot.knows(&v1));
    /// # Ok::<(), discovery_core::InvalidName>(())
    /// ```
    #[must_use]
    pub fn knows(&self, group_version: &GroupVersion) -> bool {
        self.lists.contains_key(group_version) || self.refused.contains_key(group_version)
    }

    /// As [`insert`](Self::insert), sharing the list.
    pub fn insert_shared(
        &mut self,
        group_version: &GroupVersion,
        list: Arc<Document<ApiResourceList>>,
    ) {
        self.lists.insert(group_version.clone(), list);
        self.refused.remove(group_version);
        self.forget_rendered();
    }

    /// Every list that is known, in no order.
    pub fn lists(
        &self,
    ) -> impl ExactSizeIterator<Item = (&GroupVersion, &Arc<Document<ApiResourceList>>)> {
        self.lists.iter()
    }

    /// The group versions that the server marked as stale: it could not tell their resources.
    #[must_use]
    pub fn stale(&self) -> &[GroupVersion] {
        &self.stale
    }

    /// Replaces the group versions that the server marked as stale.
    pub fn set_stale(&mut self, stale: Vec<GroupVersion>) {
        self.set_stale_of(stale, Arc::default());
    }

    /// As [`set_stale`](Self::set_stale), with their places among all versions.
    pub(crate) fn set_stale_of(&mut self, stale: Vec<GroupVersion>, order: Arc<[GroupVersion]>) {
        self.stale = stale;
        self.order = order;
        self.forget_rendered();
    }

    /// Remembers that the server refuses to tell the resources of a group version. A list that is
    /// known nevertheless, or comes later, is what counts.
    ///
    /// Anybody can ask for a name that does not exist. So the memory has bounds: 256 refusals of up
    /// to 64 KiB, and where the groups are known, only of what they list or of what is stale.
    pub fn refuse(&mut self, group_version: &GroupVersion, refusal: NegativeAnswer) {
        let is_expected = self.groups.is_none() || self.is_served(group_version);
        let has_room =
            self.refused.len() < MAX_REFUSALS || self.refused.contains_key(group_version);
        if is_expected && has_room && refusal.body.len() <= NegativeAnswer::MAX_BODY {
            self.refused.insert(group_version.clone(), refusal);
        }
    }

    /// Whether the server has it, as far as the groups tell.
    fn is_served(&self, group_version: &GroupVersion) -> bool {
        self.listed.contains(group_version) || self.stale.contains(group_version)
    }

    /// Takes over what `other` knows.
    pub fn merge(&mut self, other: &Self) {
        self.format = other.format.or(self.format);
        if let Some(groups) = &other.groups {
            self.groups = Some(Arc::clone(groups));
            self.listed = Arc::clone(&other.listed);
            self.stale.clone_from(&other.stale);
            self.order = Arc::clone(&other.order);
            self.refused.clear();
        }
        for (group_version, list) in &other.lists {
            self.insert_shared(group_version, Arc::clone(list));
        }
        for (group_version, refusal) in &other.refused {
            self.refuse(group_version, refusal.clone());
        }
        self.forget_rendered();
    }

    fn forget_rendered(&mut self) {
        match Arc::get_mut(&mut self.rendered) {
            Some(rendered) => *rendered = Rendered::default(),
            None => self.rendered = Arc::default(),
        }
    }

    /// The group versions that the groups list, in the server's order. Those whose names are not
    /// fit for a path are left out.
    #[must_use]
    pub fn group_versions(&self) -> &[GroupVersion] {
        &self.listed
    }

    /// The group versions that the groups list and whose resources are not known.
    pub fn missing(&self) -> impl Iterator<Item = &GroupVersion> {
        let unknown = |listed: &&GroupVersion| !self.lists.contains_key(*listed);
        self.listed.iter().filter(unknown)
    }

    /// Whether the groups and all their resources are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.groups.is_some() && self.missing().next().is_none()
    }

    /// Whether the resources of the core group are known, or those of all other groups.
    fn has_all(&self, core: bool) -> bool {
        self.missing()
            .all(|group_version| group_version.group().is_empty() != core)
    }

    /// The answer to a discovery request, in a form that `accept` allows; `None` if what is known
    /// does not suffice.
    ///
    /// If both will do, an aggregated answer is given if all that is in it is known, for so would the
    /// server; and if it isn't, a legacy one only where the server is known to be a legacy one.
    #[must_use]
    pub fn answer(&self, endpoint: &Endpoint, accept: Accept) -> Option<Answer> {
        if let Endpoint::Resources(group_version) = endpoint {
            return self.answer_resources(group_version, accept);
        }
        let groups = self.groups.as_ref()?;
        let core = match endpoint {
            Endpoint::Api => true,
            Endpoint::Apis => false,
            Endpoint::Group(name) => {
                let mut groups = groups.groups.iter();
                let group =
                    groups.find(|group| group.name == *name && !group.versions().is_empty());
                let Some(group) = group else {
                    return Some(Answer::NotFound);
                };
                return legacy(accept, || group_document(group));
            }
            _ => return None,
        };
        if core && groups.group("").is_none() {
            return Some(Answer::NotFound);
        }
        let rendered = if core {
            &self.rendered.api
        } else {
            &self.rendered.apis
        };
        match accept.aggregated() {
            // A document that has been made once was made of all that is in it.
            Some(format) if rendered[format as usize].get().is_some() || self.has_all(core) => {
                let json = rendered[format as usize].get_or_init(|| self.aggregate(format, core));
                Some(Answer::Document {
                    format,
                    json: json.clone(),
                })
            }
            Some(_) if self.format != Some(Format::Legacy) => None,
            _ => legacy(accept, || {
                rendered[0]
                    .get_or_init(|| legacy_groups(groups, core))
                    .clone()
            }),
        }
    }

    fn answer_resources(&self, group_version: &GroupVersion, accept: Accept) -> Option<Answer> {
        if let Some(list) = self.lists.get(group_version) {
            return legacy(accept, || list.json().clone());
        }
        if let Some(refusal) = self.refused.get(group_version) {
            return Some(Answer::Refused(refusal.clone()));
        }
        self.groups.as_ref()?;
        (!self.is_served(group_version)).then_some(Answer::NotFound)
    }

    fn aggregate(&self, format: Format, core: bool) -> Bytes {
        let Some(groups) = &self.groups else {
            return Bytes::new();
        };
        let list =
            |group_version: &GroupVersion| self.lists.get(group_version).map(|list| &***list);
        let mut in_order = HashMap::<&str, Vec<&GroupVersion>>::new();
        for group_version in &*self.order {
            let versions = in_order.entry(group_version.group()).or_default();
            versions.push(group_version);
        }
        let versions = |group: &ApiGroup| match in_order.get(&*group.name) {
            Some(versions) => versions.iter().copied().cloned().collect(),
            None => preferred_first(group),
        };
        let document = aggregate_in_order(format.api_version(), groups, core, versions, list);
        go_json::to_string(&document).into()
    }
}

fn legacy(accept: Accept, json: impl FnOnce() -> Bytes) -> Option<Answer> {
    accept.allows(Format::Legacy).then(|| Answer::Document {
        format: Format::Legacy,
        json: json(),
    })
}

/// The legacy document of `/api` or `/apis`. A group without versions is left out: kube-rs
/// gives up on everything when it meets one.
fn legacy_groups(groups: &ApiGroupList, core: bool) -> Bytes {
    if core {
        let versions = groups.group("").into_iter().flat_map(ApiGroup::versions);
        let versions = versions.map(|version| version.version.clone()).collect();
        let cidrs = Some(Vec::new());
        let document = ApiVersions {
            versions,
            server_address_by_client_cidrs: cidrs,
            ..Default::default()
        };
        return go_json::to_string(&document).into();
    }
    let others = groups.groups.iter();
    let others = others.filter(|group| !group.name.is_empty() && !group.versions().is_empty());
    go_json::to_string(&ApiGroupList::new(others.cloned().collect())).into()
}

fn group_document(group: &ApiGroup) -> Bytes {
    let kind = ApiGroup::KIND.into();
    let document = ApiGroup {
        kind,
        api_version: "v1".into(),
        ..group.clone()
    };
    go_json::to_string(&document).into()
}

/// Keeps lists, as [`insert_shared`](Snapshot::insert_shared).
impl Extend<(GroupVersion, Arc<Document<ApiResourceList>>)> for Snapshot {
    fn extend<I>(&mut self, lists: I)
    where
        I: IntoIterator<Item = (GroupVersion, Arc<Document<ApiResourceList>>)>,
    {
        let lists = lists.into_iter();
        self.lists.reserve(lists.size_hint().0);
        for (group_version, list) in lists {
            self.refused.remove(&group_version);
            self.lists.insert(group_version, list);
        }
        self.forget_rendered();
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("form", &self.format)
            .field(
                "groups",
                &self.groups.as_ref().map(|groups| groups.groups.len()),
            )
            .field("lists", &self.lists.len())
            .finish()
    }
}
