//! A store that takes its time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::store::{MapStore, Op, PutOptions, Store, Value, Writer};

use super::Gate;

/// A store that writes nothing before the gate is open.
#[derive(Clone)]
pub struct Slow(pub MapStore, pub Gate);

impl Slow {
    fn later<T: Send + 'static>(
        &self,
        op: impl FnOnce(&MapStore) -> Op<T> + Send + 'static,
    ) -> Op<T> {
        struct Wait(Gate);
        impl Future for Wait {
            type Output = ();
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.0.poll_open(cx)
            }
        }
        let Self(store, gate) = self.clone();
        Op::wait(async move {
            Wait(gate).await;
            match op(&store) {
                Op::Ready(value) => value,
                Op::Wait(future) => future.await,
            }
        })
    }
}

impl Store for Slow {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.0.get(key)
    }
    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        let key = key.to_owned();
        self.later(move |store| store.put_with(&key, value, options))
    }
    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let key = key.to_owned();
        self.later(move |store| store.create_with(&key, head, options))
    }
    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.0.remove(key)
    }
}
