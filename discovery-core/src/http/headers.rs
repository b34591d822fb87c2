//! Rules about header fields that more than one layer needs: lists, credentials, and the fields of one
//! connection.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::uri::same_authority;

/// The members of a line that is a comma-separated list of tokens (RFC 9110 §5.6.1), without the blanks
/// around them. Empty members are left out.
///
/// It is for lists whose members have no quoted strings, such as `Vary`, `Connection` and `Pragma`.
///
/// ```
/// use discovery_core::http::headers::members;
/// use http::HeaderValue;
///
/// let line = HeaderValue::from_static("accept, , Origin");
/// assert_eq!(members(&line).collect::<Vec<_>>(), [&b"accept"[..], b"Origin"]);
/// ```
pub fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether one of the lines of a list has a member that `is` accepts.
///
/// ```
/// use discovery_core::http::headers::any_member;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.append(header::CONNECTION, "keep-alive, Upgrade".parse().unwrap());
/// assert!(any_member(&headers, &header::CONNECTION, |option| option.eq_ignore_ascii_case(b"upgrade")));
/// ```
pub fn any_member(headers: &HeaderMap, name: &HeaderName, is: impl FnMut(&[u8]) -> bool) -> bool {
    headers.get_all(name).iter().flat_map(members).any(is)
}

/// How long a response asks its client to wait before the next request (RFC 9110 §10.2.3): a number of seconds, or until
/// a date. A date is compared with that of the response, if it has one, because the two are of one clock, and otherwise
/// with `now`.
///
/// `None` if there is no such field, or one that is neither, or a date that has passed.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use discovery_core::http::headers::retry_after;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::RETRY_AFTER, "120".parse()?);
/// let wait = |headers: &HeaderMap| retry_after(headers, SystemTime::now());
/// assert_eq!(wait(&headers), Some(Duration::from_secs(120)));
///
/// headers.insert(header::DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse()?);
/// headers.insert(header::RETRY_AFTER, "Wed, 21 Oct 2026 07:28:05 GMT".parse()?);
/// assert_eq!(wait(&headers), Some(Duration::from_secs(5)));
///
/// headers.insert(header::RETRY_AFTER, "1.5".parse()?);
/// assert_eq!(wait(&headers), None);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    // As in Go, what does not fit into 64 bits with a sign is no number.
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.try_into().ok().map(Duration::from_secs);
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let of_response = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let now = of_response.and_then(date).unwrap_or(now);
    date(text)?.duration_since(now).ok()
}

/// Whether a request field says who the user is, or proves it: `Authorization`, `Cookie`,
/// `Proxy-Authorization`, and Kubernetes' `Impersonate-` fields.
///
/// ```
/// use discovery_core::http::headers::is_credential;
/// use http::{HeaderName, header};
///
/// assert!(is_credential(&header::COOKIE));
/// assert!(is_credential(&HeaderName::from_static("impersonate-extra-scopes")));
/// assert!(!is_credential(&header::ACCEPT));
/// ```
#[must_use]
pub fn is_credential(name: &HeaderName) -> bool {
    [
        header::AUTHORIZATION,
        header::COOKIE,
        header::PROXY_AUTHORIZATION,
    ]
    .contains(name)
        || name.as_str().starts_with("impersonate-")
}

/// Whether a request for `authority` may have this `Host`: there is none, or one that names the same authority. HTTP/1.1
/// sends the field beside, or in place of, the URI's authority, and a server answers for the host in it. Several
/// fields, and one that is no host and port, agree with nothing (RFC 9110 §7.2, RFC 9112 §3.2).
///
/// ```
/// use discovery_core::http::headers::host_agrees;
/// use http::uri::{Authority, Scheme};
/// use http::{HeaderMap, header};
///
/// let authority = Authority::from_static("one:443");
/// let mut headers = HeaderMap::new();
/// assert!(host_agrees(&headers, &Scheme::HTTPS, &authority));
/// headers.insert(header::HOST, "ONE".parse().unwrap());
/// assert!(host_agrees(&headers, &Scheme::HTTPS, &authority));
/// headers.append(header::HOST, "one".parse().unwrap());
/// assert!(!host_agrees(&headers, &Scheme::HTTPS, &authority));
/// headers.insert(header::HOST, "two".parse().unwrap());
/// assert!(!host_agrees(&headers, &Scheme::HTTPS, &authority));
/// ```
#[must_use]
pub fn host_agrees(headers: &HeaderMap, scheme: &Scheme, authority: &Authority) -> bool {
    let mut lines = headers.get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(line), None) => Authority::try_from(line.as_bytes()).is_ok_and(|host| {
            let is_host = !host.as_str().contains('@') && !host.host().is_empty();
            is_host && same_authority(scheme, &host, authority)
        }),
        (Some(_), Some(_)) => false,
    }
}

/// The fields that the `Connection` lines name (RFC 9110 §7.6.1). `Content-Length` is left out: the length
/// of a message cannot be made a matter of one connection.
///
/// ```
/// use discovery_core::http::headers::connection_options;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.append(header::CONNECTION, "close, X-Hop, content-length".parse().unwrap());
/// assert_eq!(connection_options(&headers).collect::<Vec<_>>(), ["close", "x-hop"]);
/// ```
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(members)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| *name != header::CONTENT_LENGTH)
}

/// Removes a `Content-Length` beside a `Transfer-Encoding`, which overrides it: it is not the length of the content, and
/// must not be forwarded (RFC 9112 §6.3).
///
/// ```
/// use discovery_core::http::headers::remove_overridden_length;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CONTENT_LENGTH, 5.into());
/// remove_overridden_length(&mut headers);
/// assert!(headers.contains_key(header::CONTENT_LENGTH));
/// headers.insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
/// remove_overridden_length(&mut headers);
/// assert!(!headers.contains_key(header::CONTENT_LENGTH));
/// ```
pub fn remove_overridden_length(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// Returns a test for the fields of `headers` that are about one connection only, and are neither stored
/// nor forwarded (RFC 9111 §3.1, RFC 9110 §7.6.1).
///
/// ```
/// use discovery_core::http::headers::hop_by_hop;
/// use http::{HeaderMap, HeaderName, header};
///
/// let mut headers = HeaderMap::new();
/// headers.append(header::CONNECTION, "x-hop".parse().unwrap());
/// let is_hop_by_hop = hop_by_hop(&headers);
/// assert!(is_hop_by_hop(&header::TRANSFER_ENCODING));
/// assert!(is_hop_by_hop(&HeaderName::from_static("x-hop")));
/// assert!(!is_hop_by_hop(&header::ETAG));
/// ```
pub fn hop_by_hop(headers: &HeaderMap) -> impl Fn(&HeaderName) -> bool + use<> {
    // A set, because a hostile server can name thousands.
    let named: HashSet<HeaderName> = connection_options(headers).collect();
    move |name| {
        let always = matches!(
            name.as_str(),
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authentication-info"
                | "proxy-authorization"
                | "te"
                // The trailers that it announces are not kept.
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        );
        always || named.contains(name)
    }
}
