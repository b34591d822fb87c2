//! A store that counts what is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use discovery_core::store::{Op, PutOptions, Store, Value, Writer};

/// Counts what goes into a store.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    store: S,
    written: Arc<Written>,
}

#[derive(Debug, Default)]
pub(crate) struct Written {
    entries: AtomicU64,
    bytes: AtomicU64,
}

struct CountedWriter {
    writer: Box<dyn Writer>,
    bytes: usize,
    written: Arc<Written>,
}

impl<S> Counted<S> {
    pub(crate) fn new(store: S, written: Arc<Written>) -> Self {
        Self { store, written }
    }
}

impl Written {
    /// The number of entries and of bytes, without what the store itself adds.
    pub(crate) fn get(&self) -> (u64, u64) {
        (
            self.entries.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    fn count(&self, outcome: &io::Result<()>, bytes: usize) {
        if outcome.is_ok() {
            self.entries.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl<S: Store> Store for Counted<S> {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.store.get(key)
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        let bytes = value.head.len() + value.body.len();
        let written = Arc::clone(&self.written);
        self.store
            .put_with(key, value, options)
            .map(move |outcome| {
                written.count(&outcome, bytes);
                outcome
            })
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let (bytes, written) = (head.len(), Arc::clone(&self.written));
        self.store
            .create_with(key, head, options)
            .map(move |writer| {
                let writer = CountedWriter {
                    writer: writer?,
                    bytes,
                    written,
                };
                Ok(Box::new(writer) as Box<dyn Writer>)
            })
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.store.remove(key)
    }
}

impl Writer for CountedWriter {
    fn write(self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let Self {
            writer,
            bytes,
            written,
        } = *self;
        let bytes = bytes + data.len();
        writer.write(data).map(move |writer| {
            let writer = Self {
                writer: writer?,
                bytes,
                written,
            };
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        let Self {
            writer,
            bytes,
            written,
        } = *self;
        writer.commit().map(move |outcome| {
            written.count(&outcome, bytes);
            outcome
        })
    }
}
