//! `Cache-Control` (RFC 9111 §5.2): several lines, quoted strings, odd syntax.
//!
//! What cannot be understood never makes a response more reusable: a directive that restricts is
//! recognised with blanks and arguments around it, behind a semicolon and in a quoted string that does not
//! end; one that permits only as it should be.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What a response says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResponseDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) no_store: bool,
    /// Without field names, or with some that are none.
    pub(crate) no_cache: bool,
    /// The fields that `no-cache="…"` names.
    pub(crate) no_cache_fields: Vec<HeaderName>,
    pub(crate) must_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) public: bool,
    pub(crate) immutable: bool,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
}

/// What a request says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RequestDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
}

impl ResponseDirectives {
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        each(headers, |name, argument, certain| match name {
            _ if !certain => match name {
                "no-store" => this.no_store = true,
                "no-cache" => this.no_cache = true,
                "must-revalidate" => this.must_revalidate = true,
                _ => {}
            },
            "max-age" => first(&mut this.max_age, argument),
            "stale-if-error" => permission(&mut this.stale_if_error, argument),
            "stale-while-revalidate" => permission(&mut this.stale_while_revalidate, argument),
            "public" => this.public = true,
            // Arguments have no meaning (RFC 8246 §2).
            "immutable" => this.immutable = true,
            _ => match name.trim_end() {
                "no-store" => this.no_store = true,
                "no-cache" => match argument.and_then(fields) {
                    Some(fields) => this.no_cache_fields.extend(fields),
                    None => this.no_cache = true,
                },
                "must-revalidate" => this.must_revalidate = true,
                // As restrictive as max-age=0: better than not to have seen it.
                "max-age" => this.max_age = Some(Duration::ZERO),
                _ if name == "must-understand" => this.must_understand = true,
                _ => {}
            },
        });
        this
    }
}

impl RequestDirectives {
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        if !headers.contains_key(header::CACHE_CONTROL) {
            // Pragma counts only in its absence (RFC 9111 §5.4).
            this.no_cache = headers
                .get_all(header::PRAGMA)
                .iter()
                .any(|value| contains_token(value, b"no-cache"));
            return this;
        }
        each(headers, |name, argument, certain| match name {
            _ if !certain => match name {
                "no-store" => this.no_store = true,
                "no-cache" => this.no_cache = true,
                _ => {}
            },
            // Without an argument: any staleness will do (RFC 9111 §5.2.1.2).
            "max-stale" => {
                this.max_stale = match argument {
                    None => Some(Duration::MAX),
                    Some(argument) => seconds(argument),
                }
            }
            "stale-if-error" => this.stale_if_error = argument.and_then(seconds),
            _ => match name.trim_end() {
                "max-age" => first(&mut this.max_age, argument),
                "min-fresh" => {
                    this.min_fresh = Some(argument.and_then(seconds).unwrap_or(Duration::MAX));
                }
                "no-cache" => this.no_cache = true,
                "no-store" => this.no_store = true,
                "only-if-cached" => this.only_if_cached = true,
                _ => {}
            },
        });
        this
    }
}

/// Whether a comma-separated list has `token`, in any case.
pub(crate) fn contains_token(value: &HeaderValue, token: &[u8]) -> bool {
    value
        .as_bytes()
        .split(|b| *b == b',')
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(token))
}

/// The first of several counts. One that is no number counts as zero (RFC 9111 §4.2.1).
fn first(slot: &mut Option<Duration>, argument: Option<&str>) {
    slot.get_or_insert_with(|| argument.and_then(seconds).unwrap_or_default());
}

/// For how long something is permitted: of several the first that is a number counts.
fn permission(slot: &mut Option<Duration>, argument: Option<&str>) {
    if slot.is_none() {
        *slot = argument.and_then(seconds);
    }
}

/// delta-seconds. What is too large counts as the largest number there is (RFC 9111 §1.2.2), so that an
/// age is never below a lifetime because one of them was cut.
pub(crate) fn seconds(argument: &str) -> Option<Duration> {
    if argument.is_empty() || !argument.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(argument.parse().unwrap_or(u64::MAX)))
}

fn fields(argument: &str) -> Option<Vec<HeaderName>> {
    let name = |field: &str| HeaderName::from_bytes(field.trim().as_bytes()).ok();
    argument.split(',').map(name).collect()
}

/// Calls `f` with the name in lower case and the argument, unquoted, of each directive, and says
/// whether it is certain that this is one.
fn each(headers: &HeaderMap, mut f: impl FnMut(&str, Option<&str>, bool)) {
    for value in headers.get_all(header::CACHE_CONTROL) {
        let line = match value.to_str() {
            Ok(line) => line.into(),
            Err(_) => String::from_utf8_lossy(value.as_bytes()),
        };
        let mut rest = &*line;
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            if rest.is_empty() {
                break;
            }
            let end = rest.bytes().position(|b| matches!(b, b',' | b'='));
            let end = end.unwrap_or(rest.len());
            let name = lowercase(&rest[..end]);
            rest = &rest[end..];
            doubtful(&name, &mut f);
            let Some(after) = rest.strip_prefix('=') else {
                // A blank that ends the directive is no part of it.
                f(name.trim_end(), None, true);
                continue;
            };
            match argument(after) {
                Some((argument, junk, after)) => {
                    f(&name, Some(&argument), true);
                    doubtful(junk, &mut f);
                    rest = after;
                }
                // The string does not end: it has all of the rest, if it is one.
                None => {
                    f(&name, Some(after), true);
                    doubtful(after, &mut f);
                    break;
                }
            }
        }
    }
}

