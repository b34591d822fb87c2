//! The words in which a resource is asked for.

use std::borrow::Cow;
use std::fmt;

/// Whether the objects of a resource are in namespaces.
///
/// ```
/// assert_eq!(discovery_client::mapper::Scope::Namespaced.to_string(), "Namespaced");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// They are.
    Namespaced,
    /// They belong to the cluster.
    Cluster,
}

/// A name as `kubectl get` takes it: `deploy`, `deployments.apps`, `deployments.v1.apps`.
///
/// What stands behind the first dot is the group; with two dots or more, what stands between the first two may be the
/// version. It is tried first. As apimachinery's `schema.ParseResourceArg`.
///
/// ```
/// use discovery_client::mapper::ResourceArg;
///
/// let arg = ResourceArg::parse("deployments.v1.apps");
/// assert_eq!((arg.name, arg.versioned), ("deployments", Some(("v1", "apps"))));
/// assert_eq!(arg.group, "v1.apps");
/// assert_eq!(ResourceArg::parse("deployments.apps").versioned, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ResourceArg<'a> {
    /// The resource or the kind.
    pub name: &'a str,
    /// The group, if all behind the first dot is one. Empty if there is no dot.
    pub group: &'a str,
    /// The version and the group, if there are both.
    pub versioned: Option<(&'a str, &'a str)>,
}

impl<'a> ResourceArg<'a> {
    /// Takes a name apart.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let (name, group) = text.split_once('.').unwrap_or((text, ""));
        Self {
            name,
            group,
            versioned: group.split_once('.'),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Namespaced => "Namespaced",
            Self::Cluster => "Cluster",
        })
    }
}

/// In lower case. Mostly it is that already.
pub(super) fn lower(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) {
        name.to_lowercase().into()
    } else {
        name.into()
    }
}
