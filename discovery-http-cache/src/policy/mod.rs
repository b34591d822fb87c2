//! The decisions: pure functions over headers and an instant, after RFC 9111.
//!
//! Nothing here knows of services, stores or bodies.
//!
//! - [`request`]: what the request asks of a cache.
//! - [`storage`]: whether a response may be kept, and which of its headers.
//! - [`reuse`]: what a kept response says about its reuse, and whether it may be reused now.
//! - [`stream`]: what need never end.
//! - [`conditions`]: what of a kept response answers a request with conditions or a range.
//! - [`vary`]: whether a kept response answers this request.
//! - [`validation`]: the conditional request, and what a 304 changes.
//! - [`invalidation`]: what an unsafe request makes invalid.

use std::time::Duration;

pub(crate) mod date;

pub(crate) mod cache_control;
pub(crate) mod conditions;
pub(crate) mod freshness;
pub(crate) mod invalidation;
pub(crate) mod request;
pub(crate) mod reuse;
pub(crate) mod status;
pub(crate) mod storage;
pub(crate) mod stream;
pub(crate) mod validation;
#[allow(dead_code, reason = "the store's side of the list is not written yet")]
pub(crate) mod variants;
pub(crate) mod vary;

/// How the layer's options change the decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// kubectl does it, where RFC 9111 leaves a choice or kubectl knows better what its server
    /// means: only 200 is stored, but each; HEAD, ranges and conditional requests are not answered
    /// from the answers to GET; one variant for each key; no heuristics; no `Age`; a request that is
    /// not for the cache removes the entry of its own key.
    pub(crate) kubectl: bool,
    /// Dates with any zone abbreviation count, as if it were GMT.
    pub(crate) lenient_dates: bool,
    /// The longest that a response is fresh by heuristics.
    pub(crate) heuristic: Duration,
    /// What is stale is better than a failure to reach the server.
    pub(crate) stale_if_disconnected: bool,
    /// What could not be validated because the server failed is kept.
    pub(crate) keep_on_error: bool,
}

impl Rules {
    /// RFC 9111.
    pub(crate) const STRICT: Self = Self {
        kubectl: false,
        lenient_dates: false,
        heuristic: Duration::from_secs(24 * 60 * 60),
        stale_if_disconnected: false,
        keep_on_error: false,
    };

    /// What kubectl's stack needs.
    pub(crate) const KUBECTL: Self = Self {
        kubectl: true,
        lenient_dates: true,
        heuristic: Duration::ZERO,
        stale_if_disconnected: false,
        keep_on_error: false,
    };
}
