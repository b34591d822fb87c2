//! The groups, versions and resources of the server, as plain data from which documents are made.

use base64::Engine as _;
use sha2::{Digest, Sha256};

/// The verbs of a custom resource, in the order in which a real server lists them.
const CUSTOM_VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// The verbs of most subresources.
pub(super) const SUBRESOURCE_VERBS: &[&str] = &["get", "patch", "update"];

/// An API group: a name and its versions, the preferred one first.
///
/// ```
/// use embedded_apiserver::{Group, Resource, Version};
///
/// let group = Group::new("acme.test")
///     .version(Version::new("v1").resource(Resource::new("rockets", "Rocket").short_names(["rk"])));
/// assert_eq!(group.versions[0].resources[0].singular, "rocket");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name; empty for the core group.
    pub name: String,
    /// The versions, in the order in which the server lists them. The first is the preferred one.
    pub versions: Vec<Version>,
    /// Compiled into a real server, in contrast to a custom resource's group: aggregated documents
    /// leave the group and version of `responseKind` empty, legacy lists are sorted.
    pub builtin: bool,
}

impl Group {
    /// A group of custom resources, without versions yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            versions: Vec::new(),
            builtin: false,
        }
    }

    /// Appends a version.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.versions.push(version);
        self
    }
}

/// One version of a group, with its resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The name, such as `v1`.
    pub name: String,
    /// The resources, in the order of the aggregated document.
    pub resources: Vec<Resource>,
    /// The version's backend is gone: aggregated discovery says `Stale` and lists nothing, its own
    /// path answers 503.
    pub stale: bool,
    /// The OpenAPI v3 document as JSON, in place of the small one that is made otherwise.
    pub openapi: Option<String>,
}

impl Version {
    /// A version without resources.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            resources: Vec::new(),
            stale: false,
            openapi: None,
        }
    }

    /// Appends a resource.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// Replaces the OpenAPI v3 document, which has to be JSON.
    #[must_use]
    pub fn openapi(mut self, document: impl Into<String>) -> Self {
        self.openapi = Some(document.into());
        self
    }

    /// Marks the version as stale.
    #[must_use]
    pub fn stale(mut self) -> Self {
        self.stale = true;
        self
    }
}

/// A resource and its subresources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The plural name, as in paths.
    pub name: String,
    /// The kind of its objects.
    pub kind: String,
    /// The singular name.
    pub singular: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The verbs, in the order listed.
    pub verbs: Vec<&'static str>,
    /// The short names.
    pub short_names: Vec<String>,
    /// The categories.
    pub categories: Vec<String>,
    /// The subresources, in the order listed.
    pub subresources: Vec<Subresource>,
    /// `storageVersionHash`, which only legacy documents have.
    pub storage_hash: Option<String>,
}

impl Resource {
    /// A namespaced resource with a custom resource's verbs; the singular name is the kind in
    /// lower case.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        let kind = kind.into();
        Self {
            name: name.into(),
            singular: kind.to_lowercase(),
            kind,
            namespaced: true,
            verbs: CUSTOM_VERBS.to_vec(),
            short_names: Vec::new(),
            categories: Vec::new(),
            subresources: Vec::new(),
            storage_hash: None,
        }
    }

    /// Makes the resource cluster-scoped.
    #[must_use]
    pub fn cluster_scoped(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// Replaces the singular name.
    #[must_use]
    pub fn singular(mut self, singular: impl Into<String>) -> Self {
        self.singular = singular.into();
        self
    }

    /// Replaces the verbs.
    #[must_use]
    pub fn verbs(mut self, verbs: impl IntoIterator<Item = &'static str>) -> Self {
        self.verbs = verbs.into_iter().collect();
        self
    }

    /// Replaces the short names.
    #[must_use]
    pub fn short_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.short_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the categories.
    #[must_use]
    pub fn categories<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.categories = names.into_iter().map(Into::into).collect();
        self
    }

    /// Appends a `status` subresource.
    #[must_use]
    pub fn with_status(mut self) -> Self {
        let kind = self.kind.clone();
        self.subresources.push(Subresource::new("status", kind));
        self
    }

    /// Appends a `scale` subresource, whose kind is autoscaling's.
    #[must_use]
    pub fn with_scale(mut self) -> Self {
        self.subresources
            .push(Subresource::new("scale", "Scale").of("autoscaling", "v1"));
        self
    }
}

/// A subresource, such as `pods/log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// The part of the path after the parent's name.
    pub name: String,
    /// The kind that it takes or returns.
    pub kind: String,
    /// The group and version of that kind, where they are not the parent's.
    pub foreign: Option<(String, String)>,
    /// The verbs.
    pub verbs: Vec<&'static str>,
}

impl Subresource {
    /// A subresource with the verbs get, patch and update.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            foreign: None,
            verbs: SUBRESOURCE_VERBS.to_vec(),
        }
    }

    /// Names the group and version of the kind.
    #[must_use]
    pub fn of(mut self, group: impl Into<String>, version: impl Into<String>) -> Self {
        self.foreign = Some((group.into(), version.into()));
        self
    }
}

/// `g/v`, or `v` alone for the core group.
pub(super) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The other way round: the last slash separates, because no version contains one.
pub(super) fn split_group_version(group_version: &str) -> (&str, &str) {
    group_version
        .rsplit_once('/')
        .unwrap_or(("", group_version))
}

/// The first eight bytes of the SHA-256 of the stored group, version and kind: what a real server
/// puts into `storageVersionHash`.
pub(super) fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    let sum = Sha256::digest(format!("{group}/{version}/{kind}"));
    base64::engine::general_purpose::STANDARD.encode(&sum[..8])
}
