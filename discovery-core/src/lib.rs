#![doc = include_str!("../README.md")]
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
    Accept, Endpoint, Format, GroupKind, GroupVersion, GroupVersionKind, GroupVersionResource,
    InvalidName, Text,
};
#[cfg(feature = "discovery")]
pub use self::kube::{Answer, Discovered, Error, NegativeAnswer, Plan, Snapshot};

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
