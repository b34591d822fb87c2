//! From the names that people and manifests use to the resources of a server.
//!
//! A [`RestMapper`] is made of a [`Snapshot`](discovery_core::Snapshot), and answers as client-go's
//! `restmapper.NewDiscoveryRESTMapper` behind its `NewShortcutExpander` does, which is what `kubectl get NAME` goes by. It
//! never changes, and a look-up costs a hash table's. A [`DeferredMapper`] makes one of what a client discovers, and
//! discovers anew when a name is not found.

mod deferred;
mod error;
mod mapping;
mod names;
mod rest;

pub use self::deferred::DeferredMapper;
pub use self::error::{MapError, MapErrorKind};
pub use self::mapping::Mapping;
pub use self::names::{ResourceArg, Scope};
pub use self::rest::RestMapper;
