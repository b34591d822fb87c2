//! The part that a cache has in a request: whether it may answer it, and which resource it is about.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, header, request};

use std::borrow::Cow;

use discovery_core::http::headers::members;
use discovery_core::http::uri::{Origin, same_authority};

use super::cache_control::RequestDirectives;
use super::{Rules, stream};

/// The cache's part in a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Purpose {
    /// The cache can answer it.
    Lookup(RequestConstraints),
    /// The cache leaves it alone.
    Pass(Bypass),
    /// Not to be answered from the cache, and it may change what is in it (RFC 9111 §4.4).
    Unsafe,
}

/// The demands of a request on its answer.
#[derive(Debug, PartialEq)]
pub(crate) struct RequestConstraints {
    pub(crate) directives: RequestDirectives,
    /// Whether it has conditions or ranges that a cache evaluates.
    pub(crate) is_selective: bool,
    /// Whether it has a `Host` field, with which the URI has to agree. Mostly the field is added below the cache.
    pub(crate) has_host: bool,
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
    /// `Host` names another server than the URI, or several, or none that can be one.
    Host,
    NoKey,
}

/// Where the scheme and the authority of a relative URI come from.
#[derive(Clone, Debug, Default)]
pub(crate) enum TargetOrigin {
    /// From nowhere: such requests bypass the cache.
    #[default]
    Uri,
    /// All requests go to this server.
    Fixed(Origin),
    /// The scheme is this one, and the authority is in the `Host` field (RFC 9110 §7.2): the layer is in
    /// front of a server.
    Host(Scheme),
}

pub(crate) fn purpose(request: &request::Parts, rules: Rules) -> Purpose {
    let headers = &request.headers;
    match request.method {
        Method::GET | Method::HEAD => {}
        // CONNECT has no target that could change.
        Method::CONNECT => return Purpose::Pass(Bypass::Method),
        ref method if is_safe(method) => return Purpose::Pass(Bypass::Method),
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
        has_host: fields.host,
    })
}

/// Whether a method is registered as safe (RFC 9110 §9.2.1), so that its requests invalidate nothing: those
/// that `http` knows, and of IANA's HTTP Method Registry QUERY (RFC 10008), PROPFIND (RFC 4918), REPORT
/// (RFC 3253), SEARCH (RFC 5323) and PRI (RFC 9113). Methods are case-sensitive (RFC 9110 §9.1).
fn is_safe(method: &Method) -> bool {
    method.is_safe()
        || matches!(
            method.as_str(),
            "PRI" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH"
        )
}

/// The absolute URI of a request's target (RFC 9110 §7.1), if it is certain.
///
/// An absolute URI and a `Host` field have to name the same server: below the cache, HTTP/1.1 sends the
/// field, and the server answers for the host in it.
pub(crate) fn target_uri<'a>(
    uri: &'a Uri,
    headers: &HeaderMap,
    origin: &TargetOrigin,
) -> Result<Cow<'a, Uri>, Bypass> {
    let host = host(headers);
    let agrees = |scheme: &Scheme, authority: &Authority| match &host {
        Host::Absent => true,
        Host::One(host) => same_authority(scheme, host, authority),
        Host::Invalid => false,
    };
    let (scheme, authority) = match (uri.scheme(), uri.authority(), origin) {
        (Some(scheme), Some(authority), _) => {
            return match agrees(scheme, authority) {
                true => Ok(Cow::Borrowed(uri)),
                false => Err(Bypass::Host),
            };
        }
        // The target of CONNECT.
        (None, Some(_), _) => return Ok(Cow::Borrowed(uri)),
        (_, None, TargetOrigin::Uri) => return Err(Bypass::RelativeUri),
        (_, None, TargetOrigin::Fixed(origin)) => {
            if !agrees(origin.scheme(), origin.authority()) {
                return Err(Bypass::Host);
            }
            (origin.scheme().clone(), origin.authority().clone())
        }
        (_, None, TargetOrigin::Host(scheme)) => match host {
            Host::One(host) => (scheme.clone(), host),
            Host::Absent | Host::Invalid => return Err(Bypass::Host),
        },
    };
    match absolute(uri, scheme, authority) {
        Some(uri) => Ok(Cow::Owned(uri)),
        None => Err(Bypass::RelativeUri),
    }
}

