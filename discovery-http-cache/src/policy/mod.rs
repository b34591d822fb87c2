//! The decisions of the cache: pure functions over headers and an instant, after RFC 9111.
//!
//! Nothing here knows of services, stores or bodies.
//!
//! - [`request`]: whether the cache may answer a request, and which resource it is about.
//! - [`storage`]: whether a response may be stored, and which of its headers.
//! - [`cache_control`], [`freshness`], [`date`], [`status`]: the fields that decide.
//! - [`reuse`]: whether a stored response may be reused now, and the effect of a failure on it.
//! - [`stream`]: responses that need never end.
//! - [`conditions`]: the answer to a request with conditions or a range of its own.
//! - [`vary`], [`variants`]: whether a stored response answers this request, and the list of the others.
//! - [`validation`]: the conditional request, and the changes that a 304 or a HEAD makes.
//! - [`invalidation`]: the entries that an unsafe request makes invalid.

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
pub(crate) mod variants;
pub(crate) mod vary;

/// How the layer's options change the decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// kubectl's choices, where RFC 9111 leaves one or kubectl knows its server better: every 200 is stored
    /// and nothing else; HEAD, ranges and conditional requests are not answered
    /// from the answers to GET; one variant for each key; no heuristics; no `Age`; a request that is
    /// not for the cache removes the entry of its own key.
    pub(crate) kubectl: bool,
    /// Dates with any zone abbreviation count, as if it were GMT.
    pub(crate) lenient_dates: bool,
    /// The upper bound of heuristic freshness (RFC 9111 §4.2.2).
    pub(crate) heuristic: Duration,
    /// A stale response is served when the server cannot be reached (RFC 9111 §4.2.4).
    pub(crate) stale_if_disconnected: bool,
    /// An entry stays when its validation fails with a server error (RFC 9111 §4.3.3).
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

    /// The rules of kubectl's stack.
    pub(crate) const KUBECTL: Self = Self {
        kubectl: true,
        lenient_dates: true,
        heuristic: Duration::ZERO,
        stale_if_disconnected: false,
        keep_on_error: false,
    };
}
