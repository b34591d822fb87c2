//! kube-rs with cached discovery.
//!
//! [`client`] makes a [`kube::Client`] of a configuration, as `kube::Client::try_from` does, whose discovery goes through
//! kubectl's caches. All that uses that client, kube's own discovery too, then finds what is known; everything that is
//! not discovery is sent as ever, and nothing of it is kept.
//!
//! [`CachedClient`] is the same with settings and handles. [`layer`] is for those who put a
//! [`ClientBuilder`](kube::client::ClientBuilder) together themselves. [`KubeService`] makes a [`kube::Client`] a tower
//! service, for a [`DiscoveryClient`](crate::DiscoveryClient) over it.
//!
//! | request | goes |
//! |-|-|
//! | GET of `/api`, `/apis`, groups, resource lists, OpenAPI, `/version` | memory, discovery files, HTTP cache, a transport of its own |
//! | everything else: objects, watches, logs, `exec` | kube's own transport |
//!
//! With the feature `kube-rustls`, the transport of discovery speaks HTTP/2 where the server does, from kube's TLS
//! configuration. Without it, and through proxies, it is kube's own without its repeats: kube repeats a 503 for minutes,
//! and a server that can't reach an APIService answers with one.

mod client;
mod convert;
mod error;
mod layer;
mod service;
mod token;
mod transport;

pub use self::client::{CachedClient, client};
pub use self::error::Error;
pub use self::layer::{CachedDiscovery, CachedDiscoveryLayer, layer};
pub use self::service::{KubeService, ResponseBody, ResponseFuture};
