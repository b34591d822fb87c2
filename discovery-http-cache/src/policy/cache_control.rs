//! `Cache-Control` (RFC 9111 §5.2): several lines, quoted strings, odd syntax.
//!
//! A line that is not well-formed never makes a response more reusable. A directive that restricts is
//! recognised with blanks and arguments around it, behind a semicolon, and in a quoted string that does not
//! end. A directive that permits counts only if it is well-formed.

use std::borrow::Cow;
use std::time::Duration;

use discovery_core::http::headers::any_member;
use http::{HeaderMap, HeaderName, header};

/// The directives of a response (RFC 9111 §5.2.2, RFC 5861, RFC 8246).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResponseDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) no_store: bool,
    /// Without field names, or with an argument that is no list of them (RFC 9111 §5.2.2.4).
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

/// The directives of a request (RFC 9111 §5.2.1, RFC 5861).
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
        each(headers, |name, argument| match name {
            _ if argument == Argument::Doubtful => match name {
                "no-store" => this.no_store = true,
                "no-cache" => this.no_cache = true,
                "must-revalidate" => this.must_revalidate = true,
                _ => {}
            },
            "max-age" => first(&mut this.max_age, &argument),
            "stale-if-error" => permission(&mut this.stale_if_error, &argument),
            "stale-while-revalidate" => {
                permission(&mut this.stale_while_revalidate, &argument);
            }
            "public" => this.public = true,
            // Arguments have no meaning (RFC 8246 §2).
            "immutable" => this.immutable = true,
            _ => match name.trim_end() {
                "no-store" => this.no_store = true,
                "no-cache" => match argument.field_names() {
                    Some(fields) => this.no_cache_fields.extend(fields),
                    None => this.no_cache = true,
                },
                "must-revalidate" => this.must_revalidate = true,
                // A blank before the equals sign: malformed, and so as restrictive as max-age=0
                // (RFC 9111 §4.2.1).
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
            this.no_cache = any_member(headers, &header::PRAGMA, |directive| {
                directive.eq_ignore_ascii_case(b"no-cache")
            });
            return this;
        }
        each(headers, |name, argument| match name {
            _ if argument == Argument::Doubtful => match name {
                "no-store" => this.no_store = true,
                "no-cache" => this.no_cache = true,
                _ => {}
            },
            // Without an argument: any staleness will do (RFC 9111 §5.2.1.2).
            "max-stale" => {
                this.max_stale = match argument {
                    Argument::Missing => Some(Duration::MAX),
                    _ => argument.seconds(),
                }
            }
            "stale-if-error" => this.stale_if_error = argument.seconds(),
            _ => match name.trim_end() {
                "max-age" => first(&mut this.max_age, &argument),
                "min-fresh" => {
                    this.min_fresh = Some(argument.seconds().unwrap_or(Duration::MAX));
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

/// The argument of a directive.
#[derive(PartialEq)]
enum Argument<'a> {
    /// There is no equals sign.
    Missing,
    /// A token, or a quoted string without its quotes.
    Text(Cow<'a, str>),
    /// A string without an end, or with more behind its end than blanks: no argument of anything.
    Malformed,
    /// The name stands where there is no directive by the grammar, but one was probably meant.
    Doubtful,
}

impl Argument<'_> {
    fn seconds(&self) -> Option<Duration> {
        match self {
            Self::Text(text) => seconds(text),
            Self::Missing | Self::Malformed | Self::Doubtful => None,
        }
    }

    /// The list of field names in it, if it is one (RFC 9111 §5.2.2.4).
    fn field_names(&self) -> Option<Vec<HeaderName>> {
        let Self::Text(text) = self else { return None };
        let name = |field: &str| HeaderName::from_bytes(field.trim().as_bytes()).ok();
        text.split(',').map(name).collect()
    }
}

/// Keeps the first of several lifetimes. One that is no number counts as zero (RFC 9111 §4.2.1).
fn first(slot: &mut Option<Duration>, argument: &Argument<'_>) {
    slot.get_or_insert_with(|| argument.seconds().unwrap_or_default());
}

/// Keeps the first of several permissions that is a number.
fn permission(slot: &mut Option<Duration>, argument: &Argument<'_>) {
    if slot.is_none() {
        *slot = argument.seconds();
    }
}

/// Parses delta-seconds. A number that is too large counts as the largest that there is (RFC 9111
/// §1.2.2), so that an age is never below a lifetime because one of them was cut.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// Calls `f` with the name, in lower case, and the argument of each directive.
fn each(headers: &HeaderMap, mut f: impl FnMut(&str, Argument<'_>)) {
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
                f(name.trim_end(), Argument::Missing);
                continue;
            };
            let (argument, unparsed, after) = argument(after);
            f(&name, argument);
            doubtful(unparsed, &mut f);
            rest = after;
        }
    }
}

/// Most names are in lower case already.
fn lowercase(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// Calls `f` with each piece of `text` that would be a directive if semicolons and quotes separated them.
fn doubtful(text: &str, f: &mut impl FnMut(&str, Argument<'_>)) {
    if !text.bytes().any(|b| matches!(b, b';' | b'"')) {
        return;
    }
    for piece in text.split([',', ';', '"']) {
        let name = piece.split('=').next().unwrap_or_default();
        f(&name.trim().to_ascii_lowercase(), Argument::Doubtful);
    }
}

/// Splits the text behind an equals sign into the argument, the part in which directives may hide that are
/// not written as they should be, and the rest of the line from the next comma on.
fn argument(text: &str) -> (Argument<'_>, &str, &str) {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
        // A blank before the token stays, so that it is no number.
        return (Argument::Text(token.trim_end().into()), token, rest);
    };
    let Some((unquoted, after)) = unquote(quoted) else {
        // The string has all of the rest, if it is one.
        return (Argument::Malformed, text, "");
    };
    let (between, rest) = after.split_at(after.find(',').unwrap_or(after.len()));
    if between.trim().is_empty() {
        (Argument::Text(unquoted.into()), between, rest)
    } else {
        (Argument::Malformed, between, rest)
    }
}

/// A quoted string (RFC 9110 §5.6.4) from behind its first quote: its text, and the part of the line behind
/// it. `None` if it does not end.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.extend(chars.next().map(|(_, c)| c)),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
    fn a_lifetime_counts_only_if_it_is_well_formed() {
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
            // More behind a string than blanks: it is no argument.
            (&["max-age=\"103\" , x"], secs(103)),
            (&["max-age=\"103\"max-age=5"], secs(0)),
            (&["max-age=\"103\"5"], secs(0)),
            (&["max-age=\"103\"\"\""], secs(0)),
            (&["max-age=\"103\";x, max-age=60"], secs(0)),
            (&["max-age=\"103"], secs(0)),
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
            "a=\"b\"\"c, no-store\", no-store",
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
            "no-cache=\"a\"b",
            "no-cache=\"a",
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
    fn a_request_is_as_strict_as_its_directives_can_mean() {
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
        assert_eq!(parse("stale-if-error=\"7\"0").stale_if_error, None);
        assert_eq!(parse("max-stale=\"7\"0").max_stale, None);
        assert_eq!(parse("min-fresh=\"7\"0").min_fresh, Some(Duration::MAX));

        let mut pragma = HeaderMap::new();
        pragma.insert(header::PRAGMA, HeaderValue::from_static("a, No-Cache"));
        assert!(RequestDirectives::parse(&pragma).no_cache);
        pragma.insert(header::CACHE_CONTROL, HeaderValue::from_static("foo"));
        assert!(!RequestDirectives::parse(&pragma).no_cache);
    }
}
