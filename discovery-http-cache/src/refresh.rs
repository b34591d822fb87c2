//! Validation behind an answer (RFC 5861 §3), on an executor that the layer is given.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::Body;
use crate::cache::Cache;
use crate::future::{ResponseFuture, State};

pin_project! {
    /// Validates a stored response after it has been served. What an
    /// [executor](crate::HttpCacheLayer::executor) gets to run.
    pub struct Refresh<S, B, ResB>
    where
        S: Service<Request<B>>,
        ResB: http_body::Body,
    {
        #[pin]
        future: ResponseFuture<S, B, ResB>,
        // In a box, because it comes only when the future has ended.
        body: Option<Pin<Box<Body<ResB>>>>,
    }
}

/// Where a [`Refresh`] runs: [nowhere](NoRefresh), or [on an executor](RefreshOn).
pub trait Refresher<F>: sealed::Sealed + Clone {
    /// Whether it runs at all.
    const RUNS: bool;

    /// Runs it.
    fn run(&self, refresh: F);
}

/// Nothing is validated behind an answer: what is stale is validated before.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRefresh;

/// Stale responses are validated on an executor. See
/// [`HttpCacheLayer::executor`](crate::HttpCacheLayer::executor).
pub struct RefreshOn<E> {
    executor: Arc<E>,
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::NoRefresh {}
    impl<E> Sealed for super::RefreshOn<E> {}
}

impl<S, B, ResB> Refresh<S, B, ResB>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: http_body::Body<Data = Bytes>,
{
    pub(crate) fn new(cache: Arc<Cache>, state: State<S, B, ResB, S::Future, S::Error>) -> Self {
        Self {
            future: ResponseFuture::in_state(cache, state, NoRefresh),
            body: None,
        }
    }
}

impl<E> RefreshOn<E> {
    pub(crate) fn new(executor: E) -> Self {
        Self {
            executor: Arc::new(executor),
        }
    }
}

impl<S, B, ResB> Future for Refresh<S, B, ResB>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    type Output = ();

    /// Reads the body, as long as it is to be stored. An error is the next caller's to see.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.body.is_none() {
            match ready!(this.future.poll(cx)) {
                Ok(response) => *this.body = Some(Box::pin(response.into_body())),
                Err(_) => return Poll::Ready(()),
            }
        }
        if let Some(body) = this.body {
            while body.is_being_stored() {
                match ready!(http_body::Body::poll_frame(body.as_mut(), cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
        }
        Poll::Ready(())
    }
}

impl<F> Refresher<F> for NoRefresh {
    const RUNS: bool = false;

    fn run(&self, _: F) {}
}

impl<F, E: Executor<F>> Refresher<F> for RefreshOn<E> {
    const RUNS: bool = true;

    fn run(&self, refresh: F) {
        self.executor.execute(refresh);
    }
}

impl<E> Clone for RefreshOn<E> {
    fn clone(&self) -> Self {
        Self {
            executor: Arc::clone(&self.executor),
        }
    }
}

impl<E> fmt::Debug for RefreshOn<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshOn").finish_non_exhaustive()
    }
}

impl<S, B, ResB> fmt::Debug for Refresh<S, B, ResB>
where
    S: Service<Request<B>>,
    ResB: http_body::Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}
