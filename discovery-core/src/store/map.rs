use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::{Op, Store, Value, Writer};

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

struct MapWriter {
    store: MapStore,
    key: String,
    head: Bytes,
    body: BytesMut,
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

    /// The keys that it holds, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MapStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        Op::Ready(Ok(self.lock().get(key).cloned()))
    }

    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        self.lock().insert(key.to_owned(), value);
        Op::Ready(Ok(()))
    }

    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let (store, key, body) = (self.clone(), key.to_owned(), BytesMut::new());
        Op::Ready(Ok(Box::new(MapWriter {
            store,
            key,
            head,
            body,
        })))
    }

    fn remove(&self, key: &str) -> Op<io::Result<bool>> {
        Op::Ready(Ok(self.lock().remove(key).is_some()))
    }
}

impl Writer for MapWriter {
    fn write(&mut self, data: &Bytes) -> io::Result<()> {
        self.body.extend_from_slice(data);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        self.store.put(
            &self.key,
            Value {
                head: self.head,
                body: self.body.freeze(),
            },
        )
    }
}

impl fmt::Debug for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStore")
            .field("len", &self.len())
            .finish()
    }
}
