use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use crate::body::Body;
use crate::cache::Cache;
use crate::future::ResponseFuture;
use crate::refresh::{NoRefresh, Refresh, Refresher};

/// Answers requests from a store, or asks the service inside. Made by
/// [`HttpCacheLayer`](crate::HttpCacheLayer).
///
/// A hit that the store knows at once is decided in `call`, and has been counted and traced when that
/// returns. All else happens when the future is polled; until then no other request waits for it.
pub struct HttpCache<S, X = NoRefresh> {
    inner: S,
    cache: Arc<Cache>,
    refresher: X,
}

impl<S, X> HttpCache<S, X> {
    pub(crate) fn new(inner: S, cache: Cache, refresher: X) -> Self {
        Self {
            inner,
            cache: Arc::new(cache),
            refresher,
        }
    }
}

impl<S, B, ResB, X> Service<Request<B>> for HttpCache<S, X>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
    X: Refresher<Refresh<S, B, ResB>>,
{
    type Response = Response<Body<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, ResB, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready is the one to call. If it turns out not to be needed, it
        // is dropped, and what it had reserved is free for others.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(
            Arc::clone(&self.cache),
            ready,
            request,
            self.refresher.clone(),
        )
    }
}

impl<S: Clone, X: Clone> Clone for HttpCache<S, X> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            cache: Arc::clone(&self.cache),
            refresher: self.refresher.clone(),
        }
    }
}

impl<S: fmt::Debug, X> fmt::Debug for HttpCache<S, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
