use std::fs::{File, FileTimes};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::{Shown, at, why};
use super::fs::{Fs, Stamp};

/// How often a name may be taken before it is given up, as Go's `os.CreateTemp` does.
const MAX_ATTEMPTS: u32 = 10_000;

/// How often the directory of a value is made, while others remove it, before that is given up.
const MAX_DIRECTORIES: u32 = 10_000;

/// A file that is being written. Dropped before it is published, it is removed.
pub(crate) struct TempFile {
    fs: Fs,
    path: PathBuf,
    /// `None` after it was closed.
    file: Option<File>,
    made_dir: bool,
    published: bool,
}

/// How a file is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    /// The mode of directories that are made, reduced by the umask.
    pub(crate) dir_mode: u32,
    /// The exact mode of the file.
    pub(crate) file_mode: u32,
    /// Whether to wait until it is on the disk.
    pub(crate) fsync: bool,
}

impl TempFile {
    /// Opens a file in `dir` whose name is `prefix` and decimal digits, as Go's are. Makes the
    /// directory if it is not there.
    pub(crate) fn create(fs: &Fs, dir: &Path, prefix: &str, how: Publish) -> io::Result<Self> {
        let mut made_dir = false;
        let mut attempts = 0;
        loop {
            let path = dir.join(format!("{prefix}{}", random()));
            match fs.open_temp(&path) {
                Ok(file) => {
                    return Ok(Self {
                        fs: fs.clone(),
                        path,
                        file: Some(file),
                        made_dir,
                        published: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !made_dir => {
                    make_dir(fs, dir, how)?;
                    made_dir = true;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempts < MAX_ATTEMPTS =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(at("make temporary file", &path)(error)),
            }
        }
    }

    /// Whether the directory was not there before.
    pub(crate) fn made_dir(&self) -> bool {
        self.made_dir
    }

    /// Whether the file can be renamed into `dir`. The system compares the mounts before it refuses the name.
    pub(crate) fn can_reach(&self, dir: &Path) -> bool {
        let renamed = self.fs.rename(&self.path, &dir.join("."));
        !renamed.is_err_and(|error| error.kind() == io::ErrorKind::CrossesDevices)
    }

    pub(crate) fn write(&self, data: &[u8]) -> io::Result<()> {
        self.write_parts([data])
    }

    /// Writes several pieces in one go.
    pub(crate) fn write_parts<const N: usize>(&self, parts: [&[u8]; N]) -> io::Result<()> {
        if parts.iter().all(|part| part.is_empty()) {
            return Ok(());
        }
        self.fs
            .write(self.file()?, &self.path, parts)
            .map_err(at("write", &self.path))
    }

    /// Writes over the first bytes, when all others have been written.
    pub(crate) fn fill_in(&self, prefix: &[u8]) -> io::Result<()> {
        if prefix.is_empty() {
            return Ok(());
        }
        self.fs
            .write_at(self.file()?, &self.path, prefix, 0)
            .map_err(at("write", &self.path))
    }

    /// Sets the times of the last use and the last change.
    pub(crate) fn set_times(&self, now: SystemTime) -> io::Result<()> {
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        self.file()?
            .set_times(times)
            .map_err(at("set the times of", &self.path))
    }

    fn file(&self) -> io::Result<&File> {
        let closed = || io::Error::other("the temporary file is closed");
        self.file.as_ref().ok_or_else(closed)
    }

    /// Does what has to be done before [`rename`](Self::rename), and finds out whether the bytes
    /// have been taken: a network file system may say so only now, when the file is closed. One that is to be
    /// [known](Renamed::settle) after it has its name stays open.
    pub(crate) fn prepare(&mut self, how: Publish, stays_open: bool) -> io::Result<()> {
        let file = self.file()?;
        self.fs
            .set_mode(file, &self.path, how.file_mode)
            .map_err(at("set the mode of", &self.path))?;
        if how.fsync {
            self.fs
                .sync(file, &self.path)
                .map_err(at("sync", &self.path))?;
        }
        let closed = if stays_open {
            self.fs.close_copy(file, &self.path)
        } else {
            let file = self.file.take();
            file.map_or(Ok(()), |file| self.fs.close(file, &self.path))
        };
        closed.map_err(at("close", &self.path))
    }

    /// Gives the file its name, in place of a file that has it. Makes the directory if it is not
    /// there.
    pub(crate) fn rename(mut self, target: &Path, how: Publish) -> io::Result<Renamed> {
        rename(&self.fs, &self.path, target, how)?;
        self.published = true;
        Ok(Renamed(self))
    }
}

/// A file that has its name.
pub(crate) struct Renamed(TempFile);

impl Renamed {
    /// Waits until the name is on the disk, if that was asked for. Returns the stamp of the file,
    /// which the rename has changed, if it has stayed open.
    pub(crate) fn settle(self, target: &Path, how: Publish) -> io::Result<Option<Stamp>> {
        let Self(temp) = self;
        if how.fsync {
            sync_dir(&temp.fs, parent(target))?;
        }
        let metadata = temp.file.as_ref().and_then(|file| file.metadata().ok());
        Ok(metadata.as_ref().and_then(Stamp::of))
    }
}

/// The error of a directory for temporary files from which nothing can be renamed into the store.
pub(crate) fn elsewhere() -> io::Error {
    io::Error::new(
        io::ErrorKind::CrossesDevices,
        "the directory for temporary files is on another file system",
    )
}

/// Renames a file, and makes the directory that it goes to if it is not there.
pub(crate) fn rename(fs: &Fs, from: &Path, target: &Path, how: Publish) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        match fs.rename(from, target) {
            Ok(()) => return Ok(()),
            // The directory is not there, or was removed, being empty, by whoever removed the last value in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < MAX_DIRECTORIES => {
                attempts += 1;
                if attempts > 1 {
                    // The file goes as well when all below the directory is removed.
                    if let Ok(false) = from.try_exists() {
                        return Err(at("rename a file to", target)(error));
                    }
                    std::thread::yield_now();
                }
                match make_dir(fs, parent(target), how) {
                    // One above it went meanwhile, or this one, when it was found to be there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error)
                        if error.kind() == io::ErrorKind::AlreadyExists
                            && parent(target).ancestors().all(is_dir_or_absent) => {}
                    made => made?,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                return Err(at("rename a file to", target)(elsewhere()));
            }
            Err(error) => return Err(at("rename a file to", target)(error)),
        }
    }
}

/// Whether a directory can be there.
fn is_dir_or_absent(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.is_dir())
}

/// Makes a directory and those above it.
pub(crate) fn make_dir(fs: &Fs, dir: &Path, how: Publish) -> io::Result<()> {
    let missing = |dir: &&Path| how.fsync && !dir.as_os_str().is_empty() && !dir.exists();
    let made: Vec<_> = dir.ancestors().take_while(missing).collect();
    fs.make_dir(dir, how.dir_mode)
        .map_err(at("make directory", dir))?;
    made.into_iter()
        .try_for_each(|made| sync_dir(fs, parent(made)))
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync_dir(fs: &Fs, dir: &Path) -> io::Result<()> {
    fs.sync_dir(dir).map_err(at("sync", dir))
}

/// The directory that a name is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = self.fs.remove(&self.path) {
            tracing::debug!(path = %Shown(&self.path), error = %why(&error), "temporary file not removed");
        }
    }
}

fn random() -> u32 {
    // Each state has keys of its own, which the system's random numbers start.
    RandomState::new().hash_one(()) as u32
}
