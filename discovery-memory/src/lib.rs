#![doc = include_str!("../README.md")]

mod discovery;
mod primitives;
mod store;

pub use self::discovery::{MemoryBackend, MemoryDiscovery, MemoryDiscoveryLayer};
pub use self::store::MemoryStore;