/// All absolute URIs that the target of an unsafe request may have, so that too much is invalidated where
/// [`target_uri`] is not certain, and never too little (RFC 9111 §4.4).
pub(crate) fn possible_targets(uri: &Uri, headers: &HeaderMap, origin: &TargetOrigin) -> Vec<Uri> {
    let scheme = match (uri.scheme(), origin) {
        (Some(scheme), _) | (None, TargetOrigin::Host(scheme)) => scheme,
        (None, TargetOrigin::Fixed(origin)) => origin.scheme(),
        (None, TargetOrigin::Uri) => return Vec::new(),
    };
    let fixed = match (uri.authority(), origin) {
        (None, TargetOrigin::Fixed(origin)) => Some(origin.authority()),
        (authority, _) => authority,
    };
    let mut authorities: Vec<Authority> = fixed.cloned().into_iter().collect();
    for line in headers.get_all(header::HOST) {
        if let Some(host) = parse_host(line)
            && !authorities
                .iter()
                .any(|known| same_authority(scheme, known, &host))
        {
            authorities.push(host);
        }
    }
    authorities
        .into_iter()
        .filter_map(|authority| absolute(uri, scheme.clone(), authority))
        .collect()
}

fn absolute(uri: &Uri, scheme: Scheme, authority: Authority) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    let root = || PathAndQuery::from_static("/");
    parts.path_and_query = Some(parts.path_and_query.unwrap_or_else(root));
    Uri::from_parts(parts).ok()
}

enum Host {
    Absent,
    One(Authority),
    Invalid,
}

/// The `Host` field. A server has to refuse a request with several, or with one that is invalid (RFC 9112
/// §3.2); not all do.
fn host(headers: &HeaderMap) -> Host {
    let mut lines = headers.get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Host::Absent,
        (Some(line), None) => parse_host(line).map_or(Host::Invalid, Host::One),
        (Some(_), Some(_)) => Host::Invalid,
    }
}

/// A host and a port, without user information (RFC 9110 §7.2). An empty host names none.
fn parse_host(line: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(line.as_bytes()).ok()?;
    let has_user = authority.as_str().contains('@');
    (!has_user && !authority.host().is_empty()).then_some(authority)
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
    host: bool,
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
                "host" => this.host = true,
                _ => {}
            }
        }
        this
    }
}

