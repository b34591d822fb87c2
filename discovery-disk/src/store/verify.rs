use std::io::{self, Read};

use super::DiskStore;
use super::access::Found;
use super::error::{Shown, why};
use super::fs::Stamp;
use super::list::Listed;
use super::stats::Counters;

/// How much is read of a file at a time.
const PIECE: usize = 64 * 1024;

/// The result of [`DiskStore::verify`].
///
/// ```
/// assert_eq!(discovery_disk::store::VerifyReport::default().damaged, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The values that were read.
    pub values: u64,
    /// The size of their files in bytes.
    pub bytes: u64,
    /// Of them, the damaged ones. They have been removed, but for those that failed to be, which is logged.
    pub damaged: u64,
    /// Files that could not be read, and are still there.
    pub unreadable: u64,
}

impl DiskStore {
    /// Reads each value, compares its checksum, and removes the damaged ones. A store without
    /// [checksums](super::DiskStoreOptions::checksum) and without [compression](super::DiskStoreOptions::compression)
    /// can tell nothing but that a value can be read.
    ///
    /// The call blocks, for as long as it takes to read all files, and holds 64 KiB of them at a time. Values that are
    /// written meanwhile may be read or not; one that takes the place of a damaged one in the very moment in which that is
    /// removed goes in its place.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::DiskStoreOptions;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::with_options(dir.path(), DiskStoreOptions::new().checksum(true));
    /// for key in ["one", "two"] {
    ///     store.put(key, Value::new("", "a value")).await?;
    /// }
    /// let file = std::fs::read_to_string(dir.path().join("two"))?;
    /// std::fs::write(dir.path().join("two"), file.replace("a value", "a vague"))?;
    ///
    /// let report = store.verify()?;
    /// assert_eq!((report.values, report.damaged), (2, 1));
    /// assert!(!dir.path().join("two").exists());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When a directory can't be read, or [`Unsupported`](io::ErrorKind::Unsupported) if the
    /// [file names](super::FileNames) can't be read back.
    pub fn verify(&self) -> io::Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let mut piece = vec![0; PIECE];
        for listed in self.files()? {
            let Listed { path, .. } = listed?;
            let (file, metadata) = match self.fs().open(&path) {
                Ok(Some(opened)) => opened,
                // It has gone meanwhile.
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(path = %Shown(&path), error = %why(&error), "value not verified");
                    report.unreadable += 1;
                    continue;
                }
            };
            if metadata.len() > self.max_file_size() {
                continue;
            }
            report.values += 1;
            report.bytes += metadata.len();
            let found = Found::new(file, path.clone(), &metadata, Stamp::of(&metadata));
            match self.read_through(found, &mut piece) {
                Ok(()) => {}
                Err(error) if is_damage(&error) => {
                    tracing::debug!(path = %Shown(&path), error = %why(&error), "damaged value removed");
                    let modified = metadata.modified().ok();
                    self.remove_if_unchanged(&path, |now| {
                        now.len() == metadata.len() && now.modified().ok() == modified
                    });
                    Counters::count(&self.counters().damaged);
                    report.damaged += 1;
                }
                Err(error) => {
                    tracing::debug!(path = %Shown(&path), error = %why(&error), "value not verified");
                    report.unreadable += 1;
                }
            }
        }
        Ok(report)
    }

    fn read_through(&self, found: Found, piece: &mut [u8]) -> io::Result<()> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let mut reader = self.reader_of(found, false)?.ok_or_else(short)?;
        loop {
            match reader.read(piece) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether an error comes from the bytes, and not from the disk. Decoders have several kinds for that, none of which is
/// the system's.
fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}
