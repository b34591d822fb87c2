//! Kubernetes discovery: names, documents, and discovery without I/O.

pub mod document;
pub(crate) mod endpoint;
pub(crate) mod failure;
pub(crate) mod group_version;
mod negotiation;
pub mod plan;
mod snapshot;

pub use self::endpoint::Endpoint;
pub use self::failure::Failure;
pub use self::group_version::{GroupVersion, GroupVersionKind, GroupVersionResource, InvalidName};
pub use self::negotiation::{Accept, Form};
pub use self::plan::{Discovered, Plan};
pub use self::snapshot::{Answer, Refusal, Snapshot};
