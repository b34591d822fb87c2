use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::{Body, has_content};
use discovery_core::internal::reserved::Oneshot;
use discovery_core::store::Op;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::config::{Config, Mode, miss};
use super::recording::Recorded;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers requests from a store, or records what the service inside answers. Made by
/// [`DiskStoreLayer`](super::DiskStoreLayer).
///
/// It is always ready: a response from the store needs nothing from the service inside. A request that has to be
/// sent waits in its future until a clone of that service is ready, and is sent by that very clone.
#[derive(Clone)]
pub struct DiskStoreService<S> {
    inner: S,
    config: Arc<Config>,
}

pin_project! {
    /// The future of a [`DiskStoreService`].
    pub struct ResponseFuture<S, B, ResB>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, ResB, S::Error>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, ResB, E>
    where
        S: Service<Request<B>>,
    {
        // The request takes no part.
        Pass { #[pin] call: Oneshot<S, Request<B>> },
        // The answer was known at once.
        Hit { response: Option<Response<Body<ResB>>> },
        // Everything else.
        Miss { answer: BoxFuture<Result<Response<Body<ResB>>, E>> },
    }
}

impl<S> DiskStoreService<S> {
    pub(super) fn new(inner: S, config: Config) -> Self {
        Self {
            inner,
            config: Arc::new(config),
        }
    }
}

impl<S, B, ResB> Service<Request<B>> for DiskStoreService<S>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: HttpBody + Send + 'static,
    ResB: HttpBody<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
{
    type Response = Response<Body<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, ResB>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let config = &self.config;
        let key = config.key_of(&parts, has_content(&body));
        let request = Request::from_parts(parts, body);
        let lookup = match (&key, config.mode) {
            (None, Mode::Replay) => return State::hit(miss(request.method())),
            (Some(key), Mode::ReadThrough | Mode::Replay) => match config.store.get(key) {
                Op::Ready(found) => match config.answer(key, found) {
                    Some(response) => return State::hit(response),
                    None => None,
                },
                lookup @ Op::Wait(_) => Some(lookup),
            },
            (_, Mode::Record | Mode::Refresh) | (None, Mode::ReadThrough) => None,
        };
        let inner = self.inner.clone();
        let state = match key {
            None => State::Pass {
                call: Oneshot::new(inner, request),
            },
            Some(key) => {
                let recorded = Recorded {
                    inner,
                    config: Arc::clone(config),
                    request,
                    key,
                };
                State::Miss {
                    answer: Box::pin(recorded.run(lookup)),
                }
            }
        };
        ResponseFuture { state }
    }
}

impl<S, B, ResB> State<S, B, ResB, S::Error>
where
    S: Service<Request<B>>,
{
    fn hit(response: Response<Bytes>) -> ResponseFuture<S, B, ResB> {
        let response = Some(response.map(Body::full));
        ResponseFuture {
            state: Self::Hit { response },
        }
    }
}

impl<S, B, ResB> Future for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>, Response = Response<ResB>>,
{
    type Output = Result<Response<Body<ResB>>, S::Error>;

    /// A hit stays pending when it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Pass { call } => call.poll(cx).map_ok(|response| response.map(Body::passed)),
            StateProj::Hit { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProj::Miss { answer } => answer.as_mut().poll(cx),
        }
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

impl<S, B, ResB> fmt::Debug for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Pass { .. } => "ResponseFuture(pass)",
            State::Hit { .. } => "ResponseFuture(hit)",
            State::Miss { .. } => "ResponseFuture(miss)",
        })
    }
}
