use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::store::{Op, PutOptions, Store, StoreSize, Value, Writer};

use super::bounds::{Bounds, Usage};
use super::error::at;
use super::form::Compression;
use super::fs::{Fs, Stamp, is_absence};
use super::index::Index;
use super::names::{is_plain, stays_inside};
#[cfg(feature = "read-cache")]
use super::read_cache::ReadCache;
use super::recent_misses::RecentMisses;
use super::stats::{Counters, DiskStoreStats};
use super::temp::{elsewhere, make_dir};
use super::trust::Trust;
use super::verified::Verified;
use super::writer::ValueWriter;
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
    verified: Verified,
    index: Option<Index>,
    #[cfg(feature = "read-cache")]
    read_cache: Option<ReadCache>,
    usage: Usage,
    trust: Trust,
    /// That of a directory for temporary files that is not below the store's.
    temp_trust: Trust,
    counters: Counters,
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
                verified: Verified::default(),
                index: options.index.then(Index::default),
                #[cfg(feature = "read-cache")]
                read_cache: options.read_cache.map(ReadCache::new),
                usage: Usage::default(),
                trust: Trust::new(options.trust_any_owner),
                temp_trust: Trust::new(options.trust_any_owner || options.temp_dir.is_none()),
                counters: Counters::default(),
                swept: AtomicBool::new(false),
                temp,
                dir,
                options,
            }),
        }
    }

    /// Opens a store in `dir`, and makes its directories. An error that each write would meet comes at once.
    ///
    /// ```
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::open(dir.path().join("cache"), DiskStoreOptions::new())?;
    /// assert!(store.dir().is_dir());
    ///
    /// std::fs::write(dir.path().join("file"), "")?;
    /// assert!(DiskStore::open(dir.path().join("file"), DiskStoreOptions::new()).is_err());
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a directory can't be made or written, is not [trusted](DiskStoreOptions::trust_any_owner), or is the
    /// [one for temporary files](DiskStoreOptions::temp_dir) and the store's, or one above, at the same time;
    /// [`CrossesDevices`](io::ErrorKind::CrossesDevices) when temporary files are on another file system;
    /// [`Unsupported`](io::ErrorKind::Unsupported) when there is a bound or an index, and the file names can't be read
    /// back.
    pub fn open(dir: impl Into<PathBuf>, options: DiskStoreOptions) -> io::Result<Self> {
        let store = Self::with_options(dir, options);
        let options = store.options();
        if matches!(store.inner.taken, Taken::All) {
            return Err(wrong("the store is in its directory for temporary files"));
        }
        if options.bounds != Bounds::default() || options.index {
            store.files()?;
        }
        make_dir(store.fs(), store.dir(), options.publish)?;
        // Made and removed again.
        let temp = store.open_temp()?;
        // One file system may be mounted at two places, between which nothing can be renamed.
        if !are_together(store.dir(), store.temp())? || !temp.can_reach(store.dir()) {
            return Err(at("use directory", store.temp())(elsewhere()));
        }
        Ok(store)
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
    /// When the key has no file, or when the store has [checksums](DiskStoreOptions::checksum) or
    /// [compression](DiskStoreOptions::compression). The bytes reach the disk when there are many and at the commit, and
    /// then other errors come.
    pub fn create_reserved(
        &self,
        key: &str,
        reserved: usize,
        head: &[u8],
    ) -> io::Result<DiskWriter> {
        if !self.options().form.is_plain() {
            return Err(wrong("the store has a form of its own for values"));
        }
        let target = self.target(key)?;
        let is_new = self.inner.misses.take(key);
        DiskWriter::new(self.clone(), target, is_new, reserved, head)
    }

    /// Whether there is a value under `key`, as far as its file tells without being read.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::new(dir.path());
    /// assert!(!store.contains("key")?);
    /// store.put("key", Value::default()).await?;
    /// assert!(store.contains("key")?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the store can't tell.
    pub fn contains(&self, key: &str) -> io::Result<bool> {
        let Some(path) = self.path(key).filter(|_| self.is_trusted()) else {
            return Ok(false);
        };
        let found = self.fs().stat(&path).map_err(at("look at", &path))?;
        let smallest = self.options().form.overhead() as u64;
        Ok(found.is_some_and(|metadata| {
            (smallest..=self.max_file_size()).contains(&metadata.len())
                && !self.has_expired(&metadata)
        }))
    }

    /// The counts of this store's operations. [`size`](Store::size) counts the values.
    #[must_use]
    pub fn stats(&self) -> DiskStoreStats {
        self.inner.counters.read()
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

    pub(crate) fn verified(&self) -> &Verified {
        &self.inner.verified
    }

    pub(crate) fn index(&self) -> Option<&Index> {
        self.inner.index.as_ref()
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.inner.usage
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Whether what is in the directory may be believed.
    pub(crate) fn is_trusted(&self) -> bool {
        self.inner.trust.allows(self.dir())
    }

    /// Whether temporary files may be believed: whoever can replace one decides what becomes of it.
    pub(crate) fn is_temp_trusted(&self) -> bool {
        self.is_trusted() && self.inner.temp_trust.allows(self.temp())
    }

    pub(crate) fn check_trust(&self) -> io::Result<()> {
        let check = |trust: &Trust, dir: &Path| trust.check(dir).map_err(at("use directory", dir));
        check(&self.inner.trust, self.dir())?;
        check(&self.inner.temp_trust, self.temp())
    }

    pub(crate) fn has_expired(&self, metadata: &Metadata) -> bool {
        let bounds = &self.options().bounds;
        bounds.max_age.is_some() && bounds.has_expired(metadata.modified().ok(), self.now())
    }

    /// A value that is in memory, if its file is as it was.
    #[cfg(feature = "read-cache")]
    pub(crate) fn cached(&self, key: &str) -> Option<Value> {
        let cache = self.inner.read_cache.as_ref()?;
        let mut modified = None;
        let bytes = cache.get(key, || {
            let metadata = self.fs().stat(&self.path(key)?).ok()??;
            modified = metadata.modified().ok();
            // A use that has to be noted goes by the file.
            let counts = !self.has_expired(&metadata) && self.is_use_noted(&metadata);
            Stamp::of(&metadata).filter(|_| counts)
        })?;
        Counters::count(&self.inner.counters.hits);
        Counters::count(&self.inner.counters.cache_hits);
        let mut value = Value::new(Bytes::new(), bytes);
        value.stored_at = modified;
        Some(value)
    }

    #[cfg(not(feature = "read-cache"))]
    #[allow(clippy::unused_self, reason = "as the one with a cache")]
    pub(crate) fn cached(&self, _key: &str) -> Option<Value> {
        None
    }

    /// Keeps a value in memory, if the store has room for that.
    #[cfg(feature = "read-cache")]
    pub(crate) fn cache(&self, key: &str, stamp: Stamp, bytes: &Bytes) {
        if let Some(cache) = &self.inner.read_cache {
            cache.insert(key, stamp, bytes);
        }
    }

    #[cfg(not(feature = "read-cache"))]
    #[allow(clippy::unused_self, reason = "as the one with a cache")]
    pub(crate) fn cache(&self, _key: &str, _stamp: Stamp, _bytes: &Bytes) {}

    /// The size of a value's file, if there is one and it counts.
    pub(crate) fn len_of(&self, path: &Path) -> Option<u64> {
        if !self.options().bounds.limits_size() {
            return None;
        }
        let metadata = self.fs().stat(path).ok()??;
        Some(metadata.len())
    }

    /// The largest file that may be a value.
    pub(crate) fn max_file_size(&self) -> u64 {
        let form = self.options().form;
        let max = self.options().max_value_size;
        // Random bytes get larger by less than that.
        let is_compressed = form.compression != Compression::None;
        let more = is_compressed.then_some(max / 128 + 1024);
        max.saturating_add(more.unwrap_or(0))
            .saturating_add(form.overhead() as u64)
    }

    pub(crate) fn check_file_size(&self, len: u64) -> io::Result<()> {
        if len > self.max_file_size() {
            return Err(too_large());
        }
        Ok(())
    }

    pub(crate) fn check_size(&self, len: u64) -> io::Result<()> {
        if len > self.options().max_value_size {
            return Err(too_large());
        }
        if self.options().form.compression == Compression::None {
            self.check_bound(len.saturating_add(self.options().form.overhead() as u64))?;
        }
        Ok(())
    }

    /// Refuses a file that would be larger than all together may be: it would drive out all others, and then itself.
    pub(crate) fn check_bound(&self, file: u64) -> io::Result<()> {
        match self.options().bounds.max_bytes {
            Some(max) if file > max => Err(too_large()),
            _ => Ok(()),
        }
    }

    /// A value is gone: its key leaves the index, and directories in which nothing is left go, up to the store's. A writer
    /// that needs one of them at this moment makes it anew.
    pub(crate) fn note_removed(&self, path: &Path) {
        self.note_key(path);
        let directories = path.ancestors().skip(1);
        let below = |dir: &&Path| dir.starts_with(self.dir()) && *dir != self.dir();
        for directory in directories.take_while(below) {
            // One that is not empty stays.
            if self.fs().remove_dir(directory).is_err() {
                break;
            }
        }
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

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        "the value is larger than the disk store takes",
    )
}

/// Whether two directories are on one file system.
#[cfg(unix)]
fn are_together(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let device = |dir: &Path| {
        dir.metadata()
            .map(|metadata| metadata.dev())
            .map_err(at("look at", dir))
    };
    Ok(device(one)? == device(other)?)
}

#[cfg(not(unix))]
fn are_together(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(true)
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
        self.read(key)
    }

    fn put_with(&self, key: &str, value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        self.replace(key, value)
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        _options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let create = || {
            let target = self.target(key)?;
            let is_new = self.inner.misses.take(key);
            let mut writer = ValueWriter::new(self.clone(), target, is_new)?;
            writer.append(&head)?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        };
        Op::Ready(create())
    }

    /// Directories that are empty then go as well, but for the store's own.
    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let Some(path) = self.path(key).filter(|_| self.is_trusted()) else {
            return Op::Ready(Ok(()));
        };
        Op::Ready(match self.fs().remove(&path) {
            Err(error) if !is_absence(&error) => Err(at("remove", &path)(error)),
            _ => {
                self.note_removed(&path);
                Ok(())
            }
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
    /// the store's directory and below, and the directories that are empty then. Nothing else is removed.
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
