//! What the checks are made with.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;

use crate::store::{Op, Store, Value, Writer};

/// Two stores of which each operation uses the other one than the operation before.
pub(super) struct Alternating<S> {
    stores: (S, S),
    turn: AtomicUsize,
}

/// A reproducible sequence of numbers (xorshift64*).
pub(super) struct Random(u64);

struct Unpark(Thread);

impl<S> Alternating<S> {
    pub(super) fn new(stores: (S, S)) -> Self {
        Self {
            stores,
            turn: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &S {
        match self.turn.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => &self.stores.0,
            _ => &self.stores.1,
        }
    }
}

impl<S: Store> Store for Alternating<S> {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.next().get(key)
    }

    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        self.next().put(key, value)
    }

    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        self.next().create(key, head)
    }

    fn remove(&self, key: &str) -> Op<io::Result<bool>> {
        self.next().remove(key)
    }
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn bytes(&mut self, len: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(len + 4);
        while bytes.len() < len {
            bytes.extend_from_slice(&(self.next() as u32).to_le_bytes());
        }
        bytes.truncate(len);
        bytes.into()
    }

    pub(super) fn value(&mut self, max_len: usize) -> Value {
        let len = self.below(max_len + 1);
        let head = self.below(len + 1);
        let mut head_bytes = self.bytes(len);
        let body = head_bytes.split_off(head);
        Value::new(head_bytes, body)
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread, with no runtime.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Writes `value` through a writer, cut into pieces.
pub(super) async fn stream(store: &dyn Store, key: &str, value: &Value, piece: usize) {
    let mut writer = create(store, key, value.head.clone()).await;
    let mut rest = value.body.clone();
    while !rest.is_empty() {
        let next = rest.split_to(piece.clamp(1, rest.len()));
        writer.write(&next).expect("write");
    }
    writer.commit().await.expect("commit");
}

pub(super) async fn get(store: &dyn Store, key: &str) -> Option<Value> {
    store.get(key).await.expect("get")
}

pub(super) async fn put(store: &dyn Store, key: &str, value: &Value) {
    store.put(key, value.clone()).await.expect("put");
}

pub(super) async fn create(store: &dyn Store, key: &str, head: Bytes) -> Box<dyn Writer> {
    store.create(key, head).await.expect("create")
}

pub(super) async fn remove(store: &dyn Store, key: &str) -> bool {
    store.remove(key).await.expect("remove")
}

pub(super) fn text(text: &'static str) -> Value {
    Value::new("", text)
}
