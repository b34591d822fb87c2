//! The common parts of the HTTP cache's benchmarks: servers, caches around them, one request.

pub mod caches;
pub mod origin;
pub mod plain;

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tower::{Service, ServiceExt};

/// The body sizes that are measured.
pub const SIZES: [usize; 3] = [1 << 10, 64 << 10, 512 << 10];

/// A GET as clients send it.
#[must_use]
pub fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri)
        .header("accept", "application/json")
        .header("user-agent", "bench/1.0")
        .body(Empty::new())
        .expect("a URI and two fields")
}

/// A response, its body read to the end.
pub async fn send<S, B>(service: &mut S, request: Request<Empty<Bytes>>) -> Response<Bytes>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: Debug,
    B: http_body::Body,
    B::Error: Debug,
{
    let ready = service.ready().await.expect("ready");
    let response = ready.call(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response::from_parts(parts, body)
}

/// A body of JSON's kind of bytes: they are not all the same.
#[must_use]
pub fn body(size: usize) -> Bytes {
    (0..size).map(|n| b' ' + (n % 89) as u8).collect()
}

/// The runtime of everything that one thread does.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
