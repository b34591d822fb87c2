//! OpenAPI: the server's schemas, and what `kubectl explain` prints of them.
//!
//! [`DiscoveryClient::openapi`](crate::DiscoveryClient::openapi) gives the [`OpenApi`] client. It asks for the index
//! first, then for the document of one group version at a time, under the URL with a hash that the index names. A
//! [`Document`] answers with the [`Schema`] of a kind; [`Explain`] prints it.

mod client;
mod document;
mod explain;
mod wrap;

pub(crate) use self::client::{Server, Shared, without_hash};

pub use self::client::{OpenApi, OpenApiFormat, Paths};
pub use self::document::{Document, Schema};
pub use self::explain::{Explain, ExplainError};
