//! A cache in front of a scripted server, with a clock that stands still.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses a part"
)]

pub mod mocked;
pub mod slow;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::store::{MapStore, Store};
use discovery_core::sync::clock::{Clock, ManualClock};
use discovery_http_cache::{HttpCache, HttpCacheLayer, Stats};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt};

pub use discovery_core::testing::Gate;
use discovery_core::testing::{BodyScript, BodyStep, FrameCount, ResponseFuture, ScriptedService};

pub const URI: &str = "https://h:6443/apis?timeout=32s";

pub type TestBody = UnsyncBoxBody<Bytes, Broken>;

/// The server's error. The cache must hand it out as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken(pub &'static str);

/// A server that answers in the order in which the answers were given, with the tests' own error.
#[derive(Clone, Default)]
pub struct Server(ScriptedService<TestBody, Broken>);

pub struct World {
    pub clock: ManualClock,
    pub server: Server,
    pub store: MapStore,
    pub layer: HttpCacheLayer<MapStore>,
    pub service: HttpCache<Server>,
}

/// A body in pieces that does not say how long it is, nor when it is about to end.
pub struct Pieces {
    script: BodyScript<Broken>,
    /// How many have been read.
    pub read: FrameCount,
}

#[derive(Clone, Debug)]
pub enum Piece {
    Data(&'static str),
    Bytes(Bytes),
    Trailers,
    Fail,
    /// Nothing comes until the gate is open.
    Gate(Gate),
}

/// The response that the caller got.
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
        let asked = self.server.0.requests().into_iter().nth(before);
        let asked = asked.map(|request| request.into_parts().0);
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
        self.0.respond(response);
    }

    pub fn fail(&self) {
        self.0.fail(Broken("refused"));
    }

    /// The last request that it got.
    pub fn last(&self) -> request::Parts {
        self.0.last_request().unwrap().into_parts().0
    }

    pub fn requests(&self) -> usize {
        self.0.request_count()
    }
}

impl<B> Service<Request<B>> for Server {
    type Response = Response<TestBody>;
    type Error = Broken;
    type Future = ResponseFuture<TestBody, Broken>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Service::<Request<B>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request)
    }
}

impl Pieces {
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let script: BodyScript<_> = pieces.into_iter().map(BodyStep::from).collect();
        Self {
            read: script.frames_read(),
            script,
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
        Pin::new(&mut self.script).poll_frame(cx)
    }
}

impl Piece {
    pub fn again(&self) -> Self {
        self.clone()
    }
}

impl From<Piece> for BodyStep<Broken> {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Data(data) => Self::Data(data.into()),
            Piece::Bytes(data) => Self::Data(data),
            Piece::Trailers => Self::Trailers(map(&[("x-trailer", "1")])),
            Piece::Fail => Self::Error(Broken("cut")),
            Piece::Gate(gate) => Self::Wait(gate),
        }
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
