//! HTTP messages as caches see them: their URIs, header fields and bodies, and their form in a store.

pub mod dump;
pub mod headers;
pub mod uri;
