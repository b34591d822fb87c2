use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::DiskStore;
use super::error::at;
use super::fs::{Fs, is_absence};

/// How old a temporary file is when it is taken for a killed process's.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How many files a first write looks at: it must not wait for a directory of millions.
const QUIET_LIMIT: usize = 1024;

impl DiskStore {
    /// Removes the temporary files that were last written `older_than` ago or earlier, and says how
    /// many. A process that is killed while it writes leaves one.
    ///
    /// Only files with a temporary name, which is decimal digits, are removed. The first write of a
    /// store does this by itself for files older than a day, quietly and not for more than some
    /// thousand of them.
    ///
    /// ```
    /// use discovery_disk::DiskStore;
    /// use std::time::{Duration, SystemTime};
    ///
    /// let dir = tempfile::tempdir()?;
    /// std::fs::create_dir(dir.path().join(".diskv-temp"))?;
    /// std::fs::write(dir.path().join(".diskv-temp/3141592653"), "left behind")?;
    /// let store = DiskStore::new(dir.path());
    ///
    /// let hour = Duration::from_secs(60 * 60);
    /// assert_eq!(store.sweep(hour, SystemTime::now())?, 0);
    /// assert_eq!(store.sweep(hour, SystemTime::now() + hour)?, 1);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the directory can't be read. Files that can't be removed are logged and left.
    pub fn sweep(&self, older_than: Duration, now: SystemTime) -> io::Result<usize> {
        let dir = &self.options().temp;
        sweep(self.fs(), dir, older_than, now, usize::MAX)
    }

    pub(crate) fn sweep_quietly(&self) {
        let dir = &self.options().temp;
        match sweep(self.fs(), dir, ABANDONED, self.now(), QUIET_LIMIT) {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(dir = %dir.display(), removed, "swept temporary files"),
            Err(error) => tracing::debug!(%error, "temporary files not swept"),
        }
    }
}

fn sweep(
    fs: &Fs,
    dir: &Path,
    older_than: Duration,
    now: SystemTime,
    limit: usize,
) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Err(error) if is_absence(&error) => return Ok(0),
        entries => entries.map_err(at("list", dir))?,
    };
    let mut removed = 0;
    for entry in entries.take(limit) {
        let entry = entry.map_err(at("list", dir))?;
        let name = entry.file_name();
        if name.is_empty() || !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // Does not follow links. A file that has gone meanwhile is nobody's concern.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let Ok(modified) = metadata.modified() else {
            continue;
        };
        let old = now
            .duration_since(modified)
            .is_ok_and(|age| age >= older_than);
        if !metadata.is_file() || !old {
            continue;
        }
        match fs.remove(&entry.path()) {
            Ok(()) => removed += 1,
            Err(error) if is_absence(&error) => {}
            Err(error) => {
                tracing::debug!(path = %entry.path().display(), %error, "temporary file not removed");
            }
        }
    }
    Ok(removed)
}
