use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::store::{Op, PutOptions, Store, StoreSize, Value, Writer};

use super::error::at;
use super::fs::{Fs, is_absence};
use super::names::{is_plain, stays_inside};
use super::recent_misses::RecentMisses;
use super::{DiskStoreOptions, DiskWriter};

/// A store in a directory: one file per key, for any number of processes.
///
/// The module documentation says [how files are written and read](super). Nothing is made until
/// the first write, not even the directory. Clones share the directory. [`DiskStoreOptions`]
/// says how files are kept.
///
/// A value is published by renaming a temporary file. A `put` of the bytes that are already there
/// only renews the file's modification time, so that a cache that keeps what it has does not wear
/// out the disk; unless this store has just found nothing there.
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_disk::DiskStore;
///
/// # tokio_test::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let store = DiskStore::new(dir.path().join("cache"));
/// store.put("key", Value::new("head ", "body")).await?;
///
/// // Another process would do this:
/// let other = DiskStore::new(dir.path().join("cache"));
/// assert_eq!(other.get("key").await?, Some(Value::new("", "head body")));
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct DiskStore {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    temp: PathBuf,
    taken: Taken,
    misses: RecentMisses,
    /// Whether old temporary files have been looked for.
    swept: AtomicBool,
    options: DiskStoreOptions,
}

/// The names in the store's directory that are those of temporary files, or of a directory for them.
enum Taken {
    None,
    One(OsString),
    All,
}

impl DiskStore {
    /// A store in `dir`, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_options(dir, DiskStoreOptions::new())
    }

    /// A store in `dir`, which need not be there, with options.
    pub fn with_options(dir: impl Into<PathBuf>, options: DiskStoreOptions) -> Self {
        let dir = dir.into();
        let temp = options.temp_of(&dir);
        Self {
            inner: Arc::new(Inner {
                taken: Taken::of(&dir, &temp),
                misses: RecentMisses::default(),
                swept: AtomicBool::new(false),
                temp,
                dir,
                options,
            }),
        }
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Starts a value whose first `reserved` bytes become known last, for example a checksum:
    /// [`DiskWriter::commit_with`] fills them in. Then comes `head`, and then the bytes that the
    /// writer is given.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::new(dir.path());
    /// let mut writer = store.create_reserved("key", 2, b"one ")?;
    /// writer.append(b"two")?;
    /// writer.commit_with(b"0 ").await?;
    /// assert_eq!(store.get("key").await?, Some(Value::new("", "0 one two")));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the key has no file. The bytes reach the disk when there are many and at the commit, and
    /// then other errors come.
    pub fn create_reserved(
        &self,
        key: &str,
        reserved: usize,
        head: &[u8],
    ) -> io::Result<DiskWriter> {
        let target = self.target(key)?;
        let is_new = self.inner.misses.take(key);
        DiskWriter::new(self.clone(), target, is_new, reserved, head)
    }

    pub(crate) fn fs(&self) -> &Fs {
        &self.inner.options.fs
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.inner.options.clock.now()
    }

    pub(crate) fn options(&self) -> &DiskStoreOptions {
        &self.inner.options
    }

    /// The directory for temporary files.
    pub(crate) fn temp(&self) -> &Path {
        &self.inner.temp
    }

    pub(crate) fn misses(&self) -> &RecentMisses {
        &self.inner.misses
    }

    pub(crate) fn swept(&self) -> &AtomicBool {
        &self.inner.swept
    }

    pub(crate) fn check_size(&self, len: u64) -> io::Result<()> {
        if len > self.options().max_value_size {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the value is larger than the disk store takes",
            ));
        }
        Ok(())
    }

    /// The key's file, if it has one that is inside the directory and not among the temporary ones.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        let name = self.options().names.file_name(key);
        let path = join(self.dir(), &name);
        self.is_free(&name, &path).then_some(path)
    }

    /// Whether a value may have this name, which makes this path.
    pub(crate) fn is_free(&self, name: &Path, path: &Path) -> bool {
        if is_plain(name) {
            return self.inner.taken.leaves(name);
        }
        stays_inside(name) && !path.starts_with(self.temp()) && !self.temp().starts_with(path)
    }

    pub(crate) fn target(&self, key: &str) -> io::Result<PathBuf> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if matches!(self.inner.taken, Taken::All) {
            return Err(wrong("the store is in its directory for temporary files"));
        }
        self.path(key)
            .ok_or_else(|| wrong("the key has no file name"))
    }
}

impl Taken {
    fn of(dir: &Path, temp: &Path) -> Self {
        if dir.starts_with(temp) {
            return Self::All;
        }
        let first = temp.strip_prefix(dir).ok();
        match first.and_then(|temp| temp.components().next()) {
            Some(Component::Normal(name)) => Self::One(name.to_owned()),
            _ => Self::None,
        }
    }

    /// Whether a value may have this name.
    fn leaves(&self, name: &Path) -> bool {
        match self {
            Self::None => true,
            Self::One(taken) => taken != name.as_os_str(),
            Self::All => false,
        }
    }
}

/// As [`Path::join`], but for the allocations.
fn join(dir: &Path, name: &Path) -> PathBuf {
    let size = dir.as_os_str().len() + 1 + name.as_os_str().len();
    let mut path = PathBuf::with_capacity(size);
    path.push(dir);
    path.push(name);
    path
}

impl Store for DiskStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.read(key, |body, _, _| Some(Value::new(Bytes::new(), body)))
    }

    fn put_with(&self, key: &str, value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        let len = value.len() as u64;
        let parts = [Bytes::new(), value.head, value.body];
        self.replace(key, len, || parts)
            .map(|written| written.map(drop))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        _options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let created = self.create_reserved(key, 0, &head);
        Op::Ready(created.map(|writer| Box::new(writer) as Box<dyn Writer>))
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let Some(path) = self.path(key) else {
            return Op::Ready(Ok(()));
        };
        Op::Ready(match self.fs().remove(&path) {
            Err(error) if !is_absence(&error) => Err(at("remove", &path)(error)),
            _ => Ok(()),
        })
    }

    /// This is not supported where a name does not tell its key: with [file names] of your own that
    /// can't be read back, or when the default ones have a sum in place of a part of a key.
    ///
    /// [file names]: DiskStoreOptions::file_names
    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        self.list_keys(prefix)
    }

    /// Removes each regular file whose name [may be that of a key](super::FileNames::file_of), in
    /// the store's directory and below. Nothing else is removed, no directory either.
    fn clear(&self) -> Op<io::Result<()>> {
        self.remove_all()
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        self.count()
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("dir", &self.dir())
            .field("options", self.options())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_free_by_the_same_rule_as_the_others() {
        let temps = [
            "s", "s/t", "s/t/u", "s/../s/t", "s/../x", "", "x", "s-", "/s/t",
        ];
        let names = [
            "t", "u", "s", "x", "t/u", "t/u/v", "a.b", ".", "..", "", "../s/t", "/s/t",
        ];
        for dir in ["s", "s/", "", ".", "/"] {
            for temp in temps {
                for name in names {
                    let options = DiskStoreOptions::new()
                        .temp_dir(temp)
                        .file_names(move |_: &str| PathBuf::from(name));
                    let store = DiskStore::with_options(dir, options);
                    let (name, temp) = (Path::new(name), Path::new(temp));
                    let path = Path::new(dir).join(name);
                    let is_free =
                        stays_inside(name) && !path.starts_with(temp) && !temp.starts_with(&path);
                    assert_eq!(
                        store.path("key"),
                        is_free.then_some(path),
                        "{dir:?} {temp:?} {name:?}"
                    );
                }
            }
        }
    }
}
