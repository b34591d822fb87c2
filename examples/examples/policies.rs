//! An HTTP cache with policies of its own: which requests take part, how entries are named, how long they are fresh.
//!
//! ```console
//! $ cargo run -p discovery-examples --example policies
//!   the server is asked for /reports/1
//! red /reports/1: b"/reports/1 of red", Some("policies; fwd=uri-miss; stored")
//! red /reports/1: b"/reports/1 of red", Some("policies; hit; ttl=3600")
//!   the server is asked for /reports/1
//! blue /reports/1: b"/reports/1 of blue", Some("policies; fwd=uri-miss; stored")
//!   the server is asked for /private/1
//! blue /private/1: b"/private/1 of blue", Some("policies; fwd=bypass; detail=\"policy\"")
//!   the server is asked for /private/1
//! blue /private/1: b"/private/1 of blue", Some("policies; fwd=bypass; detail=\"policy\"")
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use discovery_http_cache::{CacheStatus, HttpCacheLayer};
use discovery_memory::MemoryStore;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri, response};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// Each tenant has entries of its own: one never gets another's.
fn key(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let tenant = headers.get("x-tenant")?.to_str().ok()?;
    Some(format!("{tenant} {method} {uri}"))
}

/// Reports count for an hour, whatever the server says.
fn lifetime(key: &str, _: &response::Parts, said: Duration) -> Duration {
    if key.contains("/reports/") {
        Duration::from_secs(3600)
    } else {
        said
    }
}

fn is_cacheable(request: &Parts) -> bool {
    !request.uri.path().starts_with("/private/")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = service_fn(|request: Request<Full<Bytes>>| async move {
        println!("  the server is asked for {}", request.uri().path());
        let tenant = request.headers()["x-tenant"].to_str().unwrap_or_default();
        let body = format!("{} of {tenant}", request.uri().path());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
    });
    let cache = HttpCacheLayer::new(MemoryStore::new(64 << 20))
        .key(key)
        .lifetime(lifetime)
        .cacheable(is_cacheable)
        .marker(CacheStatus::new("policies").expect("a name without odd characters"));
    let client = ServiceBuilder::new().layer(&cache).service(server);

    for (tenant, path) in [
        ("red", "/reports/1"),
        ("red", "/reports/1"),
        ("blue", "/reports/1"),
        ("blue", "/private/1"),
        ("blue", "/private/1"),
    ] {
        let request = Request::get(format!("http://api.test{path}")).header("x-tenant", tenant);
        let answer = client
            .clone()
            .oneshot(request.body(Full::default())?)
            .await?;
        let status = answer.headers().get("cache-status").cloned();
        let body = answer.into_body().collect().await?.to_bytes();
        println!("{tenant} {path}: {body:?}, {status:?}");
    }
    assert_eq!(cache.handle().stats().hits, 1);
    Ok(())
}
