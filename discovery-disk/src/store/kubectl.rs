use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use discovery_core::store::{Op, PutOptions, Store, StoreSize, Value, Writer};
use sha2::{Digest, Sha256};

use super::error::Shown;
use super::fs::Stamp;
use super::names::HashedNames;
use super::verified::Verified;
use super::{DiskStore, DiskStoreOptions, DiskWriter};

/// The length of a checksum.
const SUM: usize = 32;

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
    verified: Verified,
}

struct KubectlWriter {
    writer: DiskWriter,
    sum: Sha256,
    verified: Verified,
}

impl KubectlStore {
    /// A store in `dir`, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_options(dir, DiskStoreOptions::new())
    }

    /// A store in `dir` with all `options` but the file names, which are kubectl's.
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
            disk: DiskStore::with_options(dir, options.file_names(HashedNames)),
            verified: Verified::default(),
        }
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.disk.dir()
    }

    /// The files underneath, sums and all: to [sweep](DiskStore::sweep) them, for example.
    #[must_use]
    pub fn disk(&self) -> &DiskStore {
        &self.disk
    }
}

impl Verified {
    /// Takes the outcome of a write whose sum was right by construction.
    fn learn(&self, written: io::Result<Option<Stamp>>) -> io::Result<()> {
        if let Some(stamp) = written? {
            self.insert(stamp);
        }
        Ok(())
    }
}

impl Store for KubectlStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let verified = self.verified.clone();
        self.disk.read(key, move |mut file, stamp, path| {
            if file.len() < SUM {
                tracing::debug!(path = %Shown(path), "file too short for its checksum");
                return None;
            }
            let (sum, body) = file.split_at(SUM);
            if !stamp.is_some_and(|stamp| verified.contains(&stamp)) {
                if *Sha256::digest(body) != *sum {
                    tracing::debug!(path = %Shown(path), "file has a wrong checksum");
                    return None;
                }
                if let Some(stamp) = stamp {
                    verified.insert(stamp);
                }
            }
            file.advance(SUM);
            Some(Value::new(Bytes::new(), file))
        })
    }

    fn put_with(&self, key: &str, value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        let len = (SUM + value.len()) as u64;
        let verified = self.verified.clone();
        let parts = move || {
            let sum = Sha256::new()
                .chain_update(&value.head)
                .chain_update(&value.body)
                .finalize();
            [Bytes::copy_from_slice(&sum), value.head, value.body]
        };
        self.disk
            .replace(key, len, parts)
            .map(move |written| verified.learn(written))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        _options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let sum = Sha256::new_with_prefix(&head);
        let verified = self.verified.clone();
        let created = self.disk.create_reserved(key, SUM, &head);
        Op::Ready(created.map(|writer| {
            Box::new(KubectlWriter {
                writer,
                sum,
                verified,
            }) as Box<dyn Writer>
        }))
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

impl Writer for KubectlWriter {
    fn write(mut self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        self.sum.update(&data);
        let appended = self.writer.append(&data);
        Op::Ready(appended.map(|()| self as Box<dyn Writer>))
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        let Self {
            writer,
            sum,
            verified,
        } = *self;
        writer
            .publish(&sum.finalize())
            .map(move |written| verified.learn(written))
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
        assert!(store.verified.contains(&stamp(&store, "put")));
        block_on(store.put("put", Value::new("", "value"))).unwrap();
        assert!(store.verified.contains(&stamp(&store, "put")), "touched");
        for (key, body) in [("short", Bytes::new()), ("long", long)] {
            let writer = block_on(store.create(key, "head".into())).unwrap();
            let writer = block_on(writer.write(body)).unwrap();
            block_on(writer.commit()).unwrap();
            assert!(store.verified.contains(&stamp(&store, key)), "{key}");
        }

        let other = KubectlStore::new(dir.path());
        assert!(!other.verified.contains(&stamp(&other, "long")));
        block_on(other.get("long")).unwrap().unwrap();
        assert!(other.verified.contains(&stamp(&other, "long")));
        assert!(other.clone().verified.contains(&stamp(&other, "long")));
    }

    /// Shown by a file with a wrong sum that is made to count as checked.
    #[test]
    fn a_checked_file_is_not_checked_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = KubectlStore::new(dir.path());
        let name = super::super::FileNames::file_name(&HashedNames, "key");
        fs::write(dir.path().join(name), [b'x'; SUM + 5]).unwrap();
        assert_eq!(block_on(store.get("key")).unwrap(), None);
        let stamp = stamp(&store, "key");
        assert!(!store.verified.contains(&stamp));
        store.verified.insert(stamp);
        let got = block_on(store.get("key")).unwrap();
        assert_eq!(got, Some(Value::new("", "xxxxx")));
    }
}
