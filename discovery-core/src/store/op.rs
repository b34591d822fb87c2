use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The outcome of an operation that is often known at once.
///
/// A memory store answers without waiting, and a disk store reads small files without waiting;
/// boxing a future for each of these would cost more than the operation. Await it, or match on it.
///
/// ```
/// use discovery_core::store::Op;
///
/// # tokio_test::block_on(async {
/// assert_eq!(Op::Ready(1).await, 1);
/// assert_eq!(Op::wait(async { 2 }).await, 2);
/// # });
/// ```
#[must_use = "an operation may not have happened before it is awaited"]
pub enum Op<T> {
    /// Done.
    Ready(T),
    /// Still to come.
    Wait(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Op<T> {
    /// An operation that `future` carries out.
    pub fn wait(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Wait(Box::pin(future))
    }

    /// Applies `f` to the outcome, now or when it comes.
    ///
    /// ```
    /// use discovery_core::store::Op;
    ///
    /// assert!(matches!(Op::Ready(1).map(|n| n + 1), Op::Ready(2)));
    /// ```
    pub fn map<U>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Op<U>
    where
        T: 'static,
    {
        match self {
            Self::Ready(value) => Op::Ready(f(value)),
            Self::Wait(future) => Op::wait(async move { f(future.await) }),
        }
    }
}

impl<T, E> Op<Result<T, E>> {
    /// Goes on with `f` after a success, now or when it comes.
    ///
    /// ```
    /// use discovery_core::store::Op;
    ///
    /// # tokio_test::block_on(async {
    /// let half = |n: u32| match n % 2 {
    ///     0 => Op::Ready(Ok(n / 2)),
    ///     _ => Op::Ready(Err("odd")),
    /// };
    /// assert_eq!(half(8).and_then(half).await, Ok(2));
    /// assert_eq!(half(6).and_then(half).await, Err("odd"));
    /// # });
    /// ```
    pub fn and_then<U>(
        self,
        f: impl FnOnce(T) -> Op<Result<U, E>> + Send + 'static,
    ) -> Op<Result<U, E>>
    where
        T: Unpin + Send + 'static,
        E: Unpin + Send + 'static,
        U: Unpin + Send + 'static,
    {
        match self {
            Self::Ready(Ok(value)) => f(value),
            Self::Ready(Err(error)) => Op::Ready(Err(error)),
            Self::Wait(future) => Op::wait(async move { f(future.await?).await }),
        }
    }
}

impl<T: Unpin + 'static> Future for Op<T> {
    type Output = T;

    /// Stays pending when polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Self::Wait(future) = &mut *self {
            return future.as_mut().poll(cx);
        }
        match std::mem::replace(&mut *self, Self::Wait(Box::pin(std::future::pending()))) {
            Self::Ready(value) => Poll::Ready(value),
            waiting @ Self::Wait(_) => {
                *self = waiting;
                Poll::Pending
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}
