//! Conditions and ranges of the client's own, evaluated on a stored response (RFC 9111 §4.3.2, RFC 9110
//! §13 and §14).
//!
//! Ranges are ranges of the bytes as they are stored. Of a response with a content coding, such as gzip, no
//! part is served: a layer above that decodes it, or a client that has the beginning of the decoded bytes,
//! cannot use it. Such a response is served whole, as RFC 9110 §14.2 allows.

use std::ops::Range;
use std::time::SystemTime;

use discovery_core::http::headers::any_member;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::date;
use super::validation::{is_last_modified_strong, is_strong, opaque_tag};

/// The part of a stored response that a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it.
    Whole,
    /// Its headers: the request was HEAD.
    Head,
    /// That the client's copy is good: 304.
    NotModified,
    /// Some of its bytes: 206.
    Part(Range<u64>),
    /// That it has no such bytes: 416.
    Unsatisfiable,
}

/// The meaning of a `Range` field for a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ranges {
    One(Range<u64>),
    None,
    /// Another unit, or no range at all: the field is ignored (RFC 9110 §14.2). So are several
    /// ranges; a cache need not take a response apart.
    Ignored,
}

/// Chooses from a response of `status` and `stored` headers, with a body of `size` bytes, what
/// answers a request.
pub(crate) fn select(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    size: u64,
    now: SystemTime,
) -> Selection {
    // Conditions are about what would otherwise be a success (RFC 9110 §13.2.1).
    if status == StatusCode::OK {
        if is_not_modified(request, stored, now) {
            return Selection::NotModified;
        }
        if method == Method::GET
            && let Some(ranges) = request.get(header::RANGE)
            && !has_content_coding(stored)
            && if_range_holds(request, stored, now)
        {
            match parse_range(ranges, size) {
                Ranges::One(range) => return Selection::Part(range),
                Ranges::None => return Selection::Unsatisfiable,
                Ranges::Ignored => {}
            }
        }
    }
    if method == Method::HEAD {
        Selection::Head
    } else {
        Selection::Whole
    }
}

/// The fields that a 304 repeats (RFC 9110 §15.4.5), and those about the cache.
pub(crate) fn retain_for_not_modified(headers: &mut HeaderMap) {
    const KEPT: [HeaderName; 8] = [
        header::AGE,
        header::CACHE_CONTROL,
        header::CONTENT_LOCATION,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::VARY,
    ];
    retain(headers, &KEPT);
}

fn retain(headers: &mut HeaderMap, kept: &[HeaderName]) {
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !kept.contains(name))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Makes a stored response's headers those of a 206 (RFC 9110 §15.3.7).
pub(crate) fn describe_part(headers: &mut HeaderMap, range: &Range<u64>, size: u64) {
    let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    if let Ok(value) = HeaderValue::try_from(content_range) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
}

/// Makes a stored response's headers those of a 416 (RFC 9110 §15.5.17).
pub(crate) fn describe_refusal(headers: &mut HeaderMap, size: u64) {
    retain(headers, &[header::AGE, header::DATE]);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_LENGTH, 0.into());
}

/// RFC 9110 §13.2.2: `If-Modified-Since` counts only without `If-None-Match`.
fn is_not_modified(request: &HeaderMap, stored: &HeaderMap, now: SystemTime) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let tag = stored.get(header::ETAG);
        return request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|line| lists_tag(line, tag));
    }
    let Some(since) = request
        .get(header::IF_MODIFIED_SINCE)
        .and_then(|value| date::parse(value, false, now))
    else {
        return false;
    };
    // A response that does not say when it last changed had done so by its date
    // (RFC 9111 §4.3.2).
    let modified = stored
        .get(header::LAST_MODIFIED)
        .or_else(|| stored.get(header::DATE))
        .and_then(|value| date::parse(value, false, now));
    modified.is_some_and(|modified| modified <= since)
}

/// Whether a line of entity tags has `tag`, weakly compared (RFC 9110 §8.8.3.2). A member that is no
/// entity tag ends at the next comma.
fn lists_tag(line: &HeaderValue, tag: Option<&HeaderValue>) -> bool {
    let mut rest = line.as_bytes().trim_ascii();
    if rest == b"*" {
        return true;
    }
    let Some(tag) = tag.map(opaque_tag) else {
        return false;
    };
    while !rest.is_empty() {
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest);
        let prefix = rest.len() - quoted.len();
        let closing = quoted
            .strip_prefix(b"\"")
            .and_then(|inner| inner.iter().position(|b| *b == b'"'))
            .map(|at| prefix + at + 2);
        let from = closing.unwrap_or(0);
        let end = rest[from..]
            .iter()
            .position(|b| *b == b',')
            .map_or(rest.len(), |at| from + at);
        let member = rest[..end].trim_ascii();
        if !member.is_empty() && member.strip_prefix(b"W/").unwrap_or(member) == tag {
            return true;
        }
        rest = rest.get(end + 1..).unwrap_or_default().trim_ascii_start();
    }
    false
}

