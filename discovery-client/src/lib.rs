// Programs of the README use kube-rs. Tests of a build without it leave the README out.
#![cfg_attr(any(not(doctest), feature = "kube"), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod filter;
#[cfg(feature = "kube")]
#[cfg_attr(docsrs, doc(cfg(feature = "kube")))]
pub mod kube;
pub mod live;
pub mod mapper;
pub mod openapi;
mod preferred;
pub mod request_defaults;
pub mod retry;
mod stack;
mod version;

pub use self::client::{DiscoveryClient, Progress};
pub use self::filter::Filter;
pub use self::preferred::{Preferred, Resource, preferred};
pub use self::stack::{
    Handles, HttpService, KubectlLayer, KubectlService, LongLivedLayer, LongLivedService, Stack,
    StackError,
};
pub use self::version::VersionInfo;
