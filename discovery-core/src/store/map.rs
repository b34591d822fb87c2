use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Buffered, Op, PutOptions, Store, StoreSize, Value, Writer};

/// A store in a hash map, without any bound: for tests and for programs that end soon. Clones
/// share one map.
///
/// ```
/// use discovery_core::store::{MapStore, Store, Value};
///
/// # tokio_test::block_on(async {
/// let store = MapStore::new();
/// store.clone().put("key", Value::new("", "value")).await?;
/// assert_eq!(store.len(), 1);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MapStore {
    values: Arc<Mutex<HashMap<String, Value>>>,
}

impl MapStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that it holds, in order.
    #[must_use]
    pub fn all_keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.lock().keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MapStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        Op::Ready(Ok(self.lock().get(key).cloned()))
    }

    fn put_with(&self, key: &str, value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        self.lock().insert(key.to_owned(), value);
        Op::Ready(Ok(()))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Ok(Box::new(Buffered::new(
            self.clone(),
            key,
            head,
            options,
        ))))
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.lock().remove(key);
        Op::Ready(Ok(()))
    }

    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let mut keys = self.all_keys();
        keys.retain(|key| key.starts_with(prefix));
        Op::Ready(Ok(keys))
    }

    fn clear(&self) -> Op<io::Result<()>> {
        self.lock().clear();
        Op::Ready(Ok(()))
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        let values = self.lock();
        let bytes = values.values().map(|value| value.len() as u64).sum();
        Op::Ready(Ok(StoreSize::new(values.len() as u64, bytes)))
    }
}

impl fmt::Debug for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStore")
            .field("len", &self.len())
            .finish()
    }
}
