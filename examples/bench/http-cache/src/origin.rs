//! Servers: in the process, and on loopback.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::Service;

/// Always answers the same, at once. As cheap to clone as tower's services are meant to be.
#[derive(Clone)]
pub struct Fixed {
    headers: Arc<HeaderMap>,
    body: Bytes,
}

impl Fixed {
    /// With these headers and this body.
    #[must_use]
    pub fn new(headers: HeaderMap, body: Bytes) -> Self {
        Self {
            headers: Arc::new(headers),
            body,
        }
    }

    /// A response that is fresh for a day, with the fields that servers send.
    #[must_use]
    pub fn fresh(size: usize) -> Self {
        let mut headers = common("public, max-age=86400");
        headers.insert(header::DATE, date(SystemTime::now()));
        headers.insert(header::CONTENT_LENGTH, size.into());
        Self::new(headers, crate::body(size))
    }
}

impl<B> Service<Request<B>> for Fixed {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = HeaderMap::clone(&self.headers);
        ready(Ok(response))
    }
}

/// Confirms what its clients have, with a new `Date` and a new request id each time.
#[derive(Clone)]
pub struct Confirming {
    headers: HeaderMap,
    body: Bytes,
    first: SystemTime,
    asked: Arc<AtomicU64>,
}

impl Confirming {
    /// A server of one document, whose clients have to ask each time.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            headers: common("no-cache, private"),
            body: crate::body(size),
            first: SystemTime::now() - Duration::from_secs(100_000_000),
            asked: Arc::default(),
        }
    }

    /// How many requests have come.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl<B> Service<Request<B>> for Confirming {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let known = request.headers().contains_key(header::IF_NONE_MATCH);
        let body = if known {
            Bytes::new()
        } else {
            self.body.clone()
        };
        let mut response = Response::new(Full::new(body));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        *response.headers_mut() = self.headers.clone();
        let now = self.first + Duration::from_secs(asked);
        response.headers_mut().insert(header::DATE, date(now));
        response.headers_mut().insert("audit-id", asked.into());
        ready(Ok(response))
    }
}

/// A client of one server on loopback.
pub type Loopback = Client<HttpConnector, Empty<Bytes>>;

/// Starts a server on the runtime of the client: two threads would measure how long it takes to
/// wake one whose processor has gone to sleep while the other wrote. The path is the size of the body,
/// behind its first slash.
///
/// # Panics
///
/// If there is no loopback.
#[must_use]
pub fn serve(runtime: &Runtime) -> SocketAddr {
    let bound = TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(bound).expect("a port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        let bodies = crate::SIZES.map(crate::body);
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket's option");
            let bodies = bodies.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                ready(Ok::<_, Infallible>(answer(&bodies, request.uri().path())))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

/// A client that keeps its connections.
#[must_use]
pub fn client() -> Loopback {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

fn answer(bodies: &[Bytes], path: &str) -> Response<Full<Bytes>> {
    let size = path.split('/').nth(1).and_then(|size| size.parse().ok());
    let body = bodies.iter().find(|body| Some(body.len()) == size);
    let mut response = Response::new(Full::new(body.expect("a known size").clone()));
    *response.headers_mut() = common("public, max-age=86400");
    response
}

fn common(control: &'static str) -> HeaderMap {
    [
        (header::CACHE_CONTROL, control),
        (header::CONTENT_TYPE, "application/json"),
        (header::ETAG, "\"5ca997c6b1259d5bad9a8276486ce414\""),
        (header::VARY, "Accept"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .into_iter()
    .collect()
}

/// A field value for an instant.
///
/// # Panics
///
/// After the year 9999.
#[must_use]
pub fn date(time: SystemTime) -> HeaderValue {
    httpdate::fmt_http_date(time)
        .try_into()
        .expect("letters and digits")
}
