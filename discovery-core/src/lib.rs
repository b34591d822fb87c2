//! Vocabulary, codecs, contracts and sans-I/O engine of Kubernetes discovery caching.
//!
//! This crate is what the layers of the workspace share. It opens no file and no socket and
//! needs no async runtime:
//!
//! - [`store`]: the contract between a cache and the place that keeps its bytes, with
//!   [`MapStore`](store::MapStore), [`NoStore`](store::NoStore) and a conformance suite.
//! - [`dump`]: HTTP responses as bytes, in the form that kubectl's HTTP cache keeps.
//! - [`key`]: cache keys, and the file and directory names that kubectl derives.
//! - [`flight`]: one request for many callers, safe under cancellation.
//! - [`clock`]: time as an input.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod clock;
pub mod dump;
pub mod flight;
pub mod key;
pub mod store;
