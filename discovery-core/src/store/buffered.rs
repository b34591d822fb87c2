use std::fmt;
use std::io;

use bytes::Bytes;

use super::{Op, PutOptions, Store, Value, Writer};

/// A writer for stores that take whole values: it collects the bytes, and puts them at the commit.
///
/// The module documentation has an [example](super#writing-a-store). The bytes are copied once; the
/// value that is put has no spare capacity.
pub struct Buffered<S> {
    store: S,
    key: Box<str>,
    head: Bytes,
    body: Vec<u8>,
    options: PutOptions,
    max_value_size: u64,
}

impl<S: Store> Buffered<S> {
    /// Collects a value that begins with `head`, and [puts](Store::put_with) it into `store` under
    /// `key` at the commit.
    #[must_use]
    pub fn new(store: S, key: &str, head: Bytes, options: PutOptions) -> Self {
        Self {
            store,
            key: key.into(),
            head,
            body: Vec::new(),
            options,
            max_value_size: u64::MAX,
        }
    }

    /// Sets the largest value in bytes, which is unlimited unless set. A write that would make a
    /// larger one fails with [`io::ErrorKind::FileTooLarge`].
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// use bytes::Bytes;
    /// use discovery_core::store::{Buffered, MapStore, PutOptions, Writer};
    ///
    /// # tokio_test::block_on(async {
    /// let writer = Buffered::new(MapStore::new(), "key", Bytes::new(), PutOptions::new());
    /// let writer = Box::new(writer.max_value_size(6)).write("123".into()).await?;
    /// let error = writer.write("4567".into()).await.err().unwrap();
    /// assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn max_value_size(mut self, bytes: u64) -> Self {
        self.max_value_size = bytes;
        self
    }
}

impl<S: Store> Writer for Buffered<S> {
    fn write(mut self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let len = self.head.len() + self.body.len() + data.len();
        if len as u64 > self.max_value_size {
            return Op::Ready(Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the value is larger than the store takes",
            )));
        }
        self.body.extend_from_slice(&data);
        Op::Ready(Ok(self))
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        // A boxed slice has no spare capacity, which no store would count.
        let body = self.body.into_boxed_slice();
        let value = Value::new(self.head, body);
        self.store.put_with(&self.key, value, self.options)
    }
}

impl<S> fmt::Debug for Buffered<S> {
    /// Without the key, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered")
            .field("len", &(self.head.len() + self.body.len()))
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
