use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;

use super::Op;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An operation, and its number.
type Numbered = (u64, Shared<BoxFuture>);

type Spawn = dyn Fn(BoxFuture) + Send + Sync;

/// Runs the writes of each key one after another, in the order in which they were asked for.
///
/// This is for stores whose operations go on when their futures are dropped: a request that a
/// server has received, or work on another thread. An operation that was given up before it began
/// never runs. One that had begun is kept, and is brought to its end before the next operation of
/// its key begins. So it can't take effect later, which the [contract](super#contract) demands.
///
/// An operation that was given up is driven by the next one of its key; until then it rests, with all
/// that it holds. With [`spawn`](Self::spawn), it is handed to a runtime instead. Clones share the
/// order.
///
/// ```
/// use discovery_core::store::WriteOrder;
///
/// # tokio_test::block_on(async {
/// let order = WriteOrder::new();
/// let put = order.run("key", async { "the request to the server" });
/// assert_eq!(put.await, "the request to the server");
/// # });
/// ```
#[derive(Clone, Default)]
pub struct WriteOrder {
    inner: Arc<Inner>,
    spawn: Option<Arc<Spawn>>,
}

#[derive(Default)]
struct Inner {
    /// The last operation of each key that has one under way.
    last: Mutex<HashMap<Box<str>, Numbered>>,
    number: AtomicU64,
}

/// Removes the operation from the table when it has ended, and gives it up when it is dropped before.
struct Caller<F> {
    inner: Arc<Inner>,
    spawn: Option<Arc<Spawn>>,
    key: Box<str>,
    number: u64,
    /// The operation, until it begins.
    operation: Arc<Mutex<Option<F>>>,
    shared: Shared<BoxFuture>,
}

impl WriteOrder {
    /// No operation is under way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how an operation that was given up is brought to its end: `spawn` runs a future in the
    /// background.
    ///
    /// ```
    /// use discovery_core::store::WriteOrder;
    ///
    /// let order = WriteOrder::new().spawn(|operation| drop(tokio::spawn(operation)));
    /// ```
    #[must_use]
    pub fn spawn<F>(mut self, spawn: F) -> Self
    where
        F: Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
    {
        self.spawn = Some(Arc::new(spawn));
        self
    }

    /// Runs `operation` after all that were asked for before under this key.
    ///
    /// # Panics
    ///
    /// The outcome panics when the operation does. Those of the same key go on.
    pub fn run<F>(&self, key: &str, operation: F) -> Op<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let operation = Arc::new(Mutex::new(Some(operation)));
        let outcome = Arc::new(Mutex::new(None));
        let number = self.inner.number.fetch_add(1, Ordering::Relaxed);
        let shared = {
            let mut last = lock(&self.inner.last);
            let before = last.get(key).map(|(_, before)| before.clone());
            let (operation, outcome) = (Arc::clone(&operation), Arc::clone(&outcome));
            let shared = async move {
                if let Some(before) = before {
                    before.await;
                }
                let begun = lock(&operation).take();
                if let Some(operation) = begun {
                    let ended = AssertUnwindSafe(operation).catch_unwind().await;
                    *lock(&outcome) = Some(ended);
                }
            };
            let shared = (Box::pin(shared) as BoxFuture).shared();
            last.insert(key.into(), (number, shared.clone()));
            shared
        };
        let caller = Caller {
            inner: Arc::clone(&self.inner),
            spawn: self.spawn.clone(),
            key: key.into(),
            number,
            operation,
            shared: shared.clone(),
        };
        Op::wait(async move {
            shared.await;
            drop(caller);
            let outcome = lock(&outcome).take();
            match outcome.expect("only the caller gives an operation up") {
                Ok(outcome) => outcome,
                Err(panic) => resume_unwind(panic),
            }
        })
    }
}

impl Inner {
    /// Forgets an operation that has ended, unless another one has come after it.
    fn ended(&self, key: &str, number: u64) {
        let mut last = lock(&self.last);
        if last.get(key).is_some_and(|(other, _)| *other == number) {
            last.remove(key);
        }
    }
}

impl<F> Drop for Caller<F> {
    fn drop(&mut self) {
        // One that has not begun ends here. Dropping it may take long, and is done without the lock.
        let operation = lock(&self.operation).take();
        drop(operation);
        if self.shared.peek().is_some() {
            self.inner.ended(&self.key, self.number);
        } else if let Some(spawn) = &self.spawn {
            let (inner, shared) = (Arc::clone(&self.inner), self.shared.clone());
            let (key, number) = (self.key.clone(), self.number);
            spawn(Box::pin(async move {
                shared.await;
                inner.ended(&key, number);
            }));
        }
    }
}

impl fmt::Debug for WriteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteOrder")
            .field("keys", &lock(&self.inner.last).len())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
