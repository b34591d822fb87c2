//! Kubernetes discovery: names, documents, and discovery without I/O.

pub mod document;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod extensions;
pub(crate) mod group_version;
mod negotiation;
pub mod plan;
mod snapshot;

pub use self::endpoint::Endpoint;
pub use self::error::Error;
pub use self::group_version::{GroupVersion, GroupVersionKind, GroupVersionResource, InvalidName};
pub use self::negotiation::{Accept, Format};
pub use self::plan::{Discovered, Plan};
pub use self::snapshot::{Answer, NegativeAnswer, Snapshot};
