use std::time::Duration;

/// Hints for a value that is written. A store may ignore each of them.
///
/// ```
/// use std::time::Duration;
///
/// use discovery_core::store::{MapStore, PutOptions, Store, Value};
///
/// # tokio_test::block_on(async {
/// let options = PutOptions::new().with_keep_for(Duration::from_secs(3_600));
/// MapStore::new().put_with("key", Value::new("", "value"), options).await?;
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// For how long the value is worth keeping, counted from the `put` or the commit. A store that
    /// can expire values may drop this one then. It is longer than the value is fresh, because a
    /// stale value can be validated. `None` if that is not known.
    pub keep_for: Option<Duration>,
}

/// How much a [`Store`](super::Store) holds.
///
/// ```
/// use discovery_core::store::{MapStore, Store, Value};
///
/// # tokio_test::block_on(async {
/// let store = MapStore::new();
/// store.put("key", Value::new("head", "body")).await?;
/// let size = store.size().await?;
/// assert_eq!((size.values, size.bytes), (1, 8));
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSize {
    /// The number of values.
    pub values: u64,
    /// Their size in bytes, as the store counts it. The count of some stores includes keys,
    /// checksums and the like.
    pub bytes: u64,
}

impl PutOptions {
    /// No hints.
    #[must_use]
    pub const fn new() -> Self {
        Self { keep_for: None }
    }

    /// Sets for how long the value is worth keeping.
    #[must_use]
    pub const fn with_keep_for(mut self, time: Duration) -> Self {
        self.keep_for = Some(time);
        self
    }
}

impl StoreSize {
    /// A number of values, and their bytes.
    #[must_use]
    pub const fn new(values: u64, bytes: u64) -> Self {
        Self { values, bytes }
    }
}
