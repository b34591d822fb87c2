//! What a request asks of a cache.

use http::{HeaderMap, HeaderName, Method, Uri, header, request};

use super::directives::{RequestDirectives, contains_token};
use super::{Rules, selection};

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Purpose {
    /// The cache can answer it.
    Lookup(RequestDirectives),
    /// Not the cache's business.
    Pass(Bypass),
    /// Not to be answered from the cache, and it may change what is in it (RFC 9111 §4.4).
    Unsafe,
}

/// Why the cache leaves a request alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bypass {
    Method,
    Upgrade,
    RequestBody,
    Range,
    Condition,
    NoStore,
    Stream,
    Policy,
    RelativeUri,
    NoKey,
}

pub(crate) fn purpose(request: &request::Parts, rules: Rules) -> Purpose {
    let headers = &request.headers;
    match request.method {
        Method::GET | Method::HEAD => {}
        // Safe (RFC 9110 §9.2.1), and CONNECT, which has no target that could change.
        Method::OPTIONS | Method::TRACE | Method::CONNECT => return Purpose::Pass(Bypass::Method),
        _ => return Purpose::Unsafe,
    }
    if wants_upgrade(headers) {
        return Purpose::Pass(Bypass::Upgrade);
    }
    if has_body(headers) {
        return Purpose::Pass(Bypass::RequestBody);
    }
    if rules.kubectl && is_stream(&request.uri) {
        return Purpose::Pass(Bypass::Stream);
    }
    if rules.kubectl && headers.contains_key(header::RANGE) {
        return Purpose::Pass(Bypass::Range);
    }
    // These are for the server to evaluate (RFC 9111 §4.3.2).
    const ALWAYS: [HeaderName; 2] = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    if ALWAYS.iter().any(|name| headers.contains_key(name))
        || (rules.kubectl && selection::is_selective(headers))
    {
        return Purpose::Pass(Bypass::Condition);
    }
    let directives = RequestDirectives::parse(headers);
    if directives.no_store {
        return Purpose::Pass(Bypass::NoStore);
    }
    Purpose::Lookup(directives)
}

impl Bypass {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::RequestBody => "request body",
            Self::Range => "range",
            Self::Condition => "conditional request",
            Self::NoStore => "request no-store",
            Self::Stream => "stream",
            Self::Policy => "policy",
            Self::RelativeUri => "relative URI",
            Self::NoKey => "no key",
        }
    }
}

/// Kubernetes' streams, which end when the server or the client wants them to: watches, also by the
/// path that they once had, and followed logs.
fn is_stream(uri: &Uri) -> bool {
    let asks = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        matches!(name, "watch" | "follow") && !matches!(value, "false" | "0")
    };
    uri.query().is_some_and(|query| query.split('&').any(asks))
        || uri.path().split('/').any(|segment| segment == "watch")
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
