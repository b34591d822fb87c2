use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of reads and writes of a server's files, since the layer was made.
///
/// ```
/// let layer = discovery_disk::DiskDiscoveryLayer::new("/nonexistent/cache");
/// assert_eq!(layer.disk_stats().files_written, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// Files that were read and not expired.
    pub files_read: u64,
    /// Files that got new content.
    pub files_written: u64,
    /// Files whose content had not changed: only their modification time was renewed.
    pub files_renewed: u64,
    /// The size of the files that got new content.
    pub bytes_written: u64,
    /// Writes that failed.
    pub write_errors: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) files_read: AtomicU64,
    pub(super) files_written: AtomicU64,
    pub(super) files_renewed: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) write_errors: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> DiskStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DiskStats {
            files_read: read(&self.files_read),
            files_written: read(&self.files_written),
            files_renewed: read(&self.files_renewed),
            bytes_written: read(&self.bytes_written),
            write_errors: read(&self.write_errors),
        }
    }
}
