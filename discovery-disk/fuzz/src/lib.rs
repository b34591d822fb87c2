//! Fuzz targets of `discovery-disk`, in `tests/`, and what they share.

use std::path::Path;

use discovery_core::store::{Store, Value};
use discovery_disk::store::{Compression, DiskStoreOptions};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

/// The number of forms in which values are kept.
pub const FORMS: u8 = 7;

/// A store of one of the forms in `dir`.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// for form in 0..discovery_disk_fuzz::FORMS {
///     let store = discovery_disk_fuzz::store(dir.path(), form);
///     assert_eq!(discovery_disk_fuzz::get(&*store, "key"), None);
/// }
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn store(dir: &Path, form: u8) -> Box<dyn Store> {
    let new = DiskStoreOptions::new;
    let options = match form {
        0 => return Box::new(KubectlStore::new(dir)),
        1 => new().checksum(true),
        2 => new().checksum(true).compression(Compression::Zstd),
        3 => new().compression(Compression::Gzip),
        4 => new().compression(Compression::Zlib),
        5 => new().compression(Compression::Zstd).read_cache(10_000),
        _ => new().index(true),
    };
    Box::new(DiskStore::with_options(dir, options))
}

/// Whether a form tells that a single bit of a value has changed.
///
/// ```
/// assert!(discovery_disk_fuzz::has_sum(0));
/// ```
#[must_use]
pub const fn has_sum(form: u8) -> bool {
    form <= 2
}

/// The value under a key.
///
/// # Panics
///
/// When the store can't be read.
#[must_use]
pub fn get(store: &dyn Store, key: &str) -> Option<Value> {
    block_on(store.get(key)).expect("a store that can be read")
}
