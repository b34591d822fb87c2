//! A bounded memory store and kubectl's memory discovery cache as a tower layer.
//!
//! - [`MemoryStore`]: values by key, up to a number of bytes.
//! - [`MemoryDiscoveryLayer`]: discovery answers in memory, around any HTTP service.

mod discovery;
mod store;

pub use self::discovery::{MemoryBackend, MemoryDiscovery, MemoryDiscoveryLayer};
pub use self::store::MemoryStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
