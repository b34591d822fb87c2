//! The decisions: pure functions over headers and an instant, after RFC 9111.
//!
//! Nothing here knows of services, stores or bodies.
//!
//! - [`request`]: what the request asks of a cache.
//! - [`storing`]: whether a response may be kept, and which of its headers.
//! - [`stored`]: what a kept response says about its reuse, and whether it may be reused now.
//! - [`vary`]: whether a kept response answers this request.
//! - [`validation`]: the conditional request, and what a 304 changes.
//! - [`invalidation`]: what an unsafe request makes invalid.

pub(crate) mod date;
pub(crate) mod directives;
pub(crate) mod freshness;
pub(crate) mod invalidation;
pub(crate) mod request;
pub(crate) mod stored;
pub(crate) mod storing;
pub(crate) mod validation;
pub(crate) mod vary;

/// What the layer's options change about the decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Dates with any zone abbreviation count, as if it were GMT.
    pub(crate) lenient_dates: bool,
    /// Ages are corrected when stored and sent when reused. kubectl does neither.
    pub(crate) ages: bool,
    /// Any 200 is stored, even if nothing can be done with it but to validate it without validators,
    /// as kubectl does.
    pub(crate) store_everything: bool,
    /// A request which is not for the cache removes the entry of its own key, as kubectl does.
    pub(crate) remove_own_key: bool,
}
