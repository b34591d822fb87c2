use std::fmt;

use discovery_core::BoxError;

use crate::StackError;

/// Why there is no client. The source tells more.
#[derive(Debug)]
pub struct Error {
    what: &'static str,
    source: BoxError,
}

impl Error {
    pub(super) fn address(error: StackError) -> Self {
        Self::other("address", error)
    }

    pub(super) fn kube(error: kube::Error) -> Self {
        Self::other("configuration", error)
    }

    pub(super) fn other(what: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self { what, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no client can be made: {}", self.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
