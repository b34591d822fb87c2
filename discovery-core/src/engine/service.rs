use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::fetch::Miss;
use super::handle::Counters;
use super::{Body, Cache, Engine, Refresh};
use crate::store::Op;

/// An HTTP service behind a discovery cache. The [module documentation](super) tells what it does.
///
/// Made by [`Engine::service`], or by a layer. Request bodies must be made from [`Bytes`] somehow,
/// because the cache sends requests of its own.
pub struct DiscoveryService<S, C> {
    inner: S,
    engine: Engine<C>,
}

impl<S, C> DiscoveryService<S, C> {
    pub(super) const fn new(inner: S, engine: Engine<C>) -> Self {
        Self { inner, engine }
    }
}

impl<S, C, B, RB> Service<Request<B>> for DiscoveryService<S, C>
where
    C: Cache,
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Error: Send,
    S::Future: Send,
    B: From<Bytes> + Send + 'static,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Send,
{
    type Response = Response<Body<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, RB, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was waited for must be the one that is called; if it isn't called, the
        // readiness goes with it.
        let spare = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, spare.clone());
        let shared = &self.engine.shared;
        let Some(ask) = shared.classify(&request) else {
            Counters::count(&shared.counters.passed);
            return ResponseFuture {
                kind: Kind::Pass {
                    future: ready.call(request),
                },
            };
        };
        let saves = shared.saves();
        let (load, known) = match shared.load(&ask) {
            Some(Op::Ready(snapshot)) => match shared.answer(&ask, &snapshot, true) {
                Some(response) => {
                    Counters::count(&shared.counters.hits);
                    return ResponseFuture {
                        kind: Kind::Hit {
                            response: Some(response),
                        },
                    };
                }
                None => (None, Some(snapshot)),
            },
            load => (load, None),
        };
        // What the caches below knew before the last refresh must not come back as new, and what is
        // sent for one caller is one refresh, however many requests it is.
        if ask.generation > 0 {
            request.extensions_mut().insert(Refresh::of(ask.generation));
        }
        let miss = Miss {
            shared: Arc::clone(shared),
            ask,
            request,
            ready,
            spare,
            known,
            saves,
        };
        ResponseFuture {
            kind: Kind::Miss {
                future: Box::pin(miss.after(load)),
            },
        }
    }
}

impl<S: Clone, C> Clone for DiscoveryService<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            engine: self.engine.clone(),
        }
    }
}

impl<S: fmt::Debug, C: Cache> fmt::Debug for DiscoveryService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryService")
            .field("inner", &self.inner)
            .field("engine", &self.engine)
            .finish()
    }
}

pin_project! {
    /// The future of a [`DiscoveryService`]. For a hit it is ready at once, and for what passes it
    /// is the inner service's.
    pub struct ResponseFuture<F, RB: HttpBody, E> {
        #[pin]
        kind: Kind<F, RB, E>,
    }
}

type Answered<RB, E> = Result<Response<Body<RB>>, E>;

pin_project! {
    #[project = KindProj]
    enum Kind<F, RB: HttpBody, E> {
        Pass { #[pin] future: F },
        Hit { response: Option<Response<Body<RB>>> },
        Miss { future: Pin<Box<dyn Future<Output = Answered<RB, E>> + Send>> },
    }
}

impl<F, RB, E> Future for ResponseFuture<F, RB, E>
where
    F: Future<Output = Result<Response<RB>, E>>,
    RB: HttpBody<Data = Bytes>,
{
    type Output = Answered<RB, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Pass { future } => {
                future.poll(cx).map_ok(|response| response.map(Body::inner))
            }
            KindProj::Hit { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            KindProj::Miss { future } => future.as_mut().poll(cx),
        }
    }
}

impl<F, RB: HttpBody, E> fmt::Debug for ResponseFuture<F, RB, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Pass { .. } => "Pass",
            Kind::Hit { .. } => "Hit",
            Kind::Miss { .. } => "Miss",
        };
        f.debug_struct("ResponseFuture")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}
