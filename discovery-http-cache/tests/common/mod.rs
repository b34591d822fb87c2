//! A cache in front of a scripted server, with a clock that stands still.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses a part"
)]

pub mod mocked;
pub mod slow;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::clock::{Clock, ManualClock};
use discovery_core::store::{MapStore, Store};
use discovery_http_cache::{HttpCache, HttpCacheLayer, Stats};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt};

pub const URI: &str = "https://h:6443/apis?timeout=32s";

pub type TestBody = UnsyncBoxBody<Bytes, Broken>;

/// The server's error. The cache must hand it out as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken(pub &'static str);

/// Answers in the order that they were given, and remembers what it was asked.
#[derive(Clone, Default)]
pub struct Server {
    state: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Result<Response<TestBody>, Broken>>,
    requests: Vec<request::Parts>,
}

pub struct World {
    pub clock: ManualClock,
    pub server: Server,
    pub store: MapStore,
    pub layer: HttpCacheLayer<MapStore>,
    pub service: HttpCache<Server>,
}

/// A body in pieces that does not say how long it is, nor when it is about to end.
pub struct Pieces {
    pieces: VecDeque<Piece>,
    /// How many have been read.
    pub read: Arc<AtomicUsize>,
}

pub enum Piece {
    Data(&'static str),
    Bytes(Bytes),
    Trailers,
    Fail,
    /// Nothing comes until the gate is open.
    Gate(Gate),
}

/// Holds a body back.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

/// What the caller got.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The request that the server got for it.
    pub asked: Option<request::Parts>,
}

impl World {
    pub fn new(
        configure: impl FnOnce(HttpCacheLayer<MapStore>) -> HttpCacheLayer<MapStore>,
    ) -> Self {
        let clock = ManualClock::new(now());
        let server = Server::default();
        let store = MapStore::new();
        let layer = configure(HttpCacheLayer::new(store.clone()).clock(clock.clone()));
        let service = layer.layer(server.clone());
        Self {
            clock,
            server,
            store,
            layer,
            service,
        }
    }

    pub fn strict() -> Self {
        Self::new(|layer| layer)
    }

    pub fn kubectl() -> Self {
        Self::new(HttpCacheLayer::kubectl)
    }

    pub fn stats(&self) -> Stats {
        self.layer.handle().stats()
    }

    pub fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    pub async fn send<B>(&self, request: Request<B>) -> Result<Got, Broken>
    where
        B: http_body::Body + Send + 'static,
    {
        let before = self.server.requests();
        let response = self.service.clone().oneshot(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(Broken::from)?.to_bytes();
        let asked = self
            .server
            .state
            .lock()
            .unwrap()
            .requests
            .get(before)
            .cloned();
        Ok(Got {
            status: parts.status,
            headers: parts.headers,
            body,
            asked,
        })
    }

    pub async fn get(&self, headers: &[(&str, &str)]) -> Got {
        self.send(get(headers)).await.unwrap()
    }

    /// The bytes in the store under `key`.
    pub async fn stored(&self, key: &str) -> Option<String> {
        let value = self.store.get(key).await.unwrap()?;
        Some(String::from_utf8(value.into_bytes().to_vec()).unwrap())
    }
}

impl Server {
    /// The next answer is a 200 with these headers and body, sent now.
    pub fn ok(&self, headers: &[(&str, &str)], body: &'static str) {
        self.answer(200, headers, body);
    }

    pub fn answer(&self, status: u16, headers: &[(&str, &str)], body: &'static str) {
        self.respond(response(status, headers, Full::from(body)));
    }

    pub fn respond<B>(&self, response: Response<B>)
    where
        B: http_body::Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
    {
        let response = response.map(|body| body.map_err(Into::into).boxed_unsync());
        self.state.lock().unwrap().answers.push_back(Ok(response));
    }

    pub fn fail(&self) {
        let error = Err(Broken("refused"));
        self.state.lock().unwrap().answers.push_back(error);
    }

    /// The last request that it got.
    pub fn last(&self) -> request::Parts {
        self.state.lock().unwrap().requests.last().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }
}

impl<B> Service<Request<B>> for Server {
    type Response = Response<TestBody>;
    type Error = Broken;
    type Future = Ready<Result<Self::Response, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut state = self.state.lock().unwrap();
        state.requests.push(request.into_parts().0);
        let answer = state.answers.pop_front();
        ready(answer.unwrap_or_else(|| panic!("asked once too often: {:?}", state.requests.last())))
    }
}

impl Pieces {
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self {
            pieces: pieces.into_iter().collect(),
            read: Arc::default(),
        }
    }
}

impl Piece {
    pub fn again(&self) -> Self {
        match self {
            Self::Data(data) => Self::Data(data),
            Self::Bytes(data) => Self::Bytes(data.clone()),
            Self::Trailers => Self::Trailers,
            Self::Fail => Self::Fail,
            Self::Gate(gate) => Self::Gate(gate.clone()),
        }
    }
}

impl Gate {
    pub fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }

    pub fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(Piece::Gate(gate)) = self.pieces.front() {
            if gate.poll_open(cx).is_pending() {
                return Poll::Pending;
            }
            self.pieces.pop_front();
        }
        let frame = match self.pieces.pop_front() {
            None => return Poll::Ready(None),
            Some(Piece::Data(data)) => Ok(Frame::data(data.into())),
            Some(Piece::Bytes(data)) => Ok(Frame::data(data)),
            Some(Piece::Trailers) => Ok(Frame::trailers(map(&[("x-trailer", "1")]))),
            Some(Piece::Fail) => Err(Broken("cut")),
            Some(Piece::Gate(_)) => panic!("two gates in a row"),
        };
        self.read.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(frame))
    }
}

impl From<std::convert::Infallible> for Broken {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// The error of a body: the server's own, or one that the cache has made.
impl From<discovery_core::BoxError> for Broken {
    fn from(error: discovery_core::BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(error) => match error
                .source()
                .and_then(|source| source.downcast_ref::<Self>())
            {
                Some(own) => own.clone(),
                None => Self("another error"),
            },
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A header of the request that the server got.
    pub fn asked(&self, name: &str) -> Option<&str> {
        let asked = self.asked.as_ref().expect("the server was not asked");
        asked.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// No content.
pub fn empty() -> Empty<Bytes> {
    Empty::new()
}

pub fn get(headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    request(Method::GET, headers)
}

pub fn request(method: Method, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(URI)
        .body(empty())
        .unwrap();
    *request.headers_mut() = map(headers);
    request
}

pub fn response<B>(status: u16, headers: &[(&str, &str)], body: B) -> Response<B> {
    let mut response = Response::builder().status(status).body(body).unwrap();
    *response.headers_mut() = map(headers);
    response
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

pub fn now() -> SystemTime {
    // 2026-11-21T23:10:00Z
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_302_600)
}

/// The HTTP date so many seconds from the start.
pub fn date(offset: i64) -> String {
    let time = if offset < 0 {
        now() - Duration::from_secs(offset.unsigned_abs())
    } else {
        now() + Duration::from_secs(offset.unsigned_abs())
    };
    httpdate::fmt_http_date(time)
}

/// A clock for layers that are made by hand.
pub fn clock() -> impl Clock {
    ManualClock::new(now())
}
