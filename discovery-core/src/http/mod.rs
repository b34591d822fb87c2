//! HTTP messages as caches see them: their URIs, header fields and bodies, and their form in a store.

pub mod body;
pub mod dump;
pub mod exchange;
mod go_url;
pub mod headers;
pub mod uri;
