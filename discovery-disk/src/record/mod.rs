//! A store as a layer of its own: what was answered once is answered again, word for word.
//!
//! [`DiskStoreLayer`] knows no freshness and no revalidation. A GET request whose key is in the
//! store is answered from it, and the inner service sees no request; any other GET response is
//! recorded when it has come to its true end. That makes a program work without its server
//! ([`Mode::Replay`]), repeats what a server said in a test ([`Mode::Record`], then `Replay`), or
//! keeps what never changes, for example documents with a hash in their URL
//! ([`Mode::ReadThrough`]), or stands in for a server that is gone ([`Mode::Refresh`]).
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use discovery_disk::KubectlStore;
//! use discovery_disk::record::{DiskStoreLayer, Mode};
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Empty, Full};
//! use tower::{Layer, ServiceExt};
//!
//! # tokio_test::block_on(async {
//! let dir = tempfile::tempdir().unwrap();
//! let layer = DiskStoreLayer::new(KubectlStore::new(dir.path()));
//! let get = |path: &str| Request::get(format!("http://h/{path}")).body(Empty::<Bytes>::new()).unwrap();
//!
//! let server = tower::service_fn(|request: Request<Empty<Bytes>>| async move {
//!     let path = request.uri().path().to_owned();
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(path))))
//! });
//! let online = layer.layer(server);
//! let response = online.oneshot(get("one")).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/one");
//!
//! let gone = tower::service_fn(|_: Request<Empty<Bytes>>| async {
//!     Err::<Response<Full<Bytes>>, _>(std::io::Error::other("the server is gone"))
//! });
//! let offline = layer.mode(Mode::Replay).layer(gone);
//! let response = offline.clone().oneshot(get("one")).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/one");
//! let response = offline.oneshot(get("two")).await.unwrap();
//! assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
//! # });
//! ```
//!
//! # What is recorded
//!
//! The response as [`dump`](discovery_core::http::dump) has it: status, headers and body, and no
//! trailers. A body that is given up is not recorded, nor one that is
//! [too large](DiskStoreLayer::max_body_size). A body that breaks off, or that has another size than its
//! `Content-Length`, fails for its reader and is not recorded. One with trailers is not recorded either, unless its
//! size was announced: then it is complete before they come. The last frame of a body is held back
//! until the record is complete, so that a reader who has it can rely on the record.
//!
//! Requests take no part, and are passed on, if they have another method than GET, a `Range` field, content of
//! their own, or a `Host` field that differs from the authority of their URI: the key does not tell such requests
//! apart. Nor does kubectl's key tell paths with empty segments from those without. A 304 or 412 to a request with a condition
//! is passed on and never recorded. [`DiskStoreLayer::record_if`] decides which responses are recorded, [`DiskStoreLayer::key`]
//! under which key, and [`DiskStoreLayer::credentials`] whether requests with credentials take part.
//!
//! # What ends up on disk
//!
//! Every recorded response, word for word, readable for whoever can read the store's files. A layer
//! that an `Authorization` header passes records nothing of that request unless it is told to; one
//! that sits outside what adds the header does not see it. Around a client for Kubernetes it would
//! record Secrets like everything else. Choose what takes part by the key:
//!
//! ```
//! use discovery_core::http::uri;
//! use discovery_core::Endpoint;
//! use discovery_core::store::MapStore;
//! use discovery_disk::record::DiskStoreLayer;
//! # use http::{Request, Response};
//! # use http_body_util::{BodyExt, Empty, Full};
//! # use tower::{Layer, ServiceExt};
//!
//! let store = MapStore::new();
//! let layer = DiskStoreLayer::new(store.clone()).key(|request| {
//!     // Discovery, OpenAPI and the version: the same for all users, and no secret.
//!     Endpoint::parse(request.uri.path(), "")?;
//!     uri::cache_key(&request.method, &request.uri, None)
//! });
//! # tokio_test::block_on(async {
//! # let server = tower::service_fn(|_: Request<Empty<bytes::Bytes>>| async {
//! #     Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::from("{}")))
//! # });
//! # let client = layer.layer(server);
//! for path in ["apis/apps/v1", "api/v1/namespaces/default/secrets/mine"] {
//!     let request = Request::get(format!("https://10.0.0.1:6443/{path}")).body(Empty::new())?;
//!     client.clone().oneshot(request).await?.into_body().collect().await?;
//! }
//! assert_eq!(store.all_keys(), ["https://10.0.0.1:6443/apis/apps/v1"]);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # }).unwrap();
//! ```
//!
//! A store that can't be read or written is logged, and then nothing is stored or found; it fails
//! no request.

mod config;
mod layer;
mod recording;
mod service;

pub use discovery_core::http::body::Body;

pub use self::config::{Mode, is_recordable};
pub use self::layer::DiskStoreLayer;
pub use self::service::{DiskStoreService, ResponseFuture};

/// A response extension: the response comes from the store.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use discovery_core::store::MapStore;
/// use discovery_disk::record::{DiskStoreLayer, Replayed};
/// use http::{Request, Response};
/// use http_body_util::{Empty, BodyExt};
/// use tower::{Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let server = tower::service_fn(|_: Request<Empty<Bytes>>| async {
///     Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
/// });
/// let service = DiskStoreLayer::new(MapStore::new()).layer(server);
/// for replayed in [false, true] {
///     let request = Request::get("http://h/").body(Empty::<Bytes>::new()).unwrap();
///     let response = service.clone().oneshot(request).await.unwrap();
///     assert_eq!(response.extensions().get::<Replayed>().is_some(), replayed);
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed;
