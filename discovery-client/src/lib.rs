//! A typed Kubernetes discovery client over stacked caching layers.
//!
//! - [`DiscoveryClient`] asks any HTTP service which groups, versions and resources a server has,
//!   and takes parsed documents from the caching layers in it.
//! - [`Stack`] puts the layers in order: kubectl's for programs that end soon, another for those
//!   that run long.
//! - [`request_defaults`] and [`retry`]: the layers between the caches and the transport, to be taken singly.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod preferred;
pub mod request_defaults;
pub mod retry;
mod stack;
mod version;

pub use self::client::{DiscoveryClient, Progress};
pub use self::preferred::{Preferred, Resource, preferred};
pub use self::stack::{Handles, HttpService, KubectlService, LongLivedService, Stack, StackError};
pub use self::version::VersionInfo;
