//! A cache in front of a server that answers when the test says so.

use std::task::Poll;

use bytes::Bytes;
use discovery_core::store::MapStore;
use discovery_core::sync::clock::ManualClock;
use discovery_http_cache::{Body, HttpCache, HttpCacheLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use tower::util::Oneshot;
use tower::{BoxError, Layer, ServiceExt};
use tower_test::mock::{self, Handle, Mock, SendResponse};

use super::{Broken, TestBody, get, now, response};

pub type Req = Request<Empty<Bytes>>;
pub type Res = Response<TestBody>;
pub type Inner = Mock<Req, Res>;
pub type Task = Spawn<Oneshot<HttpCache<Inner>, Req>>;

pub struct Mocked {
    pub layer: HttpCacheLayer<MapStore>,
    pub store: MapStore,
    pub clock: ManualClock,
    pub service: HttpCache<Inner>,
    pub handle: Handle<Req, Res>,
}

impl Mocked {
    pub fn new() -> Self {
        Self::with(|layer| layer)
    }

    pub fn with(
        configure: impl FnOnce(HttpCacheLayer<MapStore>) -> HttpCacheLayer<MapStore>,
    ) -> Self {
        let (inner, handle) = mock::pair();
        let clock = ManualClock::new(now());
        let store = MapStore::new();
        let layer = configure(HttpCacheLayer::new(store.clone()).clock(clock.clone()));
        Self {
            service: layer.layer(inner),
            layer,
            store,
            clock,
            handle,
        }
    }

    pub fn pass(&self, secs: u64) {
        self.clock.advance(std::time::Duration::from_secs(secs));
    }

    pub fn send(&self, request: Req) -> Task {
        task::spawn(self.service.clone().oneshot(request))
    }

    pub fn ask(&self, headers: &[(&str, &str)]) -> Task {
        self.send(get(headers))
    }

    /// One request, answered and read.
    pub fn fill(&mut self, answer: Res) -> Bytes {
        let mut task = self.ask(&[]);
        assert_pending!(task.poll());
        self.next().unwrap().1.send_response(answer);
        body(assert_ready!(task.poll()))
    }

    /// So many requests, all of which have begun.
    pub fn crowd(&self, size: usize) -> Vec<Task> {
        let mut crowd: Vec<_> = (0..size).map(|_| self.ask(&[])).collect();
        for task in &mut crowd {
            assert_pending!(task.poll());
        }
        crowd
    }

    pub fn next(&mut self) -> Option<(Req, SendResponse<Res>)> {
        next(&mut self.handle)
    }
}

/// The next request that is with the server, if there is one.
pub fn next(handle: &mut Handle<Req, Res>) -> Option<(Req, SendResponse<Res>)> {
    match task::spawn(handle.next_request()).poll() {
        Poll::Ready(request) => request,
        Poll::Pending => None,
    }
}

pub fn boxed<B>(response: Response<B>) -> Res
where
    B: http_body::Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

pub fn ok(headers: &[(&str, &str)], body: &'static str) -> Res {
    boxed(response(200, headers, Full::from(body)))
}

pub fn body(response: Result<Response<Body<TestBody>>, BoxError>) -> Bytes {
    let collected = assert_ready!(task::spawn(response.unwrap().collect()).poll());
    collected.unwrap().to_bytes()
}
