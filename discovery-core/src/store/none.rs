use std::io;

use bytes::Bytes;

use super::{Op, PutOptions, Store, StoreSize, Value, Writer};

/// A store that keeps nothing. A cache over it sends every request on.
///
/// ```
/// use discovery_core::store::{NoStore, Store, Value};
///
/// # tokio_test::block_on(async {
/// NoStore.put("key", Value::new("", "value")).await?;
/// assert_eq!(NoStore.get("key").await?, None);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

struct NoWriter;

impl Store for NoStore {
    fn get(&self, _key: &str) -> Op<io::Result<Option<Value>>> {
        Op::Ready(Ok(None))
    }

    fn put_with(&self, _key: &str, _value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }

    fn create_with(
        &self,
        _key: &str,
        _head: Bytes,
        _options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Ok(Box::new(NoWriter)))
    }

    fn remove(&self, _key: &str) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }

    fn keys(&self, _prefix: &str) -> Op<io::Result<Vec<String>>> {
        Op::Ready(Ok(Vec::new()))
    }

    fn clear(&self) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        Op::Ready(Ok(StoreSize::default()))
    }
}

impl Writer for NoWriter {
    fn write(self: Box<Self>, _data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Ok(self))
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }
}
