//! Small discovery documents, as servers send them.
//!
//! Each resource has a kind, `X`, and the verb `get`; nothing else is in the documents.
//!
//! ```
//! use discovery_core::Format;
//! use discovery_core::testing::ScriptedService;
//! use discovery_core::testing::fixtures::{self, Group};
//!
//! // A server that knows no aggregated discovery.
//! let server = ScriptedService::new();
//! for (path, json) in [
//!     ("/api", fixtures::api_versions(&["v1"])),
//!     ("/apis", fixtures::group_list(&[Group::new("apps").version("v1", &[])])),
//!     ("/api/v1", fixtures::resource_list("v1", &["pods"])),
//!     ("/apis/apps/v1", fixtures::resource_list("apps/v1", &["deployments"])),
//! ] {
//!     server.respond_at(path, move |_| fixtures::document(Format::Legacy, json.clone()));
//! }
//! server.fallback(|_| Ok(fixtures::status(404)));
//! ```

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::Format;

/// The answer with this document, in this format.
///
/// ```
/// use discovery_core::Format;
/// use discovery_core::testing::fixtures;
///
/// let response: http::Response<bytes::Bytes> = fixtures::document(Format::V2, fixtures::aggregated(&[]));
/// assert_eq!(Format::from_headers(response.headers()), Some(Format::V2));
/// ```
pub fn document<B: From<Bytes>>(format: Format, json: impl Into<Bytes>) -> Response<B> {
    let mut response = Response::new(json.into().into());
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer with this status and a short text, which is no discovery document.
///
/// ```
/// let response: http::Response<bytes::Bytes> = discovery_core::testing::fixtures::status(503);
/// assert_eq!(response.status(), 503);
/// ```
///
/// # Panics
///
/// When `code` is no status: below 100 or above 999.
pub fn status<B: From<Bytes>>(code: u16) -> Response<B> {
    let mut response = Response::new(Bytes::from_static(b"no").into());
    *response.status_mut() = StatusCode::from_u16(code).expect("a status code");
    response
}

/// The legacy document of `/api`, with these versions of the core group.
///
/// ```
/// use discovery_core::testing::fixtures;
///
/// let json = fixtures::api_versions(&["v1"]);
/// assert_eq!(json, r#"{"kind":"APIVersions","versions":["v1"]}"#);
/// ```
#[must_use]
pub fn api_versions(versions: &[&str]) -> String {
    let versions: Vec<_> = versions.iter().map(|name| quoted(name)).collect();
    format!(
        r#"{{"kind":"APIVersions","versions":[{}]}}"#,
        versions.join(",")
    )
}

/// The legacy document of `/apis`, with the names of these groups and their versions. The first
/// version of a group is preferred.
///
/// ```
/// use discovery_core::testing::fixtures::{self, Group};
///
/// let batch = Group::new("batch").version("v1", &["jobs"]);
/// let json = fixtures::group_list(&[batch]);
/// assert!(json.contains(r#""groupVersion":"batch/v1""#) && !json.contains("jobs"));
/// ```
#[must_use]
pub fn group_list(groups: &[Group]) -> String {
    let groups: Vec<_> = groups.iter().map(Group::legacy).collect();
    format!(
        r#"{{"kind":"APIGroupList","groups":[{}]}}"#,
        groups.join(",")
    )
}

/// The legacy document of one group version, with these resources.
///
/// ```
/// use discovery_core::testing::fixtures;
///
/// let json = fixtures::resource_list("apps/v1", &["deployments", "deployments/scale"]);
/// assert!(json.contains(r#""groupVersion":"apps/v1""#));
/// ```
#[must_use]
pub fn resource_list(group_version: &str, resources: &[&str]) -> String {
    let resources: Vec<_> = resources
        .iter()
        .map(|name| format!(r#"{{"name":{},"kind":"X","verbs":["get"]}}"#, quoted(name)))
        .collect();
    format!(
        r#"{{"kind":"APIResourceList","groupVersion":{},"resources":[{}]}}"#,
        quoted(group_version),
        resources.join(",")
    )
}

/// The aggregated document of `/api` or `/apis`.
///
/// ```
/// use discovery_core::testing::fixtures::{self, Group};
///
/// let apps = Group::new("apps").version("v1", &["deployments"]).stale_version("v1beta1");
/// let json = fixtures::aggregated(&[apps]);
/// assert!(json.starts_with(r#"{"kind":"APIGroupDiscoveryList""#));
/// ```
#[must_use]
pub fn aggregated(groups: &[Group]) -> String {
    let groups: Vec<_> = groups.iter().map(Group::aggregated).collect();
    format!(
        r#"{{"kind":"APIGroupDiscoveryList","items":[{}]}}"#,
        groups.join(",")
    )
}

/// A group in an [`aggregated`] document or a [`group_list`], where examples are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    name: String,
    /// `None` if the server could not find them out.
    resources: Option<Vec<String>>,
}

impl Group {
    /// A group without versions. The core group's name is empty.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            versions: Vec::new(),
        }
    }

    /// Adds a version with these resources, after those that are there.
    #[must_use]
    pub fn version(mut self, name: impl Into<String>, resources: &[&str]) -> Self {
        self.versions.push(Version {
            name: name.into(),
            resources: Some(resources.iter().map(|&name| name.to_owned()).collect()),
        });
        self
    }

    /// Adds a version whose resources the server could not find out.
    #[must_use]
    pub fn stale_version(mut self, name: impl Into<String>) -> Self {
        self.versions.push(Version {
            name: name.into(),
            resources: None,
        });
        self
    }

    fn aggregated(&self) -> String {
        let versions: Vec<_> = self.versions.iter().map(Version::aggregated).collect();
        format!(
            r#"{{"metadata":{{"name":{}}},"versions":[{}]}}"#,
            quoted(&self.name),
            versions.join(",")
        )
    }

    fn legacy(&self) -> String {
        let versions = self.versions.iter().map(|version| {
            format!(
                r#"{{"groupVersion":{},"version":{}}}"#,
                quoted(&format!("{}/{}", self.name, version.name)),
                quoted(&version.name)
            )
        });
        let versions: Vec<_> = versions.collect();
        let preferred = versions.first();
        let preferred = preferred.map(|first| format!(r#","preferredVersion":{first}"#));
        format!(
            r#"{{"name":{},"versions":[{}]{}}}"#,
            quoted(&self.name),
            versions.join(","),
            preferred.unwrap_or_default()
        )
    }
}

impl Version {
    fn aggregated(&self) -> String {
        let name = quoted(&self.name);
        let Some(resources) = &self.resources else {
            return format!(r#"{{"version":{name},"freshness":"Stale"}}"#);
        };
        let resources = resources.iter().map(|resource| {
            let resource = quoted(resource);
            format!(
                r#"{{"resource":{resource},"responseKind":{{"kind":"X"}},"scope":"Cluster","verbs":["get"]}}"#
            )
        });
        let resources: Vec<_> = resources.collect();
        format!(
            r#"{{"version":{name},"freshness":"Current","resources":[{}]}}"#,
            resources.join(",")
        )
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\x1f' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}
