//! Keys in their order.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::DiskStore;
use super::names::FileOf;

/// The keys of a store in memory, filled when they are first asked for. It is locked for moments, never while a file or a
/// directory is looked at.
#[derive(Debug, Default)]
pub(crate) struct Index {
    state: Mutex<State>,
    /// Held while the files are listed, by one thread at a time.
    listing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<BTreeSet<String>>,
    /// The keys that were noted while the files are listed, and whether they have a value.
    meanwhile: Option<BTreeMap<String, bool>>,
    /// The number of notes.
    notes: u64,
}

impl Index {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a key has a value. Of a write and a removal at the same time, the one that is noted last has seen what
    /// both have left: its look at the file came after the other's note, or it looks again.
    fn note(&self, key: &str, is_there: impl Fn() -> bool) {
        loop {
            let notes = {
                let state = self.state();
                if state.keys.is_none() && state.meanwhile.is_none() {
                    return;
                }
                state.notes
            };
            let is_there = is_there();
            let mut state = self.state();
            if state.notes == notes {
                state.note(key, is_there);
                return;
            }
        }
    }
}

impl State {
    fn note(&mut self, key: &str, is_there: bool) {
        self.notes += 1;
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.insert(key.to_owned(), is_there);
        }
        let Some(keys) = &mut self.keys else {
            return;
        };
        if !is_there {
            keys.remove(key);
        } else if !keys.contains(key) {
            keys.insert(key.to_owned());
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
        if index.state().keys.is_none() {
            self.reindex()?;
        }
        let keys = &index.state().keys;
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
        let _listing = index.listing.lock().unwrap_or_else(PoisonError::into_inner);
        index.state().meanwhile = Some(BTreeMap::new());
        let listed = self.iter_keys("").and_then(Iterator::collect);
        let mut state = index.state();
        let meanwhile = state.meanwhile.take();
        let mut keys: BTreeSet<String> = listed?;
        for (key, is_there) in meanwhile.into_iter().flatten() {
            if is_there {
                keys.insert(key);
            } else {
                keys.remove(&key);
            }
        }
        state.keys = Some(keys);
        Ok(())
    }

    /// A value has been written or removed.
    pub(crate) fn note_key(&self, path: &Path) {
        if let Some(index) = self.index()
            && let Some(key) = self.key_of(path)
        {
            index.note(&key, || matches!(self.fs().stat(path), Ok(Some(_))));
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