impl Bypass {
    /// The reason as it is shown in events and in `Cache-Status`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::RequestBody => "request-body",
            Self::Range => "range",
            Self::Condition => "conditional-request",
            Self::NoStore => "no-store",
            Self::Stream => "stream",
            Self::Policy => "policy",
            Self::RelativeUri => "relative-uri",
            Self::Host => "host",
            Self::NoKey => "no-key",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(lines: &[&'static str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (header::HOST, HeaderValue::from_static(line)))
            .collect()
    }

    /// RFC 9110 §9.2.1, IANA's HTTP Method Registry.
    #[test]
    fn methods_that_are_registered_as_safe_invalidate_nothing() {
        let purpose_of = |method: &str| {
            let request = http::Request::builder().method(method).uri("http://h/a");
            let (parts, ()) = request.body(()).unwrap().into_parts();
            purpose(&parts, Rules::STRICT)
        };
        for method in [
            "OPTIONS", "TRACE", "CONNECT", "QUERY", "PROPFIND", "REPORT", "SEARCH", "PRI",
        ] {
            let passes = Purpose::Pass(Bypass::Method);
            assert_eq!(purpose_of(method), passes, "{method}");
        }
        for method in ["GET", "HEAD"] {
            assert!(matches!(purpose_of(method), Purpose::Lookup(_)));
        }
        for method in [
            "POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "query", "get", "MKCOL",
        ] {
            assert_eq!(purpose_of(method), Purpose::Unsafe, "{method}");
        }
    }

    /// RFC 9110 §7.1, §7.2; RFC 9112 §3.2.
    #[test]
    fn a_target_is_certain_only_if_uri_and_host_agree() {
        let fixed =
            || TargetOrigin::Fixed(Origin::from_uri(&Uri::from_static("https://h:6443")).unwrap());
        let by_host = || TargetOrigin::Host(Scheme::HTTP);
        struct Row {
            uri: &'static str,
            hosts: &'static [&'static str],
            origin: TargetOrigin,
            expected: Result<&'static str, Bypass>,
        }
        let row = |uri, hosts, origin, expected| Row {
            uri,
            hosts,
            origin,
            expected,
        };
        let table = [
            row("http://h/a", &[], TargetOrigin::Uri, Ok("http://h/a")),
            row("http://h/a", &["h"], TargetOrigin::Uri, Ok("http://h/a")),
            row("http://h/a", &["H:80"], TargetOrigin::Uri, Ok("http://h/a")),
            row(
                "http://h:80/a",
                &["h:"],
                TargetOrigin::Uri,
                Ok("http://h:80/a"),
            ),
            row(
                "http://u@h/a",
                &["h"],
                TargetOrigin::Uri,
                Ok("http://u@h/a"),
            ),
            row(
                "http://h/a",
                &["other"],
                TargetOrigin::Uri,
                Err(Bypass::Host),
            ),
            row(
                "http://h/a",
                &["h:443"],
                TargetOrigin::Uri,
                Err(Bypass::Host),
            ),
            row(
                "https://h/a",
                &["h:80"],
                TargetOrigin::Uri,
                Err(Bypass::Host),
            ),
            row("http://h/a", &[""], TargetOrigin::Uri, Err(Bypass::Host)),
            row(
                "http://h/a",
                &["h", "h"],
                TargetOrigin::Uri,
                Err(Bypass::Host),
            ),
            row(
                "http://h/a",
                &["h", "other"],
                TargetOrigin::Uri,
                Err(Bypass::Host),
            ),
            row("http://h/a", &["u@h"], TargetOrigin::Uri, Err(Bypass::Host)),
            row("http://h/a", &["h/b"], TargetOrigin::Uri, Err(Bypass::Host)),
            row("/a", &[], TargetOrigin::Uri, Err(Bypass::RelativeUri)),
            row("/a", &["h"], TargetOrigin::Uri, Err(Bypass::RelativeUri)),
            row("/a?b", &[], fixed(), Ok("https://h:6443/a?b")),
            row("/a", &["H:6443"], fixed(), Ok("https://h:6443/a")),
            row("/a", &["h"], fixed(), Err(Bypass::Host)),
            row("/a", &[""], fixed(), Err(Bypass::Host)),
            row("https://x/a", &[], fixed(), Ok("https://x/a")),
            row("/a", &["one"], by_host(), Ok("http://one/a")),
            row("/a", &["two:8080"], by_host(), Ok("http://two:8080/a")),
            row("/a", &[], by_host(), Err(Bypass::Host)),
            row("/a", &[""], by_host(), Err(Bypass::Host)),
            row("/a", &["one", "two"], by_host(), Err(Bypass::Host)),
            row("/a", &["u:p@one"], by_host(), Err(Bypass::Host)),
            row("https://x/a", &["x"], by_host(), Ok("https://x/a")),
        ];
        for Row {
            uri,
            hosts: lines,
            origin,
            expected,
        } in table
        {
            let uri: Uri = uri.parse().unwrap();
            let found = target_uri(&uri, &hosts(lines), &origin).map(|uri| uri.to_string());
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{uri} {lines:?} {origin:?}"
            );
            if let Ok(found) = found {
                let possible = possible_targets(&uri, &hosts(lines), &origin);
                assert!(possible.iter().any(|uri| *uri == *found), "{uri} {lines:?}");
            }
        }
    }

    #[test]
    fn an_unsafe_request_invalidates_all_that_it_may_be_about() {
        let targets = |uri: &str, lines, origin| {
            let found = possible_targets(&uri.parse().unwrap(), &hosts(lines), &origin);
            found.iter().map(Uri::to_string).collect::<Vec<_>>()
        };
        let host = || TargetOrigin::Host(Scheme::HTTPS);
        assert_eq!(
            targets("http://h/a", &["other", "h:80"], TargetOrigin::Uri),
            ["http://h/a", "http://other/a"]
        );
        assert_eq!(
            targets("/a", &["one", "", "two"], host()),
            ["https://one/a", "https://two/a"]
        );
        assert!(targets("/a", &["one"], TargetOrigin::Uri).is_empty());
    }
}
