//! The paths of an API server.

use std::borrow::Cow;
use std::fmt;

use crate::Text;

use crate::GroupVersion;
use crate::kube::group_version::check_group;

/// A path of the API server, as far as discovery is concerned.
///
/// ```
/// use discovery_core::Endpoint;
///
/// assert_eq!(Endpoint::parse("/apis", ""), Some(Endpoint::Apis));
/// assert_eq!(
///     Endpoint::parse("/k8s/clusters/c-1/apis/apps/v1", "/k8s/clusters/c-1"),
///     Some(Endpoint::Resources("apps/v1".parse()?)),
/// );
/// assert_eq!(Endpoint::parse("/api/v1/pods", ""), None);
/// assert_eq!(Endpoint::parse("/apis/apps/..", ""), None);
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/api`: the versions of the core group, or the core group in aggregated form.
    Api,
    /// `/apis`: the other groups, or all of them in aggregated form.
    Apis,
    /// `/apis/<group>`: one group.
    Group(Text),
    /// `/api/<version>`, `/apis/<group>/<version>`: the resources of a group version.
    Resources(GroupVersion),
    /// `/version`: the server's version.
    Version,
    /// `/openapi/v2`: everything in one OpenAPI document.
    OpenApiV2,
    /// `/openapi/v3`: the index of the OpenAPI documents.
    OpenApiV3,
    /// `/openapi/v3/…`: one OpenAPI document. The text is what follows `/openapi/v3/`.
    OpenApiV3Document(Text),
}

impl Endpoint {
    /// Reads `path`, under the `base` path that the server is mounted at (without a slash at its end,
    /// `""` for none).
    ///
    /// `None` for all else: objects, paths with a slash at the end (which servers answer
    /// differently), and names that are not fit for a path.
    #[must_use]
    pub fn parse(path: &str, base: &str) -> Option<Self> {
        let path = path.strip_prefix(base)?.strip_prefix('/')?;
        let (root, rest) = match path.split_once('/') {
            Some((root, rest)) => (root, Some(rest)),
            None => (path, None),
        };
        match (root, rest) {
            ("api", None) => Some(Self::Api),
            ("apis", None) => Some(Self::Apis),
            ("version", None) => Some(Self::Version),
            ("api", Some(version)) => Some(Self::Resources(GroupVersion::new("", version).ok()?)),
            ("apis", Some(rest)) => match rest.split_once('/') {
                None => check_group(rest).ok().map(|()| Self::Group(rest.into())),
                Some(("", _)) => None,
                Some((group, version)) => {
                    Some(Self::Resources(GroupVersion::new(group, version).ok()?))
                }
            },
            ("openapi", Some("v2")) => Some(Self::OpenApiV2),
            ("openapi", Some("v3")) => Some(Self::OpenApiV3),
            ("openapi", Some(rest)) => {
                let document = rest.strip_prefix("v3/")?;
                let fit = document.split('/').all(is_plain);
                fit.then(|| Self::OpenApiV3Document(document.into()))
            }
            _ => None,
        }
    }

    /// Its path, without a base path.
    ///
    /// ```
    /// use discovery_core::Endpoint;
    ///
    /// assert_eq!(Endpoint::Resources("v1".parse()?).path(), "/api/v1");
    /// # Ok::<(), discovery_core::InvalidName>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> Cow<'static, str> {
        match self {
            Self::Api => "/api".into(),
            Self::Apis => "/apis".into(),
            Self::Group(group) => format!("/apis/{group}").into(),
            Self::Resources(group_version) => group_version.path().into(),
            Self::Version => "/version".into(),
            Self::OpenApiV2 => "/openapi/v2".into(),
            Self::OpenApiV3 => "/openapi/v3".into(),
            Self::OpenApiV3Document(document) => format!("/openapi/v3/{document}").into(),
        }
    }

    /// Whether it asks for groups, versions or resources: what the discovery caches keep.
    #[must_use]
    pub const fn is_discovery(&self) -> bool {
        matches!(
            self,
            Self::Api | Self::Apis | Self::Group(_) | Self::Resources(_)
        )
    }
}

/// Shows the path, without a base path.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.path())
    }
}

/// Whether it stands for itself in a path. A cache that goes by the path must not be led elsewhere by
/// it: by `..`, nor by the same in an encoding that the server undoes. Names that begin with a dot
/// are plain, because servers have `.well-known`.
fn is_plain(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    part.bytes().all(plain) && part.bytes().any(|byte| byte != b'.')
}

/// Puts an endpoint's path in the place of the path of `uri`; scheme, authority and query stay.
#[cfg(feature = "discovery")]
pub(crate) fn with_path(uri: &http::Uri, path: &str) -> http::Uri {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = target.parse().ok();
    http::Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
