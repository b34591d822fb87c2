//! The meaning of status codes for a cache.

use http::StatusCode;

use super::Rules;

/// Whether this cache knows all that the status says about caching, so that `must-understand`
/// lets it store (RFC 9111 §5.2.2.3): those of RFC 9110 §15 that are final and whole.
pub(super) fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// Whether the status allows that a response is stored (RFC 9111 §3).
pub(crate) fn may_be_stored(status: StatusCode, rules: Rules) -> bool {
    if rules.kubectl {
        status == StatusCode::OK
    } else {
        is_whole(status)
    }
}

/// Whether a response is complete and of its own. A 206 is a part of another
/// response, a 304 is about another, and an informational response is not final.
fn is_whole(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::PARTIAL_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// Whether a response may be stored that does not say for how long it is fresh (RFC 9110 §15.1).
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}
