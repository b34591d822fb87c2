use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::clock::{Clock, SystemClock};
use discovery_core::store::{Op, Store, Value, Writer};

use super::DiskWriter;
use super::error::at;
use super::fs::{Fs, Stamp, has_mode};
use super::names::{EscapedNames, FileNames, stays_inside};
use super::offload::{Permit, offload};
use super::temp::{Publish, TempFile};

/// A store in a directory: one file per key, for any number of processes.
///
/// The module documentation says [how files are written and read](super). Nothing is made until
/// the first write, not even the directory. Clones share the directory and its options.
///
/// A value is published by renaming a temporary file. A `put` of the bytes that are already there
/// only renews the file's modification time, so that a cache that keeps what it has does not wear
/// out the disk.
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
    options: Arc<Options>,
}

#[derive(Clone)]
pub(crate) struct Options {
    dir: PathBuf,
    temp: PathBuf,
    names: Arc<dyn FileNames>,
    publish: Publish,
    inline_limit: u64,
    max_value_size: u64,
    clock: Arc<dyn Clock>,
    pub(crate) fs: Fs,
    /// Whether old temporary files have been looked for.
    swept: Arc<AtomicBool>,
}

/// What a file is put together from, in this order.
pub(crate) type Parts = [Bytes; 3];

/// How much is compared at once when a value may be there already.
const COMPARED_AT_ONCE: usize = 64 * 1024;

