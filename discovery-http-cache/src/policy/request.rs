//! What a request asks of a cache.

use http::{HeaderMap, HeaderName, Method, header, request};

use super::directives::{RequestDirectives, contains_token};
use super::{Rules, selection};

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Purpose {
    /// The cache can answer it.
    Lookup(RequestDirectives),
    /// Not the cache's business.
    Pass(&'static str),
    /// Not to be answered from the cache, and it may change what is in it (RFC 9111 §4.4).
    Unsafe,
}

pub(crate) fn purpose(request: &request::Parts, rules: Rules) -> Purpose {
    let headers = &request.headers;
    match request.method {
        Method::GET | Method::HEAD => {}
        // Safe (RFC 9110 §9.2.1), and CONNECT, which has no target that could change.
        Method::OPTIONS | Method::TRACE | Method::CONNECT => return Purpose::Pass("method"),
        _ => return Purpose::Unsafe,
    }
    if wants_upgrade(headers) {
        return Purpose::Pass("upgrade");
    }
    if has_body(headers) {
        return Purpose::Pass("request body");
    }
    if rules.kubectl && headers.contains_key(header::RANGE) {
        return Purpose::Pass("range");
    }
    // These are for the server to evaluate (RFC 9111 §4.3.2).
    const ALWAYS: [HeaderName; 2] = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    if ALWAYS.iter().any(|name| headers.contains_key(name))
        || (rules.kubectl && selection::is_selective(headers))
    {
        return Purpose::Pass("conditional request");
    }
    let directives = RequestDirectives::parse(headers);
    if directives.no_store {
        return Purpose::Pass("request no-store");
    }
    Purpose::Lookup(directives)
}

/// Whether others may wait for the answer to this request, and it for the answer to others.
pub(crate) fn may_share(directives: &RequestDirectives, headers: &HeaderMap) -> bool {
    !selection::is_selective(headers)
        && !directives.no_cache
        && !directives.only_if_cached
        && directives.max_age.is_none()
        && directives.min_fresh.is_none()
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        || headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| contains_token(value, b"upgrade"))
}
