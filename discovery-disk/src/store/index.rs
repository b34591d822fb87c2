//! Keys in their order.

use std::collections::{BTreeSet, BinaryHeap};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::DiskStore;
use super::names::FileOf;

/// The keys of a store in memory, filled when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Option<BTreeSet<String>>>);

impl Index {
    fn keys(&self) -> MutexGuard<'_, Option<BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a key has a value. Its file is looked at with the keys locked: of a write and a removal at the same
    /// time, the one that is noted last sees what both have left.
    fn note(&self, key: String, is_there: impl FnOnce() -> bool) {
        let Some(keys) = &mut *self.keys() else {
            return;
        };
        if is_there() {
            keys.insert(key);
        } else {
            keys.remove(&key);
        }
    }
}

impl DiskStore {
    /// At most `limit` keys after `from`, in the order of their bytes; from the first on if `from` is `None`.
    ///
    /// This reads the names of all files each time, and holds no more than `limit` of them, unless the store has an
    /// [index](super::DiskStoreOptions::index). A page begins where the last one ended:
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::new(dir.path());
    /// for key in ["c", "a", "b"] {
    ///     store.put(key, Value::default()).await?;
    /// }
    /// assert_eq!(store.keys_from(None, 2)?, ["a", "b"]);
    /// assert_eq!(store.keys_from(Some("b"), 2)?, ["c"]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`iter_keys`](Self::iter_keys).
    pub fn keys_from(&self, from: Option<&str>, limit: usize) -> io::Result<Vec<String>> {
        let Some(index) = self.index() else {
            let mut first = BinaryHeap::new();
            for key in self.iter_keys("")? {
                let key = key?;
                if from.is_none_or(|from| *key > *from) {
                    first.push(key);
                    if first.len() > limit {
                        first.pop();
                    }
                }
            }
            return Ok(first.into_sorted_vec());
        };
        if index.keys().is_none() {
            self.reindex()?;
        }
        let keys = index.keys();
        let start = from.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = keys
            .iter()
            .flat_map(|keys| keys.range::<str, _>((start, Bound::Unbounded)));
        Ok(keys.take(limit).cloned().collect())
    }

    /// Reads the names of all files into the [index](super::DiskStoreOptions::index), which does not know of other
    /// processes' writes. Without an index it does nothing.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::with_options(dir.path(), DiskStoreOptions::new().index(true));
    /// assert!(store.keys_from(None, 9)?.is_empty());
    /// // Another process would do this:
    /// DiskStore::new(dir.path()).put("key", Value::default()).await?;
    /// assert!(store.keys_from(None, 9)?.is_empty());
    /// store.reindex()?;
    /// assert_eq!(store.keys_from(None, 9)?, ["key"]);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`iter_keys`](Self::iter_keys).
    pub fn reindex(&self) -> io::Result<()> {
        let Some(index) = self.index() else {
            return Ok(());
        };
        // Locked for the whole of it: a write meanwhile would be missed.
        let mut keys = index.keys();
        *keys = Some(self.iter_keys("")?.collect::<io::Result<_>>()?);
        Ok(())
    }

    /// A value has been written or removed.
    pub(crate) fn note_key(&self, path: &Path) {
        if let Some(index) = self.index()
            && let Some(key) = self.key_of(path)
        {
            index.note(key, || matches!(self.fs().stat(path), Ok(Some(_))));
        }
    }

    fn key_of(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(self.dir()).ok()?;
        match self.options().names.file_of(name) {
            FileOf::Key(key) => Some(key),
            _ => None,
        }
    }
}
