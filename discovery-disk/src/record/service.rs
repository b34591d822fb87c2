use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::RecordBody;
use super::future::ResponseFuture;
use super::layer::{Config, Mode};

/// The service of [`DiskStoreLayer`](super::DiskStoreLayer).
#[derive(Clone)]
pub struct DiskStoreService<S> {
    inner: S,
    config: Config,
}

impl<S> DiskStoreService<S> {
    pub(crate) fn new(inner: S, config: Config) -> Self {
        Self { inner, config }
    }
}

impl<S, B, R> Service<Request<B>> for DiskStoreService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Response = Response<RecordBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.config.mode {
            // Never called, so it need not be there at all.
            Mode::Replay => Poll::Ready(Ok(())),
            Mode::ReadThrough | Mode::Record => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready is the one to call; the clone is not ready yet.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);

        let (parts, body) = request.into_parts();
        let key = self.config.key_of(&parts);
        let request = Request::from_parts(parts, body);
        ResponseFuture::new(inner, request, key, &self.config)
    }
}

impl<S: fmt::Debug> fmt::Debug for DiskStoreService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStoreService")
            .field("inner", &self.inner)
            .field("mode", &self.config.mode)
            .finish_non_exhaustive()
    }
}
