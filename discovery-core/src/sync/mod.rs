//! Time as an input, and one request for many callers.

pub mod clock;
pub mod single_flight;
