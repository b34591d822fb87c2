use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use discovery_core::store::{Op, PutOptions, Store, StoreSize, Value, Writer};

use super::form::{Compression, Form, Sum};
use super::names::HashedNames;
use super::{DiskStore, DiskStoreOptions};

/// kubectl's HTTP cache directory: kubectl reads the values that are put, and the values that kubectl
/// wrote are found.
///
/// The directory is the one below the cache root, `<root>/http`. A key's file is named by the
/// key's SHA-256 in lower-case hexadecimal digits, flat in the directory, with mode 0660. It holds
/// the SHA-256 of the value as 32 raw bytes, then the value. A file that is too short or has
/// another sum is no value; the next `put` replaces it.
///
/// Temporary files are in `.diskv-temp` in the directory, where kubectl has its own. Both
/// directories are made at the first write. Clones share the files and the memory of which of them
/// have already been checked: a sum is computed once for each state of a file, by its inode, size
/// and times. Files are replaced, never changed; a program that writes into one, keeps its size and
/// is quicker than the file system's clock is not noticed by a process that has checked the file.
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_disk::KubectlStore;
///
/// # tokio_test::block_on(async {
/// let root = tempfile::tempdir()?;
/// let store = KubectlStore::new(root.path().join("http"));
/// store.put("https://10.0.0.1/api?timeout=32s", Value::new("HTTP/1.1 200 OK\r\n", "\r\n")).await?;
///
/// let name = "2ffa9113f84da6f61a8feeaf7c2568b683d94c06b7cd5e97ea51a3a9e76ef289";
/// let file = std::fs::read(root.path().join("http").join(name))?;
/// assert_eq!(&file[32..], b"HTTP/1.1 200 OK\r\n\r\n");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct KubectlStore {
    disk: DiskStore,
}

impl KubectlStore {
    /// A store in `dir`, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_options(dir, DiskStoreOptions::new())
    }

    /// A store in `dir` with all `options` but the file names, the checksum and the compression, which are kubectl's.
    ///
    /// ```
    /// use discovery_disk::KubectlStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// let options = DiskStoreOptions::new().max_value_size(1 << 20);
    /// let store = KubectlStore::with_options("cache/http", options);
    /// assert!(store.dir().ends_with("cache/http"));
    /// ```
    pub fn with_options(dir: impl Into<PathBuf>, options: DiskStoreOptions) -> Self {
        Self {
            disk: DiskStore::with_options(dir, of_kubectl(options)),
        }
    }

    /// Opens a store in `dir`, as [`DiskStore::open`] does.
    ///
    /// ```
    /// use discovery_disk::KubectlStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// let root = tempfile::tempdir()?;
    /// let store = KubectlStore::open(root.path().join("http"), DiskStoreOptions::new())?;
    /// assert!(store.dir().join(".diskv-temp").is_dir());
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`DiskStore::open`].
    pub fn open(dir: impl Into<PathBuf>, options: DiskStoreOptions) -> io::Result<Self> {
        let disk = DiskStore::open(dir, of_kubectl(options))?;
        Ok(Self { disk })
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.disk.dir()
    }

    /// The store underneath: to [sweep](DiskStore::sweep) or to [verify](DiskStore::verify) it, for example.
    #[must_use]
    pub fn disk(&self) -> &DiskStore {
        &self.disk
    }
}

/// The options of a store for kubectl's files.
fn of_kubectl(options: DiskStoreOptions) -> DiskStoreOptions {
    let mut options = options.file_names(HashedNames);
    options.form = Form {
        sum: Sum::First,
        compression: Compression::None,
    };
    options
}

impl Store for KubectlStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.disk.get(key)
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        self.disk.put_with(key, value, options)
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        self.disk.create_with(key, head, options)
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.disk.remove(key)
    }

    /// Removes the files whose names kubectl gives: 64 hexadecimal digits.
    fn clear(&self) -> Op<io::Result<()>> {
        self.disk.clear()
    }

    /// The bytes are those of the files, checksums included.
    fn size(&self) -> Op<io::Result<StoreSize>> {
        self.disk.size()
    }
}

impl fmt::Debug for KubectlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubectlStore")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use tokio_test::block_on;

    use super::*;
    use crate::store::fs::Stamp;

    fn stamp(store: &KubectlStore, key: &str) -> Stamp {
        let name = super::super::FileNames::file_name(&HashedNames, key);
        Stamp::of(&fs::metadata(store.dir().join(name)).unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_was_read_or_written_counts_as_checked() {
        let dir = tempfile::tempdir().unwrap();
        let store = KubectlStore::new(dir.path());
        let long = Bytes::from(vec![7; 600_000]);
        block_on(store.put("put", Value::new("", "value"))).unwrap();
        assert!(store.disk.verified().contains(&stamp(&store, "put")));
        block_on(store.put("put", Value::new("", "value"))).unwrap();
        assert!(
            store.disk.verified().contains(&stamp(&store, "put")),
            "touched"
        );
        for (key, body) in [("short", Bytes::new()), ("long", long)] {
            let writer = block_on(store.create(key, "head".into())).unwrap();
            let writer = block_on(writer.write(body)).unwrap();
            block_on(writer.commit()).unwrap();
            assert!(store.disk.verified().contains(&stamp(&store, key)), "{key}");
        }

        let other = KubectlStore::new(dir.path());
        assert!(!other.disk.verified().contains(&stamp(&other, "long")));
        block_on(other.get("long")).unwrap().unwrap();
        assert!(other.disk.verified().contains(&stamp(&other, "long")));
        assert!(
            other
                .clone()
                .disk
                .verified()
                .contains(&stamp(&other, "long"))
        );
    }

    /// Shown by a file with a wrong sum that is made to count as checked.
    #[test]
    fn a_checked_file_is_not_checked_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = KubectlStore::new(dir.path());
        let name = super::super::FileNames::file_name(&HashedNames, "key");
        fs::write(dir.path().join(name), [b'x'; 32 + 5]).unwrap();
        assert_eq!(block_on(store.get("key")).unwrap(), None);
        let stamp = stamp(&store, "key");
        assert!(!store.disk.verified().contains(&stamp));
        store.disk.verified().insert(stamp);
        let got = block_on(store.get("key")).unwrap();
        assert_eq!(got, Some(Value::new("", "xxxxx")));
    }
}
