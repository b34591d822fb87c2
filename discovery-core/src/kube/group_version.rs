//! Names of API groups, versions, resources and kinds.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::Text;

/// The longest group or version name that is taken: that of a DNS subdomain.
const MAX_NAME: usize = 253;

/// An API group and one of its versions, written `apps/v1`, or `v1` for the core group.
///
/// A `GroupVersion` is always fit for a URL path and for a file path: it can't be made from names
/// that are empty, longer than 253 bytes, start with a dot, or have characters other than ASCII
/// letters, digits, `-`, `_` and `.`. It is ordered, hashed and compared by its text, so that a map
/// with it as key can be asked with a `&str`.
///
/// ```
/// use discovery_core::GroupVersion;
///
/// let apps: GroupVersion = "apps/v1".parse()?;
/// assert_eq!((apps.group(), apps.version()), ("apps", "v1"));
/// assert_eq!(apps.path(), "/apis/apps/v1");
///
/// let core = GroupVersion::new("", "v1")?;
/// assert_eq!((core.as_str(), core.path().as_str()), ("v1", "/api/v1"));
///
/// assert!("../v1".parse::<GroupVersion>().is_err());
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersion {
    /// `group/version`, or `version`. Names have no slash, so the first one divides them.
    text: Text,
}

/// A kind of objects, within a group version.
///
/// ```
/// use discovery_core::{GroupVersion, GroupVersionKind};
///
/// let apps: GroupVersion = "apps/v1".parse()?;
/// assert_eq!(apps.with_kind("Deployment").to_string(), "apps/v1, Kind=Deployment");
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "discovery", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "discovery", serde(rename_all = "camelCase"))]
pub struct GroupVersionKind {
    /// The group version.
    pub group_version: GroupVersion,
    /// The kind, for example `Deployment`.
    pub kind: Text,
}

/// A kind of objects, within a group, in whichever version. The core group is `""`.
///
/// ```
/// use discovery_core::GroupKind;
///
/// let deployment = GroupKind::new("apps", "Deployment");
/// assert_eq!(deployment.to_string(), "Deployment.apps");
/// assert_eq!(GroupKind::new("", "Pod").to_string(), "Pod");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "discovery", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupKind {
    /// The group, for example `apps`.
    pub group: Text,
    /// The kind, for example `Deployment`.
    pub kind: Text,
}

/// A resource, within a group version.
///
/// ```
/// use discovery_core::{GroupVersion, GroupVersionResource};
///
/// let apps: GroupVersion = "apps/v1".parse()?;
/// let resource = apps.with_resource("deployments");
/// assert_eq!(resource.to_string(), "apps/v1, Resource=deployments");
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "discovery", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "discovery", serde(rename_all = "camelCase"))]
pub struct GroupVersionResource {
    /// The group version.
    pub group_version: GroupVersion,
    /// The plural name, for example `deployments`.
    pub resource: Text,
}

/// A name that can't be that of a group or a version.
///
/// ```
/// use discovery_core::GroupVersion;
///
/// let error = GroupVersion::new("a/../b", "v1").unwrap_err();
/// assert_eq!(error.to_string(), r#"not a group or version name: "a/../b""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    name: String,
}

impl GroupVersion {
    /// A version of a group; the core group is `""`.
    ///
    /// # Errors
    ///
    /// When a name is not fit for a path.
    pub fn new(group: &str, version: &str) -> Result<Self, InvalidName> {
        check(version)?;
        if group.is_empty() {
            return Ok(Self {
                text: version.into(),
            });
        }
        check(group)?;
        Ok(Self {
            text: Text::format(format_args!("{group}/{version}")),
        })
    }

    /// The group, `""` for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.text.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.text
            .split_once('/')
            .map_or(&self.text, |(_, version)| version)
    }

    /// The text, as in a manifest's `apiVersion`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL path of its resource list: `/api/v1`, or `/apis/apps/v1`.
    #[must_use]
    pub fn path(&self) -> String {
        let root = if self.text.contains('/') {
            "/apis"
        } else {
            "/api"
        };
        format!("{root}/{}", self.text)
    }

    /// One of its kinds.
    #[must_use]
    pub fn with_kind(&self, kind: impl Into<Text>) -> GroupVersionKind {
        GroupVersionKind {
            group_version: self.clone(),
            kind: kind.into(),
        }
    }

    /// One of its resources.
    #[must_use]
    pub fn with_resource(&self, resource: impl Into<Text>) -> GroupVersionResource {
        GroupVersionResource {
            group_version: self.clone(),
            resource: resource.into(),
        }
    }
}

impl GroupKind {
    /// A kind of a group.
    #[must_use]
    pub fn new(group: impl Into<Text>, kind: impl Into<Text>) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

impl GroupVersionKind {
    /// The kind, without the version.
    ///
    /// ```
    /// use discovery_core::{GroupKind, GroupVersion};
    ///
    /// let apps: GroupVersion = "apps/v1".parse()?;
    /// let deployment = apps.with_kind("Deployment");
    /// assert_eq!(deployment.group_kind(), GroupKind::new("apps", "Deployment"));
    /// # Ok::<(), discovery_core::InvalidName>(())
    /// ```
    #[must_use]
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group_version.group(), self.kind.clone())
    }
}

/// Whether `name` can be a path component of a URL and of a file, and nothing else.
fn check(name: &str) -> Result<(), InvalidName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.bytes().all(plain)
    {
        let name = name.chars().take(MAX_NAME).collect();
        return Err(InvalidName { name });
    }
    Ok(())
}

/// Checks the name of a group, other than the core group.
pub(crate) fn check_group(name: &str) -> Result<(), InvalidName> {
    check(name)
}

impl FromStr for GroupVersion {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('/') {
            // A slash asks for a group.
            Some((group, version)) => {
                check(group)?;
                check(version)?;
            }
            None => check(text)?,
        }
        Ok(Self { text: text.into() })
    }
}

impl Borrow<str> for GroupVersion {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for GroupVersion {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupVersion({})", self.text)
    }
}

#[cfg(feature = "discovery")]
mod serialized {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::GroupVersion;
    use crate::Text;

    impl Serialize for GroupVersion {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.text)
        }
    }

    impl<'de> Deserialize<'de> for GroupVersion {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Text::deserialize(deserializer)?
                .parse()
                .map_err(serde::de::Error::custom)
        }
    }
}

/// As client-go writes it: `Deployment.apps`, and `Pod` in the core group.
impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            return write!(f, "{}", self.kind);
        }
        write!(f, "{}.{}", self.kind, self.group)
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.group_version, self.kind)
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Resource={}", self.group_version, self.resource)
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a group or version name: {:?}", self.name)
    }
}

impl std::error::Error for InvalidName {}
