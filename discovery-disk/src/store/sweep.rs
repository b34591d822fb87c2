use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::DiskStore;
use super::error::{Shown, at, why};
use super::fs::{Fs, is_absence};

/// How old a temporary file is when it is taken for a killed process's.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How many files a first write removes: it must not wait for a directory of millions.
const QUIET_LIMIT: usize = 1024;

/// The files that [`DiskStore::sweep`] has removed.
///
/// ```
/// assert_eq!(discovery_disk::store::SweepReport::default().temporary, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SweepReport {
    /// Temporary files of processes that were killed.
    pub temporary: u64,
    /// Values that were [too old](super::DiskStoreOptions::max_age).
    pub expired: u64,
    /// Values that had to make room, since the store held too [many](super::DiskStoreOptions::max_values) or too
    /// [large](super::DiskStoreOptions::max_bytes) ones.
    pub evicted: u64,
    /// The size in bytes of all files that were removed.
    pub bytes: u64,
}

impl DiskStore {
    /// Removes the temporary files that were last written `older_than` ago or earlier, and the values that are too many
    /// or too old by the store's options; says what it has removed. A process that is killed while it writes leaves a
    /// temporary file.
    ///
    /// Only regular files with a temporary name, which is decimal digits, are removed from the directory for temporary
    /// files, and nothing if the [directory](super::DiskStoreOptions::temp_dir) is a link. The first write of a store
    /// does that part by itself for files older than a day, quietly and not for more than some thousand of them. The
    /// time is that of the store's [clock](super::DiskStoreOptions::clock).
    ///
    /// ```
    /// use discovery_core::sync::clock::ManualClock;
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::DiskStoreOptions;
    /// use std::time::{Duration, SystemTime};
    ///
    /// let dir = tempfile::tempdir()?;
    /// std::fs::create_dir(dir.path().join(".diskv-temp"))?;
    /// std::fs::write(dir.path().join(".diskv-temp/3141592653"), "left behind")?;
    /// let clock = ManualClock::new(SystemTime::now());
    /// let options = DiskStoreOptions::new().clock(clock.clone());
    /// let store = DiskStore::with_options(dir.path(), options);
    ///
    /// let hour = Duration::from_secs(60 * 60);
    /// assert_eq!(store.sweep(hour)?.temporary, 0);
    /// clock.advance(hour);
    /// assert_eq!(store.sweep(hour)?.temporary, 1);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a directory can't be read. Files that can't be removed are logged and left. With a bound,
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the [file names](super::FileNames) can't be read back.
    pub fn sweep(&self, older_than: Duration) -> io::Result<SweepReport> {
        let dir = self.temp();
        let (temporary, bytes) = match self.is_temp_trusted() {
            true => sweep(self.fs(), dir, "", older_than, self.now(), usize::MAX)?,
            false => (0, 0),
        };
        let evicted = self.evict()?;
        Ok(SweepReport {
            temporary: temporary as u64,
            expired: evicted.expired,
            evicted: evicted.evicted,
            bytes: bytes + evicted.bytes,
        })
    }
}

/// Removes the temporary files of killed processes: those whose name is `prefix` and digits, and
/// which are older than a day.
pub(crate) fn sweep_quietly(fs: &Fs, dir: &Path, prefix: &str, now: SystemTime) {
    match sweep(fs, dir, prefix, ABANDONED, now, QUIET_LIMIT) {
        Ok((0, _)) => {}
        Ok((removed, _)) => tracing::debug!(dir = %Shown(dir), removed, "swept temporary files"),
        Err(error) => tracing::debug!(error = %why(&error), "temporary files not swept"),
    }
}

fn sweep(
    fs: &Fs,
    dir: &Path,
    prefix: &str,
    older_than: Duration,
    now: SystemTime,
    limit: usize,
) -> io::Result<(usize, u64)> {
    // A link may lead to where names of digits mean something else.
    match fs::symlink_metadata(dir) {
        Err(error) if is_absence(&error) => return Ok((0, 0)),
        Err(error) => return Err(at("look at", dir)(error)),
        Ok(metadata) if !metadata.is_dir() => return Ok((0, 0)),
        Ok(_) => {}
    }
    let (mut removed, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir).map_err(at("list", dir))? {
        if removed >= limit {
            break;
        }
        let entry = entry.map_err(at("list", dir))?;
        if !is_temporary(&entry.file_name(), prefix) {
            continue;
        }
        // Does not follow links. A file that has gone meanwhile is nobody's concern.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let Ok(modified) = metadata.modified() else {
            continue;
        };
        let old = match now.duration_since(modified) {
            Ok(age) => age >= older_than,
            // The clock was set back since.
            Err(ahead) => ahead.duration() > older_than.max(ABANDONED),
        };
        if !metadata.is_file() || !old {
            continue;
        }
        match fs.remove(&entry.path()) {
            Ok(()) => {
                removed += 1;
                bytes += metadata.len();
            }
            Err(error) if is_absence(&error) => {}
            Err(error) => {
                tracing::debug!(path = %Shown(&entry.path()), %error, "temporary file not removed");
            }
        }
    }
    Ok((removed, bytes))
}

fn is_temporary(name: &OsStr, prefix: &str) -> bool {
    let digits = name.as_encoded_bytes().strip_prefix(prefix.as_bytes());
    digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}
