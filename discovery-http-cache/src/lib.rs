//! A private HTTP cache (RFC 9111) as a tower layer, in kubectl's on-disk format.
//!
//! [`HttpCacheLayer`] goes around any `Service<Request<B>, Response = Response<ResB>>`, whatever the
//! request bodies are, if `ResB` is a body of [`Bytes`](bytes::Bytes). What it stores goes into a
//! [`Store`](discovery_core::store::Store), in the form that kubectl's HTTP cache
//! keeps. [`HttpCacheLayer::new`] follows RFC 9111; [`kubectl`](HttpCacheLayer::kubectl) makes it
//! what kubectl's stack needs, so that both programs can use the same files.
//!
//! ```
//! use bytes::Bytes;
//! use discovery_core::sync::clock::ManualClock;
//! use discovery_core::store::MapStore;
//! use discovery_http_cache::HttpCacheLayer;
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
//! It is a private cache: what one caller got may answer the next one. So a layer, with all its services
//! and clones, is for one user, one set of credentials. Those of several get a layer each with a store of
//! its own, or a [key](RequestKey) that has the user in it. `Authorization` in a request changes nothing
//! (RFC 9111 §3.5 is for shared caches).
//!
//! # What is stored and reused
//!
//! The answers to GET and HEAD, as far as RFC 9111 allows a private cache: those of every final
//! status that say for how long they are fresh, those with status 200 that can be validated, and by
//! heuristics those that have not changed for long. Never one whose `Vary` names `Authorization`,
//! `Cookie`, `Proxy-Authorization` or an `Impersonate-` header, because the secret would be written
//! beside it; nor one for which a header that `Vary` names is
//! [sensitive](http::HeaderValue::is_sensitive).
//!
//! The answer to a GET serves GET, HEAD, requests with conditions of their own and such for one
//! range. Each variant under `Vary` has an entry; the first has the place where an entry without
//! variants would be. What is stale is validated by its ETag and `Last-Modified`. Another final
//! answer than a 304 takes the entry's place or removes it, unless `stale-if-error` or
//! [an option](HttpCacheLayer::stale_if_disconnected) lets it be served. With
//! [an executor](HttpCacheLayer::executor), what may be served while it is validated is.
//!
//! Requests for upgrades, with bodies or with conditions on the resource (`If-Match`) pass through,
//! parts that the server sends are passed on and not stored, and what a [policy](Cacheable) takes out is
//! not the cache's business. kubectl's preset does less; see [there](HttpCacheLayer::kubectl). A relative
//! URI does not tell the servers apart: such requests pass through with one warning, unless the layer is
//! given an [authority](HttpCacheLayer::authority), or takes it [from
//! `Host`](HttpCacheLayer::authority_from_host). A request whose `Host` field names another server than its
//! URI passes through, too. [`CacheStatus`] tells the reason.
//!
//! An unsafe request that succeeds invalidates what is stored for its URI, and for the URIs on the same
//! origin that `Location` and `Content-Location` name. What was asked for before is not stored any more,
//! whenever it comes, and who asks after does not wait for it.
//!
//! What is replaced or [outdated](HttpCacheLayer::keep_on_error) goes at once, also if nothing comes in
//! its place: a body that is cut, or too large. For how long something is fresh is for the response to
//! say, or for a [policy](Lifetime).
//!
//! The inner service's errors come out as they are. A store that fails, or returns what makes no
//! sense, makes a miss and an event, never an error.
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
//! A body goes into the store while the caller reads it, and is stored with its last byte; see
//! [`Body`]. Up to 4 MiB are held and stored in one piece. Beyond that it is written bit by bit,
//! and above [`max_entry_size`](HttpCacheLayer::max_entry_size) it is only passed through. Bodies
//! that come from the store are parts of what the store returned, not copies.
//!
//! # Many requests for one key
//!
//! One of them, the leader, asks the server; the others, its followers, wait, and then look into
//! the store by the same rules as any request (RFC 9111 §4). That is how they come by nothing which they
//! might not have had from the cache a moment later, with one exception: what is stale as soon as it has
//! come, but may be reused without validation, serves those who were waiting for it. What is `no-cache`,
//! or stale with `must-revalidate`, serves none but the one who asked (§5.2.2.4, §5.2.2.2), and where that
//! is known nobody waits for it. A request that must get an answer of its own (`no-cache`, `max-age`, a
//! range…) neither waits nor leads.
//!
//! Nobody waits for long or for nothing:
//!
//! - A leader that is dropped hands the lead to a follower.
//! - After an error, or an answer that followers can't use, they all go on at once: with what is stale, if
//!   they may have it, or on their own.
//! - A follower holds nothing that the inner service reserves for callers, such as a permit of a
//!   concurrency limit. It takes its turn when it has to ask.
//! - The leader's caller may never read its response. While followers wait, the leader therefore
//!   reads the body to its end, before it answers; if it is larger than 4 MiB, or of a media type
//!   that need not end, the followers are let go. If nobody waits, the leader answers as
//!   soon as it can and gives up the lead, so that later requests do not depend on its caller.
//!
//! This needs neither a runtime nor a timer. With [a timer](HttpCacheLayer::max_wait), nobody waits for
//! longer than it says, and followers wait also while the leader's caller reads a larger body.
//!
//! # Services that can't be cloned
//!
//! The service inside is cloned for each request. One that can't be gets a buffer around it:
//!
//! ```
//! use bytes::Bytes;
//! use discovery_core::store::MapStore;
//! use discovery_http_cache::HttpCacheLayer;
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
//! The [`Handle`] counts. Each decision is an event of `tracing` at level `DEBUG` with the key, the
//! decision and the reason; of what an operator should know (the store fails, an entry is damaged) there
//! is one at level `WARN` for each layer. A [`ResponseMarker`] tells the caller.

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

pub use self::cache::BoxFuture;
pub use self::cache_status::{CacheDecision, CacheStatus, Forward, Outcome, ResponseMarker};
pub use self::extend::{Cacheable, Lifetime, RequestKey, ResponseUri};
pub use self::layer::HttpCacheLayer;
pub use self::service::{HttpCache, ResponseFuture};
pub use self::stats::{Handle, Stats};
pub use discovery_core::http::body::Body;
