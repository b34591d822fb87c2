use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::clock::{Clock, SystemClock};
use discovery_core::store::{Op, Store, Value, Writer};

use super::DiskWriter;
use super::absent::Absent;
use super::error::at;
use super::fs::{Fs, is_absence};
use super::names::{EscapedNames, FileNames, is_plain, stays_inside};
use super::temp::Publish;

/// A store in a directory: one file per key, for any number of processes.
///
/// The module documentation says [how files are written and read](super). Nothing is made until
/// the first write, not even the directory. Clones share the directory and its options.
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
    options: Arc<Options>,
}

#[derive(Clone)]
pub(crate) struct Options {
    dir: PathBuf,
    pub(crate) temp: PathBuf,
    taken: Taken,
    pub(crate) absent: Arc<Absent>,
    names: Arc<dyn FileNames>,
    pub(crate) publish: Publish,
    pub(crate) inline_limit: u64,
    pub(crate) max_value_size: u64,
    clock: Arc<dyn Clock>,
    pub(crate) fs: Fs,
    /// Whether old temporary files have been looked for.
    pub(crate) swept: Arc<AtomicBool>,
}

/// Which names in the store's directory are those of temporary files, or of a directory for them.
#[derive(Clone)]
enum Taken {
    None,
    One(OsString),
    All,
}

impl DiskStore {
    /// A store in `dir`, which need not be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let temp = dir.join(".diskv-temp");
        Self {
            options: Arc::new(Options {
                taken: Taken::of(&dir, &temp),
                absent: Arc::default(),
                temp,
                dir,
                names: Arc::new(EscapedNames),
                publish: Publish {
                    dir_mode: 0o750,
                    file_mode: 0o660,
                    fsync: false,
                },
                inline_limit: 1024 * 1024,
                max_value_size: 256 * 1024 * 1024,
                clock: Arc::new(SystemClock),
                fs: Fs::default(),
                swept: Arc::default(),
            }),
        }
    }

    /// Where temporary files are written: `.diskv-temp` in the store's directory unless set.
    ///
    /// It has to be on the same file system, and the store's alone: files in it whose names are
    /// digits are [removed](Self::sweep) when they are old. Stores may share it. It must not be the
    /// store's directory or one above; nothing can be put then.
    #[must_use]
    pub fn temp_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.with(|options| {
            options.temp = dir.into();
            options.taken = Taken::of(&options.dir, &options.temp);
        })
    }

    /// Which file a key is kept in: [`EscapedNames`] unless set.
    #[must_use]
    pub fn file_names(self, names: impl FileNames) -> Self {
        self.with(|options| {
            options.names = Arc::new(names);
            options.absent = Arc::default();
        })
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

    /// Up to how many bytes are read and written in place, not on a blocking thread: 1 MiB unless
    /// set. Handing over a read costs about ten times what a small read does, and as much as one of
    /// half a MiB.
    #[must_use]
    pub fn inline_limit(self, bytes: u64) -> Self {
        self.with(|options| options.inline_limit = bytes)
    }

    /// Whether a write waits until the value is on the disk: not unless set. Waiting takes longer
    /// than most requests, and what is lost can be asked for again.
    ///
    /// Without it, a power cut may leave a damaged value. A [`KubectlStore`](super::KubectlStore)
    /// finds that by the checksum; a store without checksums can't tell, and returns it. Use this,
    /// or a checksum, where that matters. With it, `put` and `commit` return when the value, its
    /// name and the directories that were made for it are on the disk, also where the bytes were
    /// there already.
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

    /// What tells the time for renewed modification times and for [sweeps](Self::sweep): the
    /// system's clock unless set.
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
    /// let mut writer = store.create_reserved("key", 2, b"one ")?;
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
        head: &[u8],
    ) -> io::Result<DiskWriter> {
        let target = self.target(key)?;
        let is_new = self.options.absent.take(key);
        DiskWriter::new(self.clone(), target, is_new, reserved, head)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    pub(crate) fn fs(&self) -> &Fs {
        &self.options.fs
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.options.clock.now()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
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
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        let options = &*self.options;
        let name = options.names.file_name(key);
        let path = join(&options.dir, &name);
        let is_free = if is_plain(&name) {
            options.taken.leaves(&name)
        } else {
            stays_inside(&name)
                && !path.starts_with(&options.temp)
                && !options.temp.starts_with(&path)
        };
        is_free.then_some(path)
    }

    pub(crate) fn target(&self, key: &str) -> io::Result<PathBuf> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if matches!(self.options.taken, Taken::All) {
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

    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        let len = value.len() as u64;
        let Value { head, body } = value;
        self.replace(key, len, || [Bytes::new(), head, body])
            .map(|written| written.map(drop))
    }

    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let created = self.create_reserved(key, 0, &head);
        Op::Ready(created.map(|writer| Box::new(writer) as Box<dyn Writer>))
    }

    fn remove(&self, key: &str) -> Op<io::Result<bool>> {
        let Some(path) = self.path(key) else {
            return Op::Ready(Ok(false));
        };
        Op::Ready(match self.fs().remove(&path) {
            Ok(()) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that are looked at quickly are treated as the others.
    #[test]
    fn which_names_are_free() {
        let temps = [
            "s", "s/t", "s/t/u", "s/../s/t", "s/../x", "", "x", "s-", "/s/t",
        ];
        let names = [
            "t", "u", "s", "x", "t/u", "t/u/v", "a.b", ".", "..", "", "../s/t", "/s/t",
        ];
        for dir in ["s", "s/", "", ".", "/"] {
            for temp in temps {
                for name in names {
                    let store = DiskStore::new(dir)
                        .temp_dir(temp)
                        .file_names(move |_: &str| PathBuf::from(name));
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
