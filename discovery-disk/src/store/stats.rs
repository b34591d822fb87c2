use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a [`DiskStore`](super::DiskStore)'s operations, since it was made. Clones have them together.
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_disk::DiskStore;
///
/// # tokio_test::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let store = DiskStore::new(dir.path());
/// store.get("key").await?;
/// store.put("key", Value::new("", "value")).await?;
/// store.get("key").await?;
/// let stats = store.stats();
/// assert_eq!((stats.hits, stats.misses, stats.written), (1, 1, 1));
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DiskStoreStats {
    /// Reads that found a value.
    pub hits: u64,
    /// Of these, the ones that were answered from memory.
    pub cache_hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Of the files that were read, those that were damaged.
    pub damaged: u64,
    /// Values that were written.
    pub written: u64,
    /// Writes of a value that was there already.
    pub renewed: u64,
    /// Values that were removed because there were too many, or because they were too old.
    pub evicted: u64,
    /// The bytes of the files that were read whole.
    pub bytes_read: u64,
    /// The bytes of the files that were written.
    pub bytes_written: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) renewed: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

impl Counters {
    pub(crate) fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> DiskStoreStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DiskStoreStats {
            hits: read(&self.hits),
            cache_hits: read(&self.cache_hits),
            misses: read(&self.misses),
            damaged: read(&self.damaged),
            written: read(&self.written),
            renewed: read(&self.renewed),
            evicted: read(&self.evicted),
            bytes_read: read(&self.bytes_read),
            bytes_written: read(&self.bytes_written),
        }
    }
}
