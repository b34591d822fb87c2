//! Fuzz targets of `discovery-http-cache`, in `tests/`, and what they share.
//!
//! - [`scenario`]: what one run of the decision target is made of.
//! - [`World`]: the layer around a server that does what the scenario says.
//! - [`Ask`]: a cache to ask whether one response is reused.
//! - [`model`]: says of each response whether a cache might have given it.
//! - [`Smoke`]: an engine for bolero that tries the same inputs each time.

pub mod model;
mod once;
mod origin;
mod render;
pub mod scenario;
mod smoke;
mod story;
mod world;

pub use self::once::{Ask, Reply, start};
pub use self::smoke::Smoke;
pub use self::world::World;