impl DiskStore {
    /// A store in `dir`, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            options: Arc::new(Options {
                temp: dir.join(".diskv-temp"),
                dir,
                names: Arc::new(EscapedNames),
                publish: Publish {
                    dir_mode: 0o750,
                    file_mode: 0o660,
                    fsync: false,
                },
                inline_limit: 256 * 1024,
                max_value_size: 256 * 1024 * 1024,
                clock: Arc::new(SystemClock),
                fs: Fs::default(),
                swept: Arc::default(),
            }),
        }
    }

    /// Where temporary files are written: `.diskv-temp` in the store's directory unless set. It has
    /// to be on the same file system.
    #[must_use]
    pub fn temp_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.with(|options| options.temp = dir.into())
    }

    /// Which file a key is kept in: [`EscapedNames`] unless set.
    #[must_use]
    pub fn file_names(self, names: impl FileNames) -> Self {
        self.with(|options| options.names = Arc::new(names))
    }

    /// The mode of directories that are made, reduced by the umask: 0750 unless set.
    #[must_use]
    pub fn dir_mode(self, mode: u32) -> Self {
        self.with(|options| options.publish.dir_mode = mode)
    }

    /// The exact mode of files, whatever the umask: 0660 unless set, as kubectl has it. A temporary
    /// file is its owner's alone until it is complete.
    #[must_use]
    pub fn file_mode(self, mode: u32) -> Self {
        self.with(|options| options.publish.file_mode = mode)
    }

    /// Up to how many bytes are read and written in place, not on a blocking thread: 256 KiB unless
    /// set. Handing over a read costs about ten times what a small read does.
    #[must_use]
    pub fn inline_limit(self, bytes: u64) -> Self {
        self.with(|options| options.inline_limit = bytes)
    }

    /// Whether a write waits until the value is on the disk: not unless set. A value that a power
    /// cut damages is found again by the network, and waiting takes longer than most requests.
    #[must_use]
    pub fn fsync(self, fsync: bool) -> Self {
        self.with(|options| options.publish.fsync = fsync)
    }

    /// The largest value: 256 MiB unless set. A larger file is as good as nothing and never read
    /// into memory, a larger value is not written.
    #[must_use]
    pub fn max_value_size(self, bytes: u64) -> Self {
        self.with(|options| options.max_value_size = bytes)
    }

    /// What tells the time for renewed modification times and for the first sweep: the system's
    /// clock unless set.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|options| options.clock = Arc::new(clock))
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Starts a value whose first `reserved` bytes become known last, for example a checksum:
    /// [`DiskWriter::commit_with`] fills them in. Then comes `head`, and then what the writer is
    /// given.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value, Writer};
    /// use discovery_disk::DiskStore;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::new(dir.path());
    /// let mut writer = store.create_reserved("key", 2, "one ".into())?;
    /// writer.write(&"two".into())?;
    /// writer.commit_with(b"0 ").await?;
    /// assert_eq!(store.get("key").await?, Some(Value::new("", "0 one two")));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the key has no file. What is written reaches the disk when it gets long and at the
    /// commit, and is when other errors come.
    pub fn create_reserved(
        &self,
        key: &str,
        reserved: usize,
        head: Bytes,
    ) -> io::Result<DiskWriter> {
        let target = self.target(key)?;
        DiskWriter::new(self.clone(), target, reserved, &head)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    pub(crate) fn fs(&self) -> &Fs {
        &self.options.fs
    }

    pub(crate) fn temp_path(&self) -> &Path {
        &self.options.temp
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.options.clock.now()
    }

    pub(crate) fn publishing(&self) -> Publish {
        self.options.publish
    }

    pub(crate) fn inlines(&self, len: u64) -> bool {
        len <= self.options.inline_limit
    }

    pub(crate) fn check_size(&self, len: u64) -> io::Result<()> {
        if len > self.options.max_value_size {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the value is larger than the disk store takes",
            ));
        }
        Ok(())
    }

    /// The key's file, if it has one that is inside the directory and not among the temporary ones.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let name = self.options.names.file_name(key);
        if !stays_inside(&name) {
            return None;
        }
        let path = self.options.dir.join(name);
        let temp = &self.options.temp;
        (!path.starts_with(temp) && !temp.starts_with(&path)).then_some(path)
    }

    fn target(&self, key: &str) -> io::Result<PathBuf> {
        self.path(key)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the key has no file name"))
    }

    /// Reads a value and decodes it, on the same thread.
    pub(crate) fn read<T, F>(&self, key: &str, decode: F) -> Op<io::Result<Option<T>>>
    where
        T: Send + 'static,
        F: FnOnce(Bytes, Option<Stamp>, &Path) -> Option<T> + Send + 'static,
    {
        let Some(path) = self.path(key) else {
            return Op::Ready(Ok(None));
        };
        let (file, metadata) = match self.fs().open(&path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Op::Ready(Ok(None)),
            Err(error) => return Op::Ready(Err(at("open", &path)(error))),
        };
        let len = metadata.len();
        if len > self.options.max_value_size {
            tracing::debug!(path = %path.display(), len, "file too large for a value");
            return Op::Ready(Ok(None));
        }
        let fs = self.fs().clone();
        let stamp = Stamp::of(&metadata);
        let read = move |_: &Permit| {
            let Some(bytes) = read_whole(&fs, &file, &path, len)? else {
                return Ok(None);
            };
            Ok(decode(bytes, stamp, &path))
        };
        if self.inlines(len) {
            Op::Ready(read(&Permit::default()))
        } else {
            offload(read)
        }
    }

    /// Writes a value of `len` bytes in all, which `parts` puts together on the thread that writes.
    pub(crate) fn replace<F>(&self, key: &str, len: u64, parts: F) -> Op<io::Result<Option<Stamp>>>
    where
        F: FnOnce() -> Parts + Send + 'static,
    {
        match self.check_size(len).and_then(|()| self.target(key)) {
            Ok(target) => self.replace_at(target, len, parts),
            Err(error) => Op::Ready(Err(error)),
        }
    }

    pub(crate) fn replace_at<F>(
        &self,
        target: PathBuf,
        len: u64,
        parts: F,
    ) -> Op<io::Result<Option<Stamp>>>
    where
        F: FnOnce() -> Parts + Send + 'static,
    {
        let store = self.clone();
        let write = move |permit: &Permit| {
            let parts = parts();
            if let Some(stamp) = store.renew(&target, len, &parts) {
                return Ok(stamp);
            }
            let temp = store.open_temp()?;
            for part in &parts {
                temp.write(part)?;
            }
            store.publish(temp, &target, permit)
        };
        if self.inlines(len) && !self.options.publish.fsync {
            Op::Ready(write(&Permit::default()))
        } else {
            offload(write)
        }
    }

    pub(crate) fn open_temp(&self) -> io::Result<TempFile> {
        if !self.options.swept.swap(true, Ordering::Relaxed) {
            self.sweep_quietly();
        }
        TempFile::create(
            self.fs(),
            &self.options.temp,
            "",
            self.options.publish.dir_mode,
        )
    }

    pub(crate) fn publish(
        &self,
        temp: TempFile,
        target: &Path,
        permit: &Permit,
    ) -> io::Result<Option<Stamp>> {
        temp.prepare(self.options.publish)?;
        permit.run(|| temp.rename(target, self.options.publish))
    }

    /// If the file already has these bytes and this mode, makes it look new and returns its stamp.
    ///
    /// This needs no lock: should another process replace the file meanwhile, then its value came
    /// after this one.
    fn renew(&self, target: &Path, len: u64, parts: &Parts) -> Option<Option<Stamp>> {
        let (file, metadata) = self.fs().open(target).ok()??;
        if metadata.len() != len || !has_mode(&metadata, self.options.publish.file_mode) {
            return None;
        }
        if !self.has_content(&file, target, parts).ok()? {
            return None;
        }
        // Not allowed for another user's file: that is replaced.
        self.fs().touch(&file, target, self.now()).ok()?;
        Some(file.metadata().ok().as_ref().and_then(Stamp::of))
    }

    fn has_content(&self, file: &File, path: &Path, parts: &Parts) -> io::Result<bool> {
        let mut buffer = Vec::new();
        for expected in parts.iter().flat_map(|part| part.chunks(COMPARED_AT_ONCE)) {
            buffer.resize(expected.len(), 0);
            self.fs().read_exact(file, path, &mut buffer)?;
            if buffer != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Store for DiskStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.read(key, |body, _, _| Some(Value::new(Bytes::new(), body)))
    }

    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        let len = value.len() as u64;
        let Value { head, body } = value;
        self.replace(key, len, || [Bytes::new(), head, body])
            .map(|written| written.map(drop))
    }

    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let created = self.create_reserved(key, 0, head);
        Op::Ready(created.map(|writer| Box::new(writer) as Box<dyn Writer>))
    }

    fn remove(&self, key: &str) -> Op<io::Result<bool>> {
        let Some(path) = self.path(key) else {
            return Op::Ready(Ok(false));
        };
        Op::Ready(match self.fs().remove(&path) {
            Ok(()) => Ok(true),
            Err(error) if super::fs::is_absence(&error) => Ok(false),
            Err(error) => Err(at("remove", &path)(error)),
        })
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &*self.options;
        f.debug_struct("DiskStore")
            .field("dir", &options.dir)
            .field("temp_dir", &options.temp)
            .field("publish", &options.publish)
            .field("inline_limit", &options.inline_limit)
            .field("max_value_size", &options.max_value_size)
            .finish_non_exhaustive()
    }
}

/// Reads a file of known length, or returns `None` if it is shorter by now. Values are replaced,
/// never changed: that file is damaged.
fn read_whole(fs: &Fs, file: &File, path: &Path, len: u64) -> io::Result<Option<Bytes>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut buffer = vec![0; len];
    match fs.read_exact(file, path, &mut buffer) {
        Ok(()) => Ok(Some(buffer.into())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(path = %path.display(), "file shortened while it was read");
            Ok(None)
        }
        Err(error) => Err(at("read", path)(error)),
    }
}
