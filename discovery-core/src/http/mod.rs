//! HTTP messages as caches see them: their URIs, header fields and bodies, and their form in a store.

pub mod body;
pub mod dump;
pub mod entry_writer;
pub mod exchange;
pub mod headers;
pub mod reserved;
pub mod tee;
pub mod uri;
