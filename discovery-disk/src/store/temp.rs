use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::error::at;
use super::fs::{Fs, Stamp};

/// How often a name may be taken before it is given up, as Go's `os.CreateTemp` does.
const MAX_ATTEMPTS: u32 = 10_000;

/// A file that is being written. Dropped before it is published, it is removed.
pub(crate) struct TempFile {
    fs: Fs,
    path: PathBuf,
    file: File,
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
    pub(crate) fn create(fs: &Fs, dir: &Path, prefix: &str, dir_mode: u32) -> io::Result<Self> {
        let mut made = false;
        let mut attempts = 0;
        loop {
            let path = dir.join(format!("{prefix}{}", random()));
            match fs.open_temp(&path) {
                Ok(file) => {
                    return Ok(Self {
                        fs: fs.clone(),
                        path,
                        file,
                        published: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !made => {
                    fs.make_dir(dir, dir_mode)
                        .map_err(at("make directory", dir))?;
                    made = true;
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

    pub(crate) fn write(&self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.fs
            .write(&self.file, &self.path, data)
            .map_err(at("write", &self.path))
    }

    /// Writes over the first bytes, when all others have been written.
    pub(crate) fn fill_in(&self, prefix: &[u8]) -> io::Result<()> {
        if prefix.is_empty() {
            return Ok(());
        }
        self.fs
            .write_at(&self.file, &self.path, prefix, 0)
            .map_err(at("write", &self.path))
    }

    /// Does what has to be done before [`rename`](Self::rename).
    pub(crate) fn prepare(&self, how: Publish) -> io::Result<()> {
        self.fs
            .set_mode(&self.file, &self.path, how.file_mode)
            .map_err(at("set the mode of", &self.path))?;
        if how.fsync {
            self.fs
                .sync(&self.file, &self.path)
                .map_err(at("sync", &self.path))?;
        }
        Ok(())
    }

    /// Gives the file its name, in place of a file that has it. Makes the directory if it is not
    /// there. Returns the stamp of the file, which the rename has changed.
    pub(crate) fn rename(mut self, target: &Path, how: Publish) -> io::Result<Option<Stamp>> {
        let mut renamed = self.fs.rename(&self.path, target);
        let dir = target.parent().unwrap_or(Path::new("."));
        if matches!(&renamed, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            self.fs
                .make_dir(dir, how.dir_mode)
                .map_err(at("make directory", dir))?;
            renamed = self.fs.rename(&self.path, target);
        }
        renamed.map_err(at("rename a temporary file to", target))?;
        self.published = true;
        if how.fsync {
            self.fs.sync_dir(dir).map_err(at("sync", dir))?;
        }
        Ok(self.file.metadata().ok().as_ref().and_then(Stamp::of))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = self.fs.remove(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "temporary file not removed");
        }
    }
}

fn random() -> u32 {
    // Each state has keys of its own, which the system's random numbers start.
    RandomState::new().hash_one(()) as u32
}
