use std::fmt;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use discovery_core::store::{Buffered, Op, PutOptions, Store, StoreSize, Value, Writer};
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

/// The cost of an entry beside its bytes: the allocations' headers, the two `Bytes`, the table's
/// slot and the list it is linked into.
const ENTRY_OVERHEAD: u64 = 192;

/// No entry may take more than this part of the bound, or one value would push out all others.
const LARGEST_SHARE: u64 = 4;

/// A store in memory that holds at most a number of bytes. Clones share one memory and one bound.
///
/// An entry counts with its key, its value and 192 bytes. When the bound is reached, entries that
/// are neither new nor asked for go first. A value of more than a quarter of the bound is not
/// kept: `put` forgets the key then and succeeds, and a writer refuses the bytes that are too
/// many.
///
/// Bytes are held once: [`get`](Store::get) returns the allocation that
/// [`put`](Store::put) was given, without a copy. Give it bytes that don't pin a larger buffer;
/// the bound can't see that. Bytes that come through a [`Writer`] are copied once, to its exact size.
///
/// Eviction is that of [`quick_cache`], which reads under a shared lock and needs no background
/// thread.
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_memory::MemoryStore;
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new(64 << 20);
/// store.clone().put("key", Value::new("head ", "body")).await?;
/// assert_eq!(store.get("key").await?, Some(Value::new("", "head body")));
/// assert_eq!(store.len(), 1);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    entries: Arc<Cache<Box<str>, Value, Bytewise, RandomState, CollectEvicted>>,
    max_entry: u64,
    evictions: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Bytewise;

#[derive(Clone)]
struct CollectEvicted;

impl MemoryStore {
    /// An empty store that holds at most `max_bytes`.
    ///
    /// ```
    /// use discovery_memory::MemoryStore;
    ///
    /// let store = MemoryStore::new(1 << 20);
    /// assert!(store.is_empty());
    /// assert_eq!(store.max_bytes(), 1 << 20);
    /// ```
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        // An estimate that need only be right within two orders of magnitude: it sizes the memory
        // of keys that were evicted lately.
        let items = usize::try_from(max_bytes / 8192).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            // Shards would split the bound as well, and the largest entry with it.
            .shards(1)
            .estimated_items_capacity(items.clamp(32, 65_536))
            .weight_capacity(max_bytes)
            .build()
            .expect("all that has no default is set");
        Self {
            entries: Arc::new(Cache::with_options(
                options,
                Bytewise,
                RandomState::new(),
                CollectEvicted,
            )),
            max_entry: max_bytes / LARGEST_SHARE,
            evictions: Arc::default(),
        }
    }

    /// How many values it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes it holds, by the count that the bound is for.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_memory::MemoryStore;
    ///
    /// # tokio_test::block_on(async {
    /// let store = MemoryStore::new(1 << 20);
    /// store.put("key", Value::new("head", "body")).await?;
    /// assert_eq!(store.bytes(), 192 + 3 + 8);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// The bound.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.entries.capacity()
    }

    /// How many values had to make room for others so far.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_memory::MemoryStore;
    ///
    /// # tokio_test::block_on(async {
    /// let store = MemoryStore::new(10_000);
    /// for n in 0..10 {
    ///     store.put(&n.to_string(), Value::new("", vec![0; 1_500])).await?;
    /// }
    /// assert!(store.bytes() <= 10_000);
    /// assert_eq!(store.evictions() + store.len() as u64, 10);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        Op::Ready(Ok(self.entries.get(key)))
    }

    fn put_with(&self, key: &str, value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        if weight(key, value.len()) > self.max_entry {
            // The value that was there is older than the one that is too large.
            self.entries.remove(key);
        } else {
            let mut evicted = Vec::new();
            self.entries
                .insert_with_lifecycle(key.into(), value, &mut evicted);
            // The value that was replaced is among them.
            let others = evicted.iter().filter(|(other, _)| **other != *key).count();
            self.evictions.fetch_add(others as u64, Ordering::Relaxed);
        }
        Op::Ready(Ok(()))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let max_value_size = self.max_entry.saturating_sub(weight(key, 0));
        let writer = Buffered::new(self.clone(), key, head, options);
        Op::Ready(Ok(Box::new(writer.max_value_size(max_value_size))))
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.entries.remove(key);
        Op::Ready(Ok(()))
    }

    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let keys = self.entries.iter().map(|(key, _)| key);
        let keys = keys.filter(|key| key.starts_with(prefix));
        Op::Ready(Ok(keys.map(String::from).collect()))
    }

    fn clear(&self) -> Op<io::Result<()>> {
        self.entries.clear();
        Op::Ready(Ok(()))
    }

    /// The bytes are those of [`MemoryStore::bytes`].
    fn size(&self) -> Op<io::Result<StoreSize>> {
        Op::Ready(Ok(StoreSize::new(self.len() as u64, self.bytes())))
    }
}

impl Weighter<Box<str>, Value> for Bytewise {
    fn weight(&self, key: &Box<str>, value: &Value) -> u64 {
        weight(key, value.len())
    }
}

impl Lifecycle<Box<str>, Value> for CollectEvicted {
    /// Entries that were evicted or replaced, to be dropped when no lock is held.
    type RequestState = Vec<(Box<str>, Value)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Box<str>, value: Value) {
        evicted.push((key, value));
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .field("max_bytes", &self.max_bytes())
            .field("evictions", &self.evictions())
            .finish()
    }
}

fn weight(key: &str, value: usize) -> u64 {
    ENTRY_OVERHEAD + (key.len() as u64) + (value as u64)
}
