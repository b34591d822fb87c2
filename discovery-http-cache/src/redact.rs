//! Keys, URIs and errors as events show them: without user-info, query and request headers.

pub(crate) use discovery_core::key::{Redacted, RedactedError};
