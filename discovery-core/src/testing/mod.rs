//! A kit for the tests of layers, services and stores (feature `testing`).
//!
//! Everything in it works without a network and without a runtime. A server answers as the test has
//! told it, and time passes when the test says so: no test has to sleep.
//!
//! | to test | use |
//! | --- | --- |
//! | a [`Store`](crate::store::Store) | [`conformance`] |
//! | a layer above a server | [`ScriptedService`], [`BodyScript`], [`read_text`] |
//! | a layer that waits, or whose caller goes away | [`Gate`] |
//! | a layer above a store that is slow or broken | [`ScriptedStore`] |
//! | freshness and expiry | [`ManualClock`](crate::sync::clock::ManualClock) |
//! | limits of waiting, and work behind the answer | [`ManualTimer`], [`ManualExecutor`] |
//! | events, and that no secret is in them | [`Events`] |
//! | discovery | [`fixtures`] |
//!
//! The items panic where a test should fail. No program should depend on this feature outside its
//! tests.

mod body;
pub mod conformance;
mod error;
mod events;
pub mod fixtures;
mod gate;
mod service;
mod store;
mod time;

pub use self::body::{BodyScript, BodyStep, FrameCount, read_text};
pub use self::error::TestError;
pub use self::events::{Event, EventLevel, Events};
pub use self::gate::{Gate, Opened};
pub use self::service::{ResponseFuture, ScriptedService};
pub use self::store::{ScriptedStore, StoreOp};
pub use self::time::{ManualExecutor, ManualTimer};
