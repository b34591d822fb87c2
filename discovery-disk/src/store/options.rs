use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use discovery_core::sync::clock::{Clock, SystemClock};

use super::bounds::Bounds;
use super::form::{Compression, Form, Sum};
use super::fs::Fs;
use super::names::{EscapedNames, FileNames};
use super::temp::Publish;

/// How a [`DiskStore`](super::DiskStore) or a [`KubectlStore`](super::KubectlStore) keeps its files.
///
/// Each setter takes the options by value and returns them, and a store takes them when it is made.
///
/// ```
/// use discovery_disk::DiskStore;
/// use discovery_disk::store::DiskStoreOptions;
///
/// let options = DiskStoreOptions::new().file_mode(0o600).max_value_size(1 << 20);
/// let store = DiskStore::with_options("cache", options);
/// assert!(store.dir().ends_with("cache"));
/// ```
#[derive(Clone)]
pub struct DiskStoreOptions {
    pub(crate) temp_dir: Option<PathBuf>,
    pub(crate) names: Arc<dyn FileNames>,
    pub(crate) publish: Publish,
    pub(crate) max_inline_size: u64,
    pub(crate) max_value_size: u64,
    pub(crate) form: Form,
    pub(crate) bounds: Bounds,
    pub(crate) index: bool,
    pub(crate) trust_any_owner: bool,
    #[cfg(feature = "read-cache")]
    pub(crate) read_cache: Option<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fs: Fs,
}

