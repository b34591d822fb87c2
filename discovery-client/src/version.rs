use discovery_core::Text;
use serde::{Deserialize, Serialize};

/// The answer of `/version`.
///
/// ```
/// use discovery_client::VersionInfo;
///
/// let version: VersionInfo = serde_json::from_str(r#"{"major":"1","minor":"36","gitVersion":"v1.36.2"}"#)?;
/// assert_eq!(version.git_version, "v1.36.2");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct VersionInfo {
    /// For example `1`.
    #[serde(deserialize_with = "or_empty")]
    pub major: Text,
    /// For example `36`, or `36+`.
    #[serde(deserialize_with = "or_empty")]
    pub minor: Text,
    /// The major version whose behaviour it shows, where that is another's.
    #[serde(skip_serializing_if = "Text::is_empty", deserialize_with = "or_empty")]
    pub emulation_major: Text,
    /// The minor version whose behaviour it shows, where that is another's.
    #[serde(skip_serializing_if = "Text::is_empty", deserialize_with = "or_empty")]
    pub emulation_minor: Text,
    /// The oldest major version that it can work together with.
    #[serde(skip_serializing_if = "Text::is_empty", deserialize_with = "or_empty")]
    pub min_compatibility_major: Text,
    /// The oldest minor version that it can work together with.
    #[serde(skip_serializing_if = "Text::is_empty", deserialize_with = "or_empty")]
    pub min_compatibility_minor: Text,
    /// For example `v1.36.2`.
    #[serde(deserialize_with = "or_empty")]
    pub git_version: Text,
    /// The commit that it was built from.
    #[serde(deserialize_with = "or_empty")]
    pub git_commit: Text,
    /// `clean`, or `dirty` where there were changes to the commit.
    #[serde(deserialize_with = "or_empty")]
    pub git_tree_state: Text,
    /// The time of its build, in the form of RFC 3339.
    #[serde(deserialize_with = "or_empty")]
    pub build_date: Text,
    /// For example `go1.26.1`.
    #[serde(deserialize_with = "or_empty")]
    pub go_version: Text,
    /// For example `gc`.
    #[serde(deserialize_with = "or_empty")]
    pub compiler: Text,
    /// For example `linux/amd64`.
    #[serde(deserialize_with = "or_empty")]
    pub platform: Text,
}

/// A null is an empty text, as for Go.
fn or_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
    Option::<Text>::deserialize(from).map(Option::unwrap_or_default)
}
