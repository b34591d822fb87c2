#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub mod discovery;
pub mod record;
pub mod store;

pub use self::discovery::{DiskDiscovery, DiskDiscoveryLayer};
pub use self::record::DiskStoreLayer;
pub use self::store::{DiskStore, KubectlStore};

/// The directory of an identity, beside the one of all: `~` and a sum of the identity are behind its name.
///
/// ```
/// use std::path::Path;
///
/// let alice = discovery_disk::partition(Path::new("cache/http"), b"alice");
/// assert_eq!(alice, Path::new("cache/http~2bd806c97f0e00af"));
/// ```
#[must_use]
pub fn partition(dir: &Path, identity: &[u8]) -> PathBuf {
    let mut partition = dir.as_os_str().to_owned();
    partition.push("~");
    for byte in &Sha256::digest(identity)[..8] {
        partition.push(format!("{byte:02x}"));
    }
    partition.into()
}
