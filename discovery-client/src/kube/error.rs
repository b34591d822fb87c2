use std::fmt;

use discovery_core::BoxError;
use discovery_core::http::uri::without_user_info;

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

    pub(super) fn kube(mut error: kube::Error) -> Self {
        // kube tells all of a proxy's address, and there may be a password in it.
        if let kube::Error::ProxyProtocolDisabled { proxy_url, .. }
        | kube::Error::ProxyProtocolUnsupported { proxy_url } = &mut error
        {
            let shown = without_user_info(&proxy_url.to_string()).parse();
            **proxy_url = shown.unwrap_or_default();
        }
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
