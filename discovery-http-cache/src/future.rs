use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use discovery_core::store::{Op, Value};
use http::{Request, Response};
use hyper::rt::Sleep;
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::debug;

use crate::cache::{Cache, Found, Route};
use crate::crowd::{Follower, News};
use crate::drain::{Drain, Settle};
use crate::exchange::{Exchange, Step};
use crate::pass::{Pass, Target, passed};
use crate::policy::request::Bypass;
use crate::redact::Redacted;
use crate::refresh::{NoRefresh, Refresh, Refresher};
use crate::share::failed;
use crate::steps::{Answer, Look, Next, Pending, Ready, Stage};
use crate::steps::{decide, first, go, look, look_again, looked, unsent};

pin_project! {
    /// The future of [`HttpCache`](crate::HttpCache).
    pub struct ResponseFuture<S, B, ResB, X = NoRefresh>
    where
        S: Service<Request<B>>,
        ResB: http_body::Body,
    {
        cache: Arc<Cache>,
        refresher: X,
        #[pin]
        state: State<S, B, ResB, S::Future, S::Error>,
    }
}

pin_project! {
    #[project = StateProj]
    // Where a request is.
    pub(crate) enum State<S, B, ResB, F, E>
    where
        ResB: http_body::Body,
    {
        // Removing the entry that a request is known to make useless.
        Removing {
            op: Op<io::Result<()>>,
            key: String,
            pass: Option<Box<Pass<S, B>>>,
        },
        // With the inner service, none of the cache's business.
        Passing { #[pin] future: F, target: Option<Box<Target>>, why: Bypass },
        // Waiting for the store.
        Looking { op: Op<io::Result<Option<Value>>>, look: Option<Box<Look<S, B>>> },
        // Waiting for another request.
        Following {
            follower: Box<Follower>,
            timeout: Option<Pin<Box<dyn Sleep>>>,
            pending: Option<Box<Pending<S, B>>>,
            found: Option<Found>,
        },
        // Waiting for the inner service to be ready.
        Readying { ready: Option<Box<Ready<S, B>>> },
        // Waiting for the inner service's answer.
        Asking { #[pin] future: F, exchange: Option<Box<Exchange>> },
        // Reading the body ahead.
        Draining { drain: Option<Box<Drain<ResB>>> },
        // Waiting for the store before answering.
        Settling { settle: Option<Box<Settle<ResB, E>>> },
        // With what the store had, which is no answer by itself.
        Found { both: Option<Box<(Look<S, B>, Option<Found>)>> },
        // With the answer, unless that is given.
        Answered { answer: Option<Answer<ResB, E>> },
    }
}

impl<S, B, ResB, X> ResponseFuture<S, B, ResB, X>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: http_body::Body<Data = Bytes>,
{
    /// `inner` is ready.
    pub(crate) fn new(cache: Arc<Cache>, inner: S, request: Request<B>, refresher: X) -> Self {
        let (parts, body) = request.into_parts();
        let state = match cache.route(&parts) {
            Route::Pass {
                remove,
                invalidate,
                stores,
                why,
            } => {
                let target = (!invalidate.is_empty()).then(|| {
                    let headers = parts.headers.clone();
                    let stores = stores.then(|| cache.now());
                    Box::new(Target {
                        uris: invalidate,
                        headers,
                        stores,
                    })
                });
                let request = Request::from_parts(parts, body);
                let mut pass = Pass {
                    inner,
                    request,
                    target,
                    why,
                };
                match remove {
                    Some(key) => State::Removing {
                        op: cache.remove(&key),
                        key,
                        pass: Some(Box::new(pass)),
                    },
                    None => State::Passing {
                        future: pass.inner.call(pass.request),
                        target: pass.target,
                        why: pass.why,
                    },
                }
            }
            Route::Lookup(ask) => {
                let pending = Pending {
                    inner,
                    ready: true,
                    parts,
                    body,
                    ask,
                };
                first(&cache, pending)
            }
        };
        Self::in_state(cache, state, refresher)
    }

    pub(crate) fn in_state(
        cache: Arc<Cache>,
        state: State<S, B, ResB, S::Future, S::Error>,
        refresher: X,
    ) -> Self {
        Self {
            cache,
            refresher,
            state,
        }
    }
}

impl<S, B, ResB, X> Future for ResponseFuture<S, B, ResB, X>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
    X: Refresher<Refresh<S, B, ResB>>,
{
    type Output = Answer<ResB, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const TWICE: &str = "polled after it was ready";
        let mut this = self.project();
        let cache = &*this.cache;
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Removing { op, key, pass } => {
                    if let Err(error) = ready!(Pin::new(op).poll(cx)) {
                        cache.store_failed(key, "remove", &error);
                    }
                    let mut pass = pass.take().expect(TWICE);
                    Next::State(State::Passing {
                        future: pass.inner.call(pass.request),
                        target: pass.target,
                        why: pass.why,
                    })
                }
                StateProj::Passing {
                    future,
                    target,
                    why,
                } => {
                    let result = ready!(future.poll(cx));
                    passed(cache, target.take(), *why, result)
                }
                StateProj::Looking { op, look } => {
                    let value = ready!(Pin::new(op).poll(cx));
                    looked(cache, *look.take().expect(TWICE), value, X::RUNS)
                }
                StateProj::Following {
                    follower,
                    timeout,
                    pending,
                    found,
                } => {
                    let news = match (follower.poll(cx), timeout) {
                        (Poll::Ready(news), _) => news,
                        (Poll::Pending, Some(timeout)) => {
                            ready!(timeout.as_mut().poll(cx));
                            News::TooLong
                        }
                        (Poll::Pending, None) => return Poll::Pending,
                    };
                    let pending = *pending.take().expect(TWICE);
                    debug!(
                        key = %Redacted::new(&pending.ask.key),
                        decision = "go on",
                        reason = news.as_str()
                    );
                    match news {
                        News::Landed => look_again(cache, pending, X::RUNS),
                        News::Lead(lead) => look(cache, pending, Stage::Leading(lead), X::RUNS),
                        News::Failed(status) => {
                            failed(cache, pending, found.take(), status, follower.epoch())
                        }
                        News::Released | News::TooLong => go(cache, pending, found.take(), None),
                    }
                }
                StateProj::Readying { ready } => {
                    let waiting = ready.as_mut().expect(TWICE);
                    let result = ready!(waiting.pending.inner.poll_ready(cx));
                    let mut ready = *ready.take().expect(TWICE);
                    match result {
                        Ok(()) => {
                            ready.pending.ready = true;
                            go(cache, ready.pending, ready.found, ready.lead)
                        }
                        Err(error) => unsent(cache, ready, error).into(),
                    }
                }
                StateProj::Asking { future, exchange } => {
                    let result = ready!(future.poll(cx));
                    exchange.take().expect(TWICE).answer(cache, result).into()
                }
                StateProj::Draining { drain } => {
                    ready!(drain.as_mut().expect(TWICE).poll(cx));
                    Next::Answer(Ok(drain.take().expect(TWICE).finish(cache)))
                }
                StateProj::Settling { settle } => {
                    ready!(settle.as_mut().expect(TWICE).poll(cache, cx));
                    Next::Answer(settle.take().expect(TWICE).finish())
                }
                StateProj::Found { both } => {
                    let (look, found) = *both.take().expect(TWICE);
                    decide(cache, look, found, X::RUNS)
                }
                StateProj::Answered { answer } => Next::Answer(answer.take().expect(TWICE)),
            };
            match next {
                Next::State(state) => this.state.set(state),
                Next::Answer(answer) => {
                    // What the inner service's future still holds is for others now.
                    this.state.set(State::Answered { answer: None });
                    return Poll::Ready(answer);
                }
                Next::Refresh(state, answer) => {
                    this.state.set(State::Answered { answer: None });
                    this.refresher.run(Refresh::new(Arc::clone(cache), state));
                    return Poll::Ready(answer);
                }
            }
        }
    }
}

impl<S, B, ResB: http_body::Body, F, E> From<Step<ResB, E>> for Next<S, B, ResB, F, E> {
    fn from(step: Step<ResB, E>) -> Self {
        match step {
            Step::Answer(answer) => Self::Answer(answer),
            Step::Settle(settle) => Self::State(State::Settling {
                settle: Some(Box::new(settle)),
            }),
            Step::Drain(drain) => Self::State(State::Draining { drain: Some(drain) }),
        }
    }
}

impl<S, B, ResB, X> fmt::Debug for ResponseFuture<S, B, ResB, X>
where
    S: Service<Request<B>>,
    ResB: http_body::Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
