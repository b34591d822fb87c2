//! Time as an input, and one request for many callers.

pub mod clock;
mod primitives;
pub mod single_flight;