impl DiskStoreOptions {
    /// The options of a store that is told nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self {
            temp_dir: None,
            names: Arc::new(EscapedNames),
            publish: Publish {
                dir_mode: 0o750,
                file_mode: 0o660,
                fsync: false,
            },
            max_inline_size: 1024 * 1024,
            max_value_size: 256 * 1024 * 1024,
            form: Form::default(),
            bounds: Bounds::default(),
            index: false,
            trust_any_owner: false,
            #[cfg(feature = "read-cache")]
            read_cache: None,
            clock: Arc::new(SystemClock),
            fs: Fs::default(),
        }
    }

    /// Sets where temporary files are written: `.diskv-temp` in the store's directory unless set.
    ///
    /// It has to be on the same file system, and the store's alone: files in it whose names are
    /// digits are [removed](super::DiskStore::sweep) when they are old. Stores may share it. It must
    /// not be the store's directory or one above; nothing can be put then.
    #[must_use]
    pub fn temp_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(dir.into());
        self
    }

    /// Sets which file a key is kept in: [`EscapedNames`] unless set. A
    /// [`KubectlStore`](super::KubectlStore) has kubectl's names in any case.
    #[must_use]
    pub fn file_names(mut self, names: impl FileNames) -> Self {
        self.names = Arc::new(names);
        self
    }

    /// Sets the mode of directories that are made, reduced by the umask: 0750 unless set.
    #[must_use]
    pub fn dir_mode(mut self, mode: u32) -> Self {
        self.publish.dir_mode = mode;
        self
    }

    /// Sets the exact mode of files, whatever the umask: 0660 unless set, as kubectl has it. A
    /// temporary file is its owner's alone until it is complete.
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.publish.file_mode = mode;
        self
    }

    /// Sets up to how many bytes are read and written in place, not on a blocking thread: 1 MiB
    /// unless set. Handing over a read costs about ten times as much as a small read, and as much as
    /// one of half a MiB.
    #[must_use]
    pub fn max_inline_size(mut self, bytes: u64) -> Self {
        self.max_inline_size = bytes;
        self
    }

    /// Sets whether a write waits until the value is on the disk: not unless set. Waiting takes
    /// longer than most requests, and a value that is lost can be asked for again.
    ///
    /// Without it, a power cut may leave a damaged value. A [`KubectlStore`](super::KubectlStore)
    /// finds that by the checksum; a store without [checksums](Self::checksum) can't tell, and returns it. Use this,
    /// or a checksum, where that matters. With it, `put` and `commit` return when the value, its
    /// name and the directories that were made for it are on the disk, also where the bytes were
    /// there already.
    #[must_use]
    pub fn fsync(mut self, fsync: bool) -> Self {
        self.publish.fsync = fsync;
        self
    }

    /// Sets the largest value in bytes: 256 MiB unless set. A larger file is treated as missing and
    /// never read into memory, a larger value is not written.
    #[must_use]
    pub fn max_value_size(mut self, bytes: u64) -> Self {
        self.max_value_size = bytes;
        self
    }

    /// Sets whether each value is kept with its SHA-256, as the last line of its file (`sha256` and 64 hexadecimal
    /// digits): not unless set. A file with another sum, or without one, is no value. A sum is computed once for each
    /// state of a file, and again by [`verify`](super::DiskStore::verify).
    ///
    /// All stores in a directory have to agree on it. A [`KubectlStore`](super::KubectlStore) has kubectl's checksums in
    /// any case.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::with_options(dir.path(), DiskStoreOptions::new().checksum(true));
    /// store.put("key", Value::new("", "a value")).await?;
    /// let file = std::fs::read_to_string(dir.path().join("key"))?;
    /// assert!(file.starts_with("a value\nsha256 "));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.form.sum = if checksum { Sum::Last } else { Sum::None };
        self
    }

    /// Sets how values are compressed: not unless set. All stores in a directory have to agree on it. A
    /// [`KubectlStore`](super::KubectlStore) compresses nothing.
    ///
    /// The forms need a feature of the crate: `gzip` or `zstd`.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.form.compression = compression;
        self
    }

    /// Sets how many bytes the files may have together: no bound unless set. The values that were not used for the
    /// longest time make room for others.
    ///
    /// A write that exceeds the bound leads to a count of all files, by which a tenth of the bound becomes free; in a
    /// program with a runtime on another thread, so that there may be more for a moment. Reads are noted in the files'
    /// access time, to the minute, whatever the file system is told to do with it: all processes that have a bound know
    /// which values are used. A value whose file is larger than the bound is refused.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let options = DiskStoreOptions::new().max_bytes(10_000);
    /// let store = DiskStore::with_options(dir.path(), options);
    /// for n in 0..20 {
    ///     store.put(&n.to_string(), Value::new("", vec![0; 1_000])).await?;
    /// }
    /// store.sweep(std::time::Duration::MAX)?;
    /// assert!(store.size().await?.bytes <= 10_000);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.bounds.max_bytes = Some(bytes);
        self
    }

    /// Sets how many values there may be: no bound unless set. It is kept as that on [bytes](Self::max_bytes).
    #[must_use]
    pub fn max_values(mut self, values: u64) -> Self {
        self.bounds.max_values = Some(values);
        self
    }

    /// Sets for how long a value counts after it was written or renewed: for ever unless set. An older one is no value,
    /// nor is one from as far ahead, since which the clock was set back. A [sweep](super::DiskStore::sweep) removes them;
    /// until then, keys and sizes tell of them.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.bounds.max_age = Some(age);
        self
    }

    /// Sets whether the keys are kept in memory in their order, for
    /// [`keys_from`](super::DiskStore::keys_from): not unless set.
    #[must_use]
    pub fn index(mut self, index: bool) -> Self {
        self.index = index;
        self
    }

    /// Sets how many bytes of values may be kept in memory: none unless set. A value in memory is told after a look at
    /// its file, so that other processes' writes are seen; the open, the read and the checksum are spared.
    #[cfg(feature = "read-cache")]
    #[must_use]
    pub fn read_cache(mut self, bytes: u64) -> Self {
        self.read_cache = Some(bytes);
        self
    }

    /// Sets whether the store's directory is used whoever owns it, and whoever may write to it: not unless set, because
    /// whoever can put a file there decides what a program believes.
    ///
    /// Otherwise a directory that belongs to another user than root or the process' own, or that all may write to, is
    /// left alone: nothing is found or removed, writes are errors, and one warning says so. Writes need a
    /// [directory for temporary files](Self::temp_dir) of which the same is true. This is for Unix; elsewhere all directories
    /// are used.
    #[must_use]
    pub fn trust_any_owner(mut self, trust: bool) -> Self {
        self.trust_any_owner = trust;
        self
    }

    /// Sets the clock for renewed modification times and for [sweeps](super::DiskStore::sweep): the
    /// system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(crate) fn temp_of(&self, dir: &Path) -> PathBuf {
        match &self.temp_dir {
            Some(temp) => temp.clone(),
            None => dir.join(".diskv-temp"),
        }
    }
}

impl Default for DiskStoreOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DiskStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStoreOptions")
            .field("temp_dir", &self.temp_dir)
            .field("publish", &self.publish)
            .field("max_inline_size", &self.max_inline_size)
            .field("max_value_size", &self.max_value_size)
            .field("form", &self.form)
            .field("bounds", &self.bounds)
            .field("index", &self.index)
            .field("trust_any_owner", &self.trust_any_owner)
            .finish_non_exhaustive()
    }
}
