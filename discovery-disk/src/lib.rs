//! Disk stores and kubectl's discovery files as tower layers.
//!
//! - [`DiskStore`]: values by key, one file each, for any number of processes.
//! - [`KubectlStore`]: the same with the names and checksums of kubectl's HTTP cache directory.
//! - [`DiskStoreLayer`]: a store as a layer of its own, to record and replay.
//! - [`DiskDiscoveryLayer`]: kubectl's discovery files, around any HTTP service.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod discovery;
pub mod record;
pub mod store;

pub use self::discovery::{DiskDiscovery, DiskDiscoveryLayer};
pub use self::record::DiskStoreLayer;
pub use self::store::{DiskStore, KubectlStore};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