/// Most are in lower case already.
fn lowercase(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// What may be directives, if other separators than the right ones count.
fn doubtful(text: &str, f: &mut impl FnMut(&str, Option<&str>, bool)) {
    if !text.bytes().any(|b| matches!(b, b';' | b'"')) {
        return;
    }
    for piece in text.split([',', ';', '"']) {
        let name = piece.split('=').next().unwrap_or_default();
        f(&name.trim().to_ascii_lowercase(), None, false);
    }
}

/// An argument, what may be more than that, and what comes after it. `None` if its quotes are not
/// closed.
fn argument(text: &str) -> Option<(Cow<'_, str>, &str, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        // A blank before the argument stays, so that it is no number.
        return Some((text[..end].trim_end().into(), &text[..end], &text[end..]));
    };
    let mut argument = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let after = &quoted[at + 1..];
                let end = after.find(',').unwrap_or(after.len());
                return Some((argument.into(), &after[..end], &after[end..]));
            }
            '\\' => argument.extend(chars.next().map(|(_, c)| c)),
            c => argument.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            (header::CACHE_CONTROL, value)
        };
        lines.iter().map(line).collect()
    }

    const fn secs(secs: u64) -> Option<Duration> {
        Some(Duration::from_secs(secs))
    }

    #[test]
    fn max_age() {
        let table: &[(&[&str], Option<Duration>)] = &[
            (&["public"], None),
            (&["max-age=60"], secs(60)),
            (&["MAX-AGE=60"], secs(60)),
            (&["public,max-age=60"], secs(60)),
            (&["public", " , max-age=60 ,"], secs(60)),
            (&["max-age=\"60\""], secs(60)),
            (&["max-age=060"], secs(60)),
            (&["max-age=1, max-age=60"], secs(1)),
            (&["max-age=60", "max-age=1"], secs(60)),
            (&["x=\"max-age=60\""], None),
            (&["x=\"\\\", max-age=60, \\\"\""], None),
            (&["x=\"unterminated, max-age=60"], None),
            (&["x=\"a\" junk, max-age=60"], secs(60)),
            (&["max-age=99999999999999999999999"], secs(u64::MAX)),
            (&["max-age=-1"], secs(0)),
            (&["max-age=+1"], secs(0)),
            (&["max-age=1.5"], secs(0)),
            (&["max-age=1 2"], secs(0)),
            (&["max-age="], secs(0)),
            (&["max-age"], secs(0)),
            (&["max-age= 60"], secs(0)),
            (&["max-age =60"], secs(0)),
            (&["max-age=\u{661}"], secs(0)),
            (&["s-maxage=60, xmax-age=60, max-agex=60"], None),
            (&["", ",,,", "=", "=60", "\""], None),
        ];
        for (lines, expected) in table {
            let parsed = ResponseDirectives::parse(&headers(lines));
            assert_eq!(parsed.max_age, *expected, "{lines:?}");
        }
    }

    #[test]
    fn restrictions_are_seen_however_they_are_written() {
        for text in [
            "no-store",
            "No-Store ",
            "a,no-store",
            "no-store=1",
            "no-store =\"x\"",
            "a=\"\",no-store",
            // Other separators, and quotes that are not closed.
            "max-age=60; no-store",
            "public;no-store",
            "no-store; public",
            "a=\"b, no-store",
            "a=\"b, no-store, c",
            "a=b\"c, no-store",
            "a=\"b\"; no-store",
        ] {
            assert!(
                ResponseDirectives::parse(&headers(&[text])).no_store,
                "{text}"
            );
            assert!(
                RequestDirectives::parse(&headers(&[text])).no_store,
                "{text}"
            );
        }
        for text in [
            "no-cache",
            "no-cache ",
            "no-cache=\"\"",
            "no-cache=\"a b\"",
            "no-cache=",
            "x, no-cache",
        ] {
            assert!(
                ResponseDirectives::parse(&headers(&[text])).no_cache,
                "{text}"
            );
        }
        let fields =
            ResponseDirectives::parse(&headers(&["no-cache=\"Set-Cookie, x-A\", no-cache=b"]));
        assert!(!fields.no_cache);
        assert_eq!(fields.no_cache_fields, ["set-cookie", "x-a", "b"]);
        for text in ["no-stores", "x-no-store", "x=no-store", "x=\"a, no-store\""] {
            assert!(
                !ResponseDirectives::parse(&headers(&[text])).no_store,
                "{text}"
            );
        }
        // Not UTF-8.
        let mut odd = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"\xff\xfe=\"\xff\", no-store").unwrap();
        odd.insert(header::CACHE_CONTROL, value);
        assert!(ResponseDirectives::parse(&odd).no_store);
    }

    #[test]
    fn requests() {
        let parse = |text| RequestDirectives::parse(&headers(&[text]));
        assert_eq!(parse("max-stale").max_stale, Some(Duration::MAX));
        assert_eq!(parse("max-stale=5").max_stale, secs(5));
        assert_eq!(parse("max-stale=x").max_stale, None);
        assert_eq!(parse("max-stale =5").max_stale, None);
        assert_eq!(parse("min-fresh=5").min_fresh, secs(5));
        assert_eq!(parse("min-fresh").min_fresh, Some(Duration::MAX));
        assert_eq!(parse("max-age=0, only-if-cached").max_age, secs(0));
        assert!(parse("max-age=0, only-if-cached").only_if_cached);
        assert_eq!(parse("stale-if-error=7").stale_if_error, secs(7));
        assert_eq!(parse("stale-if-error").stale_if_error, None);

        let mut pragma = HeaderMap::new();
        pragma.insert(header::PRAGMA, HeaderValue::from_static("a, No-Cache"));
        assert!(RequestDirectives::parse(&pragma).no_cache);
        pragma.insert(header::CACHE_CONTROL, HeaderValue::from_static("foo"));
        assert!(!RequestDirectives::parse(&pragma).no_cache);
    }
}
