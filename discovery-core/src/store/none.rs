use std::io;

use bytes::Bytes;

use super::{Op, Store, Value, Writer};

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

    fn put(&self, _key: &str, _value: Value) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }

    fn create(&self, _key: &str, _head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Ok(Box::new(NoWriter)))
    }

    fn remove(&self, _key: &str) -> Op<io::Result<bool>> {
        Op::Ready(Ok(false))
    }
}

impl Writer for NoWriter {
    fn write(&mut self, _data: &Bytes) -> io::Result<()> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }
}
