#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod filter;
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
pub use self::stack::{Handles, HttpService, KubectlService, LongLivedService, Stack, StackError};
pub use self::version::VersionInfo;
