#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod discovery;
pub mod record;
pub mod store;

pub use self::discovery::{DiskDiscovery, DiskDiscoveryLayer};
pub use self::record::DiskStoreLayer;
pub use self::store::{DiskStore, KubectlStore};
