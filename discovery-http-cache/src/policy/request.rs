//! What a request asks of a cache.

use http::{HeaderMap, Method, request};

use discovery_core::headers::members;

use super::cache_control::RequestDirectives;
use super::{Rules, stream};

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Purpose {
    /// The cache can answer it.
    Lookup(RequestConstraints),
    /// Not the cache's business.
    Pass(Bypass),
    /// Not to be answered from the cache, and it may change what is in it (RFC 9111 §4.4).
    Unsafe,
}

/// What a request demands of the answer.
#[derive(Debug, PartialEq)]
pub(crate) struct RequestConstraints {
    pub(crate) directives: RequestDirectives,
    /// Whether it has conditions or ranges that a cache evaluates.
    pub(crate) is_selective: bool,
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
    let fields = Fields::of(headers);
    if fields.upgrade {
        return Purpose::Pass(Bypass::Upgrade);
    }
    if fields.body {
        return Purpose::Pass(Bypass::RequestBody);
    }
    if rules.kubectl && stream::asks_for_stream(&request.uri) {
        return Purpose::Pass(Bypass::Stream);
    }
    if rules.kubectl && fields.range {
        return Purpose::Pass(Bypass::Range);
    }
    // These are for the server to evaluate (RFC 9111 §4.3.2).
    if fields.server_condition || (rules.kubectl && fields.condition) {
        return Purpose::Pass(Bypass::Condition);
    }
    let directives = if fields.control {
        RequestDirectives::parse(headers)
    } else {
        RequestDirectives::default()
    };
    if directives.no_store {
        return Purpose::Pass(Bypass::NoStore);
    }
    Purpose::Lookup(RequestConstraints {
        directives,
        is_selective: fields.condition || fields.range,
    })
}

/// Which fields a request has, seen in one pass: most have none of these.
#[derive(Default)]
struct Fields {
    upgrade: bool,
    body: bool,
    range: bool,
    /// One that a cache evaluates.
    condition: bool,
    /// One that only the server can evaluate.
    server_condition: bool,
    control: bool,
}

impl Fields {
    fn of(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "upgrade" => this.upgrade = true,
                "connection" => {
                    this.upgrade |= members(value).any(|o| o.eq_ignore_ascii_case(b"upgrade"));
                }
                "transfer-encoding" => this.body = true,
                "content-length" => this.body |= value != "0",
                "range" => this.range = true,
                "if-none-match" | "if-modified-since" => this.condition = true,
                "if-match" | "if-unmodified-since" => this.server_condition = true,
                "cache-control" | "pragma" => this.control = true,
                _ => {}
            }
        }
        this
    }
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

impl RequestConstraints {
    /// Whether others may wait for the answer to this request, and it for the answer to others.
    pub(crate) fn may_share(&self) -> bool {
        let directives = &self.directives;
        !self.is_selective
            && !directives.no_cache
            && !directives.only_if_cached
            && directives.max_age.is_none()
            && directives.min_fresh.is_none()
    }
}
