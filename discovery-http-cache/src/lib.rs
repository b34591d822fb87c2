#![doc = include_str!("../README.md")]
//!
//! # Time and confirmation
//!
//! ```
//! use bytes::Bytes;
//! use discovery_http_cache::{HttpCacheLayer, ManualClock, MapStore};
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Empty, Full};
//! use std::time::{Duration, SystemTime};
//! use tower::{Layer, ServiceExt};
//!
//! # tokio_test::block_on(async {
//! // A server that confirms what its clients have.
//! let server = tower::service_fn(|request: Request<Empty<Bytes>>| async move {
//!     let known = request.headers().contains_key("if-none-match");
//!     let response = Response::builder()
//!         .status(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK })
//!         .header("etag", "\"v1\"")
//!         .header("cache-control", "max-age=60");
//!     let body = if known { "" } else { "a large document" };
//!     Ok::<_, std::convert::Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
//! });
//!
//! let clock = ManualClock::new(SystemTime::now());
//! let layer = HttpCacheLayer::new(MapStore::new()).clock(clock.clone());
//! let service = layer.layer(server);
//! for _ in 0..3 {
//!     let request = Request::get("https://example.com/document").body(Empty::new()).unwrap();
//!     let response = service.clone().oneshot(request).await.unwrap();
//!     assert_eq!(response.collect().await.unwrap().to_bytes(), "a large document");
//!     clock.advance(Duration::from_secs(40));
//! }
//! let stats = layer.handle().stats();
//! assert_eq!((stats.misses, stats.hits, stats.revalidations), (1, 1, 1));
//! # });
//! ```
//!
//! # One layer, one user
//!
//! The cache is private: one caller may get the response that was sent to another. A layer, with all its services and
//! clones, is therefore for one user, with one set of credentials. Several users need a layer each, with a store of its
//! own, or a [key](RequestKey) that has the user in it. `Authorization` in a request changes nothing (RFC 9111 §3.5 is
//! for shared caches).
//!
//! # What is stored and reused
//!
//! The cache stores answers to GET and HEAD, as far as RFC 9111 allows a private cache: those of any final status with an
//! explicit lifetime, those with status 200 that can be validated, and, by heuristics, those that have not changed for
//! long. It never stores a response whose `Vary` names `Authorization`, `Cookie`, `Proxy-Authorization` or an
//! `Impersonate-` field, because the secret would be written beside it; nor one whose `Vary` names a field that is
//! [sensitive](http::HeaderValue::is_sensitive) in the request.
//!
//! The answer to a GET serves GET, HEAD, requests with conditions and requests for one range. Each variant under `Vary`
//! has an entry, up to [`max_variants`](HttpCacheLayer::max_variants) for each URI. A stale response is validated by its
//! ETag and `Last-Modified`. A final answer other than a 304 replaces or removes the entry, unless `stale-if-error` or
//! [`keep_on_error`](HttpCacheLayer::keep_on_error) lets it stay. A server that can't be reached at all removes nothing.
//! With [`stale_if_disconnected`](HttpCacheLayer::stale_if_disconnected) the stale response is then served. With
//! [an executor](HttpCacheLayer::executor), `stale-while-revalidate` is honoured: the caller gets the stale response, and
//! a refresh runs in the background.
//!
//! Some requests bypass the cache: upgrades, requests with content, requests with conditions on the resource
//! (`If-Match`), requests that a [policy](Cacheable) excludes, and requests whose `Host` names another server than their
//! URI. A relative URI does not tell servers apart, so such requests bypass the cache too, with one warning, unless
//! the layer has an [authority](HttpCacheLayer::authority) or takes it [from
//! `Host`](HttpCacheLayer::authority_from_host). [`CacheStatus`] tells the reason.
//!
//! A request body has to implement [`http_body::Body`], because its size hint decides whether a request has content: an
//! HTTP client may add `Content-Length` below the cache.
//!
//! A successful unsafe request invalidates the entries of its URI, and of the URIs on the same origin that `Location`
//! and `Content-Location` name. A response that was requested before is not stored any more, whenever it comes, and
//! later requests do not wait for it.
//!
//! A superseded entry is removed at once, even if its replacement can't be stored, because its body is cut or too large.
//! The response decides how long it is fresh, or a [policy](Lifetime).
//!
//! # Its place among other layers
//!
//! - *Redirects*: a layer that follows them, such as tower-http's `FollowRedirect`, belongs outside of the
//!   cache, so that each step is stored under its own URI. See [`ResponseUri`] for the other order.
//! - *Decompression* belongs outside, too: the stored bytes are those that the server sent. The cache never
//!   serves a part of a response with a `Content-Encoding`, because a layer that decodes it could make no
//!   sense of the part. It serves all of it with 200 (RFC 9110 §14.2).
//! - *Timeouts, retries and credentials* that are for the server belong inside, next to it. A layer that
//!   selects the user by a request field needs a cache of its own for each user, or a [key](RequestKey).
//! - *In front of a server*, such as around an axum `Router`, the URIs of HTTP/1.1 requests are relative.
//!   There the cache needs [`authority_from_host`](HttpCacheLayer::authority_from_host):
//!
//! ```text
//! let cache = HttpCacheLayer::new(store)
//!     .authority_from_host(Scheme::HTTP)
//!     .marker(CacheStatus::new("my-server").expect("a token"));
//! let app = Router::new().route("/", get(page)).layer(cache);
//! ```
//!
//! # Bodies
//!
//! A body goes into the store while it is read, and the entry is published before the reader gets the last piece; see
//! [`Body`]. A response that is small and has arrived is stored even if nobody reads it: up to 64 KiB are read ahead.
//! Up to 4 MiB are held and stored in one piece. A larger body is written piece by piece, and one above
//! [`max_body_size`](HttpCacheLayer::max_body_size) is only passed through. Bodies from the store are slices of the bytes
//! that the store returned, not copies.
//!
//! A body that breaks off, or is shorter or longer than was announced, fails with an error for all who read it, and is not
//! stored.
//!
//! # Many requests for one key
//!
//! One of them, the leader, is forwarded; the others, its followers, wait (RFC 9211 says that they are collapsed). When
//! the head of the answer has come and allows its reuse, all of them get it, and read the body as it comes. A request
//! that comes later joins the body, as long as all of it is held.
//!
//! - A follower gets nothing that it could not get from the cache a moment later (RFC 9111 §4), with one exception: a
//!   response that is stale at once, but may be reused without validation, serves those who waited for it. A response
//!   with `no-cache`, or a stale one with `must-revalidate`, serves only the request that it answers (§5.2.2.4,
//!   §5.2.2.2). Where that is known, nobody waits. A request that needs an answer of its own (`no-cache`, `max-age`, a
//!   range…) neither waits nor leads.
//! - A leader that is dropped before the head has come hands its part to a follower. Any reader of a body may be
//!   dropped; the others go on.
//! - After an error, or an answer that can't be shared, all followers go on at once: with a stale response, if they may
//!   have it, or on their own.
//! - A body that is announced to be larger than 4 MiB is not shared: the followers are forwarded on their own. A body of
//!   unknown length can be joined until 4 MiB have come.
//! - The pieces that some reader has not read are held once, for all. A reader that falls more than
//!   [`max_body_size`](HttpCacheLayer::max_body_size) behind the fastest one fails with an error.
//! - Waiting requests hold no readiness of the inner service, such as a permit of a concurrency limit.
//!
//! With a [timer](HttpCacheLayer::timer), every wait ends after [`max_wait`](HttpCacheLayer::max_wait), 5 seconds by
//! default: the wait for another request, for a store, and for a body that makes no progress, which is not joined any
//! more. A background refresh that takes longer is given up. Without a timer the cache needs no runtime, and such a wait
//! takes as long as that for which it waits.
//!
//! # Services that can't be cloned
//!
//! The service inside is cloned for each request. One that can't be gets a buffer around it:
//!
//! ```
//! use bytes::Bytes;
//! use discovery_http_cache::{HttpCacheLayer, MapStore};
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty, Full};
//! use tower::util::BoxService;
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let server = tower::service_fn(|_: Request<Empty<Bytes>>| async {
//!     let response = Response::builder().header("cache-control", "max-age=60");
//!     Ok::<_, BoxError>(response.body(Full::new(Bytes::from("hello"))).unwrap())
//! });
//! let boxed: BoxService<Request<Empty<Bytes>>, Response<Full<Bytes>>, BoxError> = BoxService::new(server);
//!
//! let service = ServiceBuilder::new()
//!     .layer(HttpCacheLayer::new(MapStore::new()))
//!     .buffer(16)
//!     .service(boxed);
//! let request = Request::get("http://example.com/").body(Empty::new()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.collect().await.unwrap().to_bytes(), "hello");
//! # });
//! ```
//!
//! # Seeing what it does
//!
//! The [`Handle`] counts; background refreshes have [a count of their own](Stats::refreshes). Each decision is a `tracing`
//! event at level `DEBUG` with the key, the decision and the reason. A failing store or a damaged entry is an event at
//! level `WARN`, once for each layer. A [`ResponseMarker`] tells the caller, as [`CacheStatus`] does.

mod bypass;
mod cache;
mod cache_status;
mod coalesce;
mod entry;
mod extend;
mod fetch;
mod forward;
mod generation;
mod hit_for_miss;
mod layer;
mod options;
mod policy;
mod publication;
mod respond;
mod service;
mod stats;
mod variants;

pub use self::cache_status::{CacheDecision, CacheStatus, Forward, Outcome, ResponseMarker};
pub use self::extend::{Cacheable, Lifetime, RequestKey, ResponseUri};
pub use self::layer::HttpCacheLayer;
pub use self::options::BoxFuture;
pub use self::service::{HttpCache, ResponseFuture};
pub use self::stats::{Handle, Stats};
pub use discovery_core::BoxError;
pub use discovery_core::http::body::Body;
pub use discovery_core::store::{
    Buffered, MapStore, NoStore, Op, PutOptions, Store, StoreSize, Value, Writer,
};
pub use discovery_core::sync::clock::{Clock, ManualClock, SystemClock};
