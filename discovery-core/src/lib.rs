//! Vocabulary, codecs, contracts and sans-I/O engine of Kubernetes discovery caching.
//!
//! This crate is what the layers of the workspace share. It opens no file and no socket and
//! needs no async runtime:
//!
//! - [`store`]: the contract between a cache and the place that keeps its bytes, with
//!   [`MapStore`](store::MapStore), [`NoStore`](store::NoStore) and a conformance suite.
//! - [`kube::document`]: the discovery documents, their conversions, and JSON as Go writes it.
//! - [`Endpoint`], [`Format`], [`Accept`]: the paths of an API server, and the formats of its answers.
//! - [`Plan`], [`Snapshot`]: discovery without I/O.
//! - [`engine`]: a discovery cache around any HTTP service, which the disk and memory layers fill
//!   with a place to keep things.
//! - [`http::dump`]: HTTP responses as bytes, in the form that kubectl's HTTP cache keeps.
//! - [`http::uri`]: cache keys, and the file and directory names that kubectl derives.
//! - [`http::headers`]: rules about header fields that several layers need.
//! - [`http`]: URIs, header fields and bodies, and calls that wait until their service is ready.
//! - [`sync::single_flight`]: one request for many callers, safe under cancellation.
//! - [`sync::clock`]: time as an input.
//!
//! # Features
//!
//! - `discovery`: [`kube::document`], [`Plan`], [`Snapshot`], [`Error`] and [`engine`], which need serde.
//! - `testing`: [`testing`], a kit for the tests of layers and stores.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The documentation is built with all features.
#![cfg_attr(
    not(all(feature = "discovery", feature = "testing")),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(feature = "discovery")]
pub mod engine;
pub mod http;
#[doc(hidden)]
pub mod internal;
pub mod kube;
pub mod store;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::kube::{
    Accept, Endpoint, Format, GroupVersion, GroupVersionKind, GroupVersionResource, InvalidName,
    Text,
};
#[cfg(feature = "discovery")]
pub use self::kube::{Answer, Discovered, Error, NegativeAnswer, Plan, Snapshot};

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
