//! reqwest behind a private HTTP cache: its client is a tower service, and `http`'s types are converted on the way.
//!
//! ```console
//! $ cargo run -p discovery-examples --example reqwest
//!   the server is asked for /forecast
//! /forecast: 23 °C, example; fwd=uri-miss; stored
//! /forecast: 23 °C, example; hit; ttl=60
//!   the server is asked for /news
//! /news: nothing new, example; fwd=uri-miss; stored
//!   the server is asked for /news
//!   the server says: not modified
//! /news: nothing new, example; fwd=stale; fwd-status=304; ttl=0
//! 1 hit, 1 revalidated
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::convert::Infallible;
use std::error::Error;

use discovery_http_cache::{CacheStatus, HttpCacheLayer};
use discovery_memory::MemoryStore;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::redirect::Policy;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener));

    // The cache stores each step of a redirect under its own URI. So reqwest must not follow it by itself: a layer
    // around the cache does, such as tower-http's `FollowRedirectLayer`. The same is true of decoding.
    let client = reqwest::Client::builder().redirect(Policy::none());
    let cache = HttpCacheLayer::new(MemoryStore::new(64 << 20))
        .marker(CacheStatus::new("example").expect("a name without odd characters"));
    let client = ServiceBuilder::new()
        .layer(&cache)
        .map_response(Response::<reqwest::Body>::from)
        .filter(|request: Request<reqwest::Body>| reqwest::Request::try_from(request))
        .service(client.build()?);

    for path in ["/forecast", "/forecast", "/news", "/news"] {
        let request = Request::get(format!("{server}{path}")).body(reqwest::Body::default())?;
        let response = client.clone().oneshot(request).await?;
        let status = response.headers()["cache-status"].to_str()?.to_owned();
        // A `reqwest::Response` has reqwest's methods, such as `json`.
        let response = reqwest::Response::from(response.map(reqwest::Body::wrap));
        println!("{path}: {}, {status}", response.text().await?);
    }
    let stats = cache.handle().stats();
    println!("{} hit, {} revalidated", stats.hits, stats.revalidations);
    Ok(())
}

/// A forecast is right for a minute. News have to be asked for each time, and mostly are the same.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    println!("  the server is asked for {}", request.uri().path());
    let mut response = Response::new(String::new());
    if request.uri().path() == "/forecast" {
        *response.body_mut() = "23 °C".to_owned();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, "max-age=60".parse().expect("a value"));
        return Ok(response);
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, "no-cache".parse().expect("a value"));
    headers.insert(ETAG, "\"v1\"".parse().expect("a value"));
    if request.headers().contains_key(IF_NONE_MATCH) {
        println!("  the server says: not modified");
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = "nothing new".to_owned();
    }
    Ok(response)
}

async fn serve(listener: TcpListener) {
    while let Ok((connection, _)) = listener.accept().await {
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(connection), service_fn(answer)));
    }
}
