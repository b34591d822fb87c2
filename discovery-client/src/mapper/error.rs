//! Why a name stands for no resource.

use std::fmt;
use std::sync::Arc;

use discovery_core::Error;

use super::mapping::Mapping;

/// Why a name stands for no one resource. Cheap to clone.
///
/// ```
/// use discovery_client::mapper::{MapErrorKind, RestMapper};
/// use discovery_core::Snapshot;
///
/// let error = RestMapper::new(&Snapshot::default()).resolve("depoyments").unwrap_err();
/// assert!(matches!(error.kind(), MapErrorKind::NoMatch { .. }));
/// assert_eq!(error.to_string(), "the server doesn't have a resource type \"depoyments\"");
/// ```
#[derive(Clone, Debug)]
pub struct MapError {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asked: String,
    kind: MapErrorKind,
}

/// The ways in which a name can stand for no one resource.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MapErrorKind {
    /// Nothing has this name.
    NoMatch {
        /// Up to three names that differ from it in a few letters, the nearest first.
        near: Vec<String>,
    },
    /// Several things have this name, and none comes before the others.
    Ambiguous {
        /// All of them.
        candidates: Vec<Arc<Mapping>>,
    },
    /// Nothing that is known has this name, and what there is could not be discovered.
    Discovery(Error),
}

impl MapError {
    pub(super) fn new(asked: impl Into<String>, kind: MapErrorKind) -> Self {
        let asked = asked.into();
        Self {
            inner: Arc::new(Inner { asked, kind }),
        }
    }

    /// The name that was asked for.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.inner.asked
    }

    /// The way.
    #[must_use]
    pub fn kind(&self) -> &MapErrorKind {
        &self.inner.kind
    }

    /// Whether nothing has the name, as far as could be told.
    #[must_use]
    pub fn is_no_match(&self) -> bool {
        matches!(self.kind(), MapErrorKind::NoMatch { .. })
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asked();
        match self.kind() {
            MapErrorKind::NoMatch { near } => {
                write!(f, "the server doesn't have a resource type {asked:?}")?;
                match &near[..] {
                    [] => Ok(()),
                    near => write!(f, "; near it are {}", near.join(", ")),
                }
            }
            MapErrorKind::Ambiguous { candidates } => {
                write!(f, "{asked:?} may be any of")?;
                for (number, candidate) in candidates.iter().enumerate() {
                    let mark = if number == 0 { " " } else { ", " };
                    write!(f, "{mark}{}", candidate.full_name())?;
                }
                Ok(())
            }
            MapErrorKind::Discovery(_) => {
                write!(f, "can't tell what {asked:?} is")
            }
        }
    }
}

impl std::error::Error for MapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            MapErrorKind::Discovery(error) => Some(error),
            _ => None,
        }
    }
}
