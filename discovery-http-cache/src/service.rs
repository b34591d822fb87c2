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

use crate::bypass::{Bypassed, Route};
use crate::cache::{BoxFuture, Cache};
use crate::fetch::{Fetch, FirstLook};
use crate::policy::request::Bypass;

/// Answers requests from a store, or forwards them to the service inside. Made by
/// [`HttpCacheLayer`](crate::HttpCacheLayer).
///
/// It is always ready: a response from the store needs nothing from the service inside. A request that has to be
/// forwarded waits in its future until a clone of that service is ready, and is sent by that very clone.
///
/// A hit that the store knows at once is decided in `call`, and is counted and traced when that returns. Everything else
/// happens when the future is polled; until then no other request waits for it.
pub struct HttpCache<S> {
    inner: S,
    cache: Arc<Cache>,
}

pin_project! {
    /// The future of [`HttpCache`].
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
        // The cache leaves the request alone.
        Bypass {
            #[pin]
            call: Oneshot<S, Request<B>>,
            cache: Arc<Cache>,
            reason: Bypass,
        },
        // The response came from the store at once.
        Hit { response: Option<Response<Body<ResB>>> },
        // Everything else.
        Miss { fetch: BoxFuture<Result<Response<Body<ResB>>, E>> },
    }
}

impl<S> HttpCache<S> {
    pub(crate) fn new(inner: S, cache: Cache) -> Self {
        Self {
            inner,
            cache: Arc::new(cache),
        }
    }
}

impl<S, B, ResB> Service<Request<B>> for HttpCache<S>
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
        let cache = Arc::clone(&self.cache);
        let state = match cache.route(&parts, has_content(&body)) {
            Route::Lookup(lookup) => {
                let completions = cache.state.coalescer.completions();
                let first = match cache.store.get(&lookup.key) {
                    Op::Ready(value) => {
                        let now = cache.now();
                        let stored = cache.decode(&lookup.key, &lookup.method, value, now);
                        match cache.hit(stored, &lookup, &parts, now) {
                            Ok(response) => {
                                let response = Some(response);
                                return State::Hit { response }.into();
                            }
                            Err(stored) => FirstLook::Found(stored),
                        }
                    }
                    op @ Op::Wait(_) => FirstLook::Waiting(op),
                };
                let fetch = Fetch {
                    inner: self.inner.clone(),
                    cache,
                    parts,
                    body,
                    lookup,
                };
                State::Miss {
                    fetch: Box::pin(fetch.run(first, completions)),
                }
            }
            Route::Bypass(reason) => State::Bypass {
                call: Oneshot::new(self.inner.clone(), Request::from_parts(parts, body)),
                cache,
                reason,
            },
            Route::Change(change) => {
                let bypassed = Bypassed {
                    inner: self.inner.clone(),
                    cache,
                    request: Request::from_parts(parts, body),
                    change,
                };
                State::Miss {
                    fetch: Box::pin(bypassed.run()),
                }
            }
        };
        state.into()
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
            StateProj::Hit { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProj::Miss { fetch } => fetch.as_mut().poll(cx),
            StateProj::Bypass {
                call,
                cache,
                reason,
            } => call.poll(cx).map_ok(|response| {
                let mut response = response.map(Body::passed);
                let status = response.status();
                cache.mark_bypassed(*reason, status, response.headers_mut());
                response
            }),
        }
    }
}

impl<S, B, ResB> From<State<S, B, ResB, S::Error>> for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>>,
{
    fn from(state: State<S, B, ResB, S::Error>) -> Self {
        Self { state }
    }
}

impl<S: Clone> Clone for HttpCache<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            cache: Arc::clone(&self.cache),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, ResB> fmt::Debug for ResponseFuture<S, B, ResB>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Bypass { .. } => "ResponseFuture(bypass)",
            State::Hit { .. } => "ResponseFuture(hit)",
            State::Miss { .. } => "ResponseFuture(miss)",
        })
    }
}
