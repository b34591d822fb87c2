//! The tools of the checks.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;

use crate::store::{Op, PutOptions, Store, StoreSize, Value, Writer};

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

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        self.next().put_with(key, value, options)
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        self.next().create_with(key, head, options)
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.next().remove(key)
    }

    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        self.next().keys(prefix)
    }

    fn clear(&self) -> Op<io::Result<()>> {
        self.next().clear()
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        self.next().size()
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
fn block_on<F: Future>(future: F) -> F::Output {
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
        writer = write(writer, next).await;
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

pub(super) async fn write(writer: Box<dyn Writer>, data: impl Into<Bytes>) -> Box<dyn Writer> {
    writer.write(data.into()).await.expect("write")
}

pub(super) async fn remove(store: &dyn Store, key: &str) {
    store.remove(key).await.expect("remove");
}

/// Lets others go on.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls an operation a number of times, and drops it.
pub(super) async fn give_up<T: Unpin + 'static>(mut op: Op<T>, polls: usize) {
    for _ in 0..polls {
        let poll = poll_fn(|cx| Poll::Ready(Pin::new(&mut op).poll(cx)));
        if poll.await.is_ready() {
            break;
        }
        yield_now().await;
    }
}

/// Work that a suite starts beside its own.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that are not at their end yet.
#[derive(Default)]
struct Open {
    left: usize,
    panicked: bool,
    waker: Option<Waker>,
}

/// Counts a task as ended when it is dropped.
struct OneOf {
    open: Arc<Mutex<Open>>,
    succeeded: bool,
}

impl OneOf {
    fn succeed(mut self) {
        self.succeeded = true;
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.left -= 1;
        open.panicked |= !self.succeeded;
        if let Some(waker) = open.waker.take() {
            waker.wake();
        }
    }
}

/// Starts tasks with `spawn`, and waits for the end of all.
pub(super) async fn run_all(spawn: &dyn Fn(Task), tasks: Vec<Task>) {
    let open = Arc::new(Mutex::new(Open {
        left: tasks.len(),
        ..Open::default()
    }));
    for task in tasks {
        let this = OneOf {
            open: Arc::clone(&open),
            succeeded: false,
        };
        spawn(Box::pin(async move {
            task.await;
            this.succeed();
        }));
    }
    let panicked = poll_fn(|cx| {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.left == 0 {
            return Poll::Ready(open.panicked);
        }
        open.waker = Some(cx.waker().clone());
        Poll::Pending
    });
    assert!(!panicked.await, "a task of the suite has panicked");
}

/// Runs a task on a thread of its own, without a runtime.
pub(super) fn on_a_thread(task: Task) {
    thread::spawn(move || block_on(task));
}

pub(super) fn text(text: &'static str) -> Value {
    Value::new("", text)
}
