//! The library's module, with locks that decide who goes on.

pub(crate) mod primitives {
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard};
}

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a part of the library, of which a part is tried"
)]
#[path = "../../src/sync/single_flight.rs"]
pub(crate) mod single_flight;
