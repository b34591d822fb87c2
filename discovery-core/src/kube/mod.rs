//! Kubernetes discovery: names, documents, and discovery without I/O.

#[cfg(feature = "discovery")]
pub(crate) mod asked_url;
#[cfg(feature = "discovery")]
pub mod document;
pub(crate) mod endpoint;
#[cfg(feature = "discovery")]
pub(crate) mod error;
#[cfg(feature = "discovery")]
pub(crate) mod extensions;
pub(crate) mod group_version;
mod negotiation;
#[cfg(feature = "discovery")]
pub mod plan;
#[cfg(feature = "discovery")]
mod snapshot;
mod text;

pub use self::endpoint::Endpoint;
pub use self::group_version::{
    GroupKind, GroupVersion, GroupVersionKind, GroupVersionResource, InvalidName,
};
pub use self::negotiation::{Accept, Format};
pub use self::text::Text;
#[cfg(feature = "discovery")]
pub use self::{
    error::{Error, is_success},
    plan::{Discovered, Origin, Plan},
    snapshot::{Answer, NegativeAnswer, Snapshot},
};
