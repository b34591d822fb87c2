//! One HTTP cache for several users, each with entries of their own: the key has the user in it.
//!
//! ```console
//! $ cargo run -p discovery-examples --example per_user
//!   the server gets GET from Anna
//! GET with token-of-anna: the orders of Anna
//!   the server gets GET from Ben
//! GET with token-of-ben: the orders of Ben
//! GET with token-of-anna: the orders of Anna
//! GET with token-of-ben: the orders of Ben
//!   the server gets GET from nobody
//! GET with no token: the orders of nobody
//!   the server gets POST from Anna
//! POST with token-of-anna: the orders of Anna
//!   the server gets GET from Anna
//! GET with token-of-anna: the orders of Anna
//! GET with token-of-ben: the orders of Ben
//! 3 from the cache
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use discovery_core::http::uri::file_name;
use discovery_http_cache::HttpCacheLayer;
use discovery_memory::MemoryStore;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// The hash of the credentials stands for the user, because keys end up in stores and in logs.
///
/// A request without credentials has no key and bypasses the cache. So does one with two `Authorization` fields: servers
/// differ about which of them counts. Where cookies or client certificates tell users apart, they belong in the key.
fn by_user(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let credentials = fields.next()?.to_str().ok()?;
    match fields.next() {
        None => Some(format!("{} {method} {uri}", file_name(credentials))),
        Some(_) => None,
    }
}

/// The server knows its users, and each of them has a list of orders.
async fn answer(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let authorization = request.headers().get(AUTHORIZATION);
    let user = match authorization.map(http::HeaderValue::as_bytes) {
        Some(b"Bearer token-of-anna") => "Anna",
        Some(b"Bearer token-of-ben") => "Ben",
        _ => "nobody",
    };
    println!("  the server gets {} from {user}", request.method());
    let mut response = Response::new(Full::from(format!("the orders of {user}")));
    let minute = "private, max-age=60".parse().expect("a value");
    response.headers_mut().insert(CACHE_CONTROL, minute);
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let cache = HttpCacheLayer::new(MemoryStore::new(64 << 20)).key(by_user);
    let client = ServiceBuilder::new()
        .layer(&cache)
        .service(service_fn(answer));

    for (method, token) in [
        (Method::GET, Some("token-of-anna")),
        (Method::GET, Some("token-of-ben")),
        (Method::GET, Some("token-of-anna")),
        (Method::GET, Some("token-of-ben")),
        (Method::GET, None),
        // An unsafe request ends the entries of its user. Ben's are used until they are stale, so that lists which several
        // users change should have short lifetimes.
        (Method::POST, Some("token-of-anna")),
        (Method::GET, Some("token-of-anna")),
        (Method::GET, Some("token-of-ben")),
    ] {
        let mut request = Request::builder().uri("https://shop.test/orders");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.method(&method).body(Full::default())?;
        let response = client.clone().oneshot(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        let user = token.unwrap_or("no token");
        println!("{method} with {user}: {}", str::from_utf8(&body)?);
    }
    let stats = cache.handle().stats();
    println!("{} from the cache", stats.hits);
    Ok(())
}
