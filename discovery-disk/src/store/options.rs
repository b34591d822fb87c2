use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use discovery_core::sync::clock::{Clock, SystemClock};

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
    /// finds that by the checksum; a store without checksums can't tell, and returns it. Use this,
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
            .finish_non_exhaustive()
    }
}