/// Whether the stored bytes are those of a coding (RFC 9110 §8.4), and not of the representation itself.
fn has_content_coding(stored: &HeaderMap) -> bool {
    any_member(stored, &header::CONTENT_ENCODING, |coding| {
        !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// Whether a range may be taken from the stored response: there is no `If-Range`, or it names
/// this response, strongly (RFC 9110 §13.1.5).
fn if_range_holds(request: &HeaderMap, stored: &HeaderMap, now: SystemTime) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().contains(&b'"') {
        return is_strong(condition) && stored.get(header::ETAG) == Some(condition);
    }
    // A date has to be a strong validator.
    stored.get(header::LAST_MODIFIED) == Some(condition) && is_last_modified_strong(stored, now)
}

fn parse_range(value: &HeaderValue, size: u64) -> Ranges {
    let Some(range) = value.to_str().ok().and_then(|text| {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.split_once('-')?;
        unit.trim()
            .eq_ignore_ascii_case("bytes")
            .then(|| (first.trim(), last.trim()))
    }) else {
        return Ranges::Ignored;
    };
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // A number that is too large is beyond every end.
        is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match range {
        ("", last) => match number(last) {
            Some(0) => return Ranges::None,
            Some(last) => size.saturating_sub(last)..size,
            None => return Ranges::Ignored,
        },
        (first, "") => match number(first) {
            Some(first) => first..size,
            None => return Ranges::Ignored,
        },
        (first, last) => match number(first).zip(number(last)) {
            Some((first, last)) if first <= last => first..last.saturating_add(1).min(size),
            _ => return Ranges::Ignored,
        },
    };
    if range.start < range.end {
        Ranges::One(range)
    } else {
        Ranges::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const MONDAY: &str = "Mon, 16 Nov 2026 10:00:00 GMT";
    const TUESDAY: &str = "Tue, 17 Nov 2026 10:00:00 GMT";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn of(
        request: &[(&'static str, &'static str)],
        stored: &[(&'static str, &'static str)],
    ) -> Selection {
        let (request, stored) = (headers(request), headers(stored));
        select(&Method::GET, &request, StatusCode::OK, &stored, 10, NOW)
    }

    /// RFC 9110 §13.1.2, §13.1.3, §13.2.
    #[test]
    fn conditions_are_evaluated_as_a_server_would() {
        let tagged = [("etag", "\"a,b\""), ("last-modified", MONDAY)];
        let weak = [("etag", "W/\"a,b\"")];
        let dated = [("date", MONDAY)];
        let table: &[(&[_], &[_], bool)] = &[
            (&[("if-none-match", "\"a,b\"")], &tagged, true),
            (&[("if-none-match", "W/\"a,b\"")], &tagged, true),
            (&[("if-none-match", "\"a,b\"")], &weak, true),
            (
                &[("if-none-match", "\"x\" , \"a,b\", \"y\"")],
                &tagged,
                true,
            ),
            (
                &[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")],
                &tagged,
                true,
            ),
            (&[("if-none-match", "*")], &tagged, true),
            (&[("if-none-match", "*")], &[], true),
            (&[("if-none-match", "\"a\", \"b\"")], &tagged, false),
            (&[("if-none-match", "\"a,b")], &tagged, false),
            (&[("if-none-match", "")], &tagged, false),
            (&[("if-none-match", "\"x\"")], &[], false),
            (&[("if-modified-since", MONDAY)], &tagged, true),
            (&[("if-modified-since", TUESDAY)], &tagged, true),
            (
                &[("if-modified-since", "Mon Nov 16 10:00:00 2026")],
                &tagged,
                true,
            ),
            (&[("if-modified-since", "yesterday")], &tagged, false),
            (&[("if-modified-since", TUESDAY)], &dated, true),
            (&[("if-modified-since", TUESDAY)], &[], false),
            (
                &[("if-modified-since", MONDAY)],
                &[("last-modified", TUESDAY)],
                false,
            ),
            // The tag counts, not the date.
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", TUESDAY)],
                &tagged,
                false,
            ),
        ];
        for (request, stored, expected) in table {
            let is = of(request, stored) == Selection::NotModified;
            assert_eq!(is, *expected, "{request:?} {stored:?}");
        }
        let request = headers(&[("if-none-match", "\"1\"")]);
        let stored = headers(&[("etag", "\"1\"")]);
        let gone = select(&Method::GET, &request, StatusCode::GONE, &stored, 0, NOW);
        assert_eq!(gone, Selection::Whole);
    }

    /// RFC 9110 §14.1.2, §14.2.
    #[test]
    fn one_range_is_served() {
        let table = [
            ("bytes=0-0", Selection::Part(0..1)),
            ("bytes=2-5", Selection::Part(2..6)),
            ("Bytes = 2 - 5", Selection::Part(2..6)),
            ("bytes=2-99999999999999999999", Selection::Part(2..10)),
            ("bytes=9-", Selection::Part(9..10)),
            ("bytes=-3", Selection::Part(7..10)),
            ("bytes=-30", Selection::Part(0..10)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=5-2", Selection::Whole),
            ("bytes=0-1,3-4", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("items=0-1", Selection::Whole),
            ("0-1", Selection::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(of(&[("range", range)], &[]), expected, "{range}");
        }
        let request = headers(&[("range", "bytes=0-1")]);
        let head = select(&Method::HEAD, &request, StatusCode::OK, &request, 10, NOW);
        assert_eq!(head, Selection::Head);
    }

    /// RFC 9110 §13.1.5.
    #[test]
    fn if_range_needs_a_strong_validator() {
        let stored = [
            ("etag", "\"1\""),
            ("last-modified", MONDAY),
            ("date", TUESDAY),
        ];
        let table: &[(&str, &[_], bool)] = &[
            ("\"1\"", &stored, true),
            ("\"2\"", &stored, false),
            ("W/\"1\"", &stored, false),
            ("W/\"1\"", &[("etag", "W/\"1\"")], false),
            (MONDAY, &stored, true),
            (TUESDAY, &stored, false),
            // It may have changed again in the same second.
            (
                MONDAY,
                &[("last-modified", MONDAY), ("date", MONDAY)],
                false,
            ),
            (MONDAY, &[], false),
        ];
        for (condition, stored, expected) in table {
            let request = headers(&[("range", "bytes=0-1")]);
            let mut request = request;
            request.insert(header::IF_RANGE, HeaderValue::from_static(condition));
            let stored = headers(stored);
            let found = select(&Method::GET, &request, StatusCode::OK, &stored, 10, NOW);
            assert_eq!(
                found == Selection::Part(0..2),
                *expected,
                "{condition} {stored:?}"
            );
        }
    }

    /// RFC 9110 §14.2: a server may ignore `Range`.
    #[test]
    fn a_coded_response_is_served_whole() {
        for (coding, expected) in [
            ("gzip", Selection::Whole),
            ("identity, br", Selection::Whole),
            ("identity", Selection::Part(0..2)),
            ("", Selection::Part(0..2)),
        ] {
            let stored = headers(&[("content-encoding", coding), ("etag", "\"1\"")]);
            for request in [
                &[("range", "bytes=0-1")][..],
                &[("range", "bytes=0-1"), ("if-range", "\"1\"")],
                &[("range", "bytes=0-1"), ("accept-encoding", "gzip, br")],
            ] {
                let request = headers(request);
                let found = select(&Method::GET, &request, StatusCode::OK, &stored, 10, NOW);
                assert_eq!(found, expected, "{coding} {request:?}");
            }
        }
    }

    /// All short texts over an alphabet.
    fn texts(alphabet: &[u8], size: u32) -> impl Iterator<Item = Vec<u8>> {
        let base = alphabet.len();
        (0..base.pow(size)).map(move |mut n| {
            let digit = |_| {
                let b = alphabet[n % base];
                n /= base;
                b
            };
            (0..size).map(digit).collect()
        })
    }

    /// There is no panic, and no bytes beyond the end.
    #[test]
    fn odd_requests_do_no_harm() {
        let tag = HeaderValue::from_static("\"a\"");
        for text in texts(b"W/\"a*, ", 5) {
            let Ok(line) = HeaderValue::from_bytes(&text) else {
                continue;
            };
            let text = String::from_utf8(text).unwrap();
            if lists_tag(&line, Some(&tag)) {
                assert!(text.contains("\"a\"") || text.trim() == "*", "{text}");
            }
        }
        for text in texts(b"0129-, ", 5) {
            let value = [b"bytes=", &text[..]].concat();
            let Ok(value) = HeaderValue::from_bytes(&value) else {
                continue;
            };
            for size in [0, 1, 10, u64::MAX] {
                if let Ranges::One(range) = parse_range(&value, size) {
                    assert!(range.start < range.end && range.end <= size, "{value:?}");
                }
            }
        }
    }
}
