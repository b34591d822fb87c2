//! File-system faults on demand, for tests.
//!
//! ```
//! use discovery_core::store::{Store, Value};
//! use discovery_disk::DiskStore;
//! use discovery_disk::store::DiskStoreOptions;
//! use discovery_disk::store::faults::{Fault, Step};
//! use std::io::ErrorKind;
//!
//! # tokio_test::block_on(async {
//! let dir = tempfile::tempdir()?;
//! let options = DiskStoreOptions::new()
//!     .with_faults(|step, _| (step == Step::Write).then(|| Fault::Torn(1)));
//! let full = DiskStore::with_options(dir.path(), options);
//! let error = full.put("key", Value::new("", "value")).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::StorageFull);
//! assert_eq!(full.get("key").await?, None);
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::DiskStoreOptions;
pub use super::fs::Step;

/// A fault in a call to the file system.
#[non_exhaustive]
pub enum Fault {
    /// Nothing happens but this error.
    Error(io::Error),
    /// A write gets as far as this many bytes, and then the disk is full. Nothing goes wrong in
    /// other steps.
    Torn(usize),
}

pub(crate) type Hook = Arc<dyn Fn(Step, &Path) -> Option<Fault> + Send + Sync>;

impl DiskStoreOptions {
    /// Asks `hook` before each call to the file system whether it goes wrong. The path is the one
    /// that the call is for; of a rename, the new name.
    #[must_use]
    pub fn with_faults<F>(mut self, hook: F) -> Self
    where
        F: Fn(Step, &Path) -> Option<Fault> + Send + Sync + 'static,
    {
        self.fs.hook = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => f.debug_tuple("Error").field(error).finish(),
            Self::Torn(len) => f.debug_tuple("Torn").field(len).finish(),
        }
    }
}
