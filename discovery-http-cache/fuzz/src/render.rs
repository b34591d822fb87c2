//! Requests and responses in words.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::scenario::{
    Answer, BodyKind, DateFormat, Directive, Kind, Mostly, Offset, Reference, RequestField,
    Resource, ResponseField, Seconds, Style, Tag, Value, VaryOn, When,
};

/// The field that tells answers apart.
pub(crate) const ID: HeaderName = HeaderName::from_static("x-id");

/// A mark that must not be in the store if the answer may not be.
pub(crate) fn secret_of_answer(id: usize) -> String {
    format!("secret-of-answer-{id}.")
}

/// A mark that must never be in the store.
pub(crate) fn secret_of_request(number: usize) -> String {
    format!("secret-of-request-{number}.")
}

pub(crate) fn secret_of_hop(id: usize) -> String {
    format!("secret-of-hop-{id}.")
}

pub(crate) fn method(byte: u8) -> Method {
    match byte {
        0..170 => Method::GET,
        170..205 => Method::HEAD,
        205..220 => Method::POST,
        220..230 => Method::PUT,
        230..240 => Method::DELETE,
        240..248 => Method::OPTIONS,
        _ => Method::from_bytes(b"PURGE").expect("a token"),
    }
}

pub(crate) fn uri(resource: Resource) -> String {
    format!("https://h:6443{}", path(resource))
}

fn path(resource: Resource) -> &'static str {
    match resource {
        Resource::A => "/apis",
        Resource::B => "/apis/b",
        Resource::Query => "/apis?q=1",
    }
}

pub(crate) fn request_headers(
    fields: &[Mostly<RequestField>],
    number: usize,
    now: SystemTime,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| append(&mut headers, name, &value);
    for field in fields {
        match &**field {
            RequestField::Accept(value) => each(*value, |value| put("accept", value.into())),
            RequestField::Language(value) => {
                each(*value, |value| put("accept-language", value.into()));
            }
            RequestField::Sensitive => put("x-token", secret_of_request(number)),
            RequestField::Authorization => put("authorization", secret_of_request(number)),
            RequestField::Cookie => put("cookie", secret_of_request(number)),
            RequestField::NoCache => put("cache-control", "no-cache".into()),
            RequestField::NoStore => put("cache-control", "no-store".into()),
            RequestField::OnlyIfCached => put("cache-control", "only-if-cached".into()),
            RequestField::MaxAge(of) => put("cache-control", argument("max-age", **of)),
            RequestField::MinFresh(of) => put("cache-control", argument("min-fresh", **of)),
            RequestField::MaxStale(of) => put("cache-control", argument("max-stale", **of)),
            RequestField::AnyStale => put("cache-control", "max-stale".into()),
            RequestField::StaleIfError(of) => {
                put("cache-control", argument("stale-if-error", **of));
            }
            RequestField::Pragma => put("pragma", "no-cache".into()),
            RequestField::IfNoneMatch(of) => put("if-none-match", tag(*of)),
            RequestField::IfModifiedSince(when) => put("if-modified-since", date(*when, now)),
            RequestField::IfMatch(of) => put("if-match", tag(*of)),
            RequestField::Range(first, more) => put(
                "range",
                format!("bytes={first}-{}", u16::from(*first) + u16::from(*more)),
            ),
            RequestField::Suffix(last) => put("range", format!("bytes=-{last}")),
            RequestField::IfRange(of) => put("if-range", tag(*of)),
            RequestField::Upgrade => put("upgrade", "websocket".into()),
            RequestField::Unknown => {
                put("cache-control", "x=\"no-store, no-cache\", nothing".into());
            }
        }
    }
    if let Some(value) = headers.get_mut("x-token") {
        value.set_sensitive(true);
    }
    headers
}

pub(crate) fn status(answer: &Answer, is_conditional: bool) -> StatusCode {
    const SOME: [u16; 16] = [
        200, 201, 204, 206, 301, 302, 303, 304, 307, 308, 400, 404, 410, 416, 418, 299,
    ];
    let code = match *answer.kind {
        Kind::Confirm if is_conditional => 304,
        Kind::Confirm | Kind::Ok | Kind::Broken => 200,
        Kind::Status(n) => SOME[usize::from(n) % SOME.len()],
        Kind::Error(n) => 500 + u16::from(n % 6),
    };
    StatusCode::from_u16(code).expect("a status")
}

/// The headers of the answer with this number.
pub(crate) fn response_headers(
    answer: &Answer,
    status: StatusCode,
    id: usize,
    now: SystemTime,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(ID, id.into());
    }
    append(&mut headers, "x-secret", &secret_of_answer(id));
    append(&mut headers, "x-named", "only after validation");
    let has_date = answer
        .fields
        .iter()
        .any(|field| matches!(field, ResponseField::Date(_)));
    if !(has_date || !answer.dated && !answer.dated_too) {
        append(&mut headers, "date", &httpdate::fmt_http_date(now));
    }
    let mut line = String::from(if answer.fresh { "max-age=60" } else { "" });
    for directive in &answer.directives {
        let text = self::directive(directive);
        if directive.has_own_line() {
            append(&mut headers, "cache-control", &text);
        } else {
            line = format!("{line}{}{text}", if line.is_empty() { "" } else { ", " });
        }
    }
    if !line.is_empty() {
        append(&mut headers, "cache-control", &line);
    }
    let has_tag = answer
        .fields
        .iter()
        .any(|field| matches!(field, ResponseField::Tag(_)));
    if answer.tagged && !has_tag {
        append(&mut headers, "etag", "\"0\"");
    }
    if answer.varied > 192 {
        append(&mut headers, "vary", "accept");
    }
    for field in &answer.fields {
        response_field(&mut headers, field, id, now);
    }
    headers
}

fn response_field(headers: &mut HeaderMap, field: &ResponseField, id: usize, now: SystemTime) {
    let mut put = |name: &'static str, value: &str| append(headers, name, value);
    match field {
        ResponseField::Tag(of) => put("etag", &tag(*of)),
        ResponseField::LastModified(when) => put("last-modified", &date(*when, now)),
        ResponseField::Expires(when) => put("expires", &date(*when, now)),
        ResponseField::Date(when) => put("date", &date(*when, now)),
        ResponseField::Age(of) => put("age", &number(**of)),
        ResponseField::Vary(on) => match on {
            VaryOn::Accept => put("vary", "Accept"),
            VaryOn::Language => put("vary", "accept-language"),
            VaryOn::Both => put("vary", "accept , ,Accept-Language"),
            VaryOn::Sensitive => put("vary", "X-Token"),
            VaryOn::Authorization => put("vary", "accept, AUTHORIZATION"),
            VaryOn::Cookie => put("vary", "cookie"),
            VaryOn::Anything => put("vary", "accept, *"),
            VaryOn::Odd => put("vary", "accept language, \"accept\""),
            VaryOn::Nothing => put("vary", " ,"),
        },
        ResponseField::Hop => {
            put("connection", "close, X-Hop");
            put("x-hop", &secret_of_hop(id));
            put("keep-alive", &secret_of_hop(id));
        }
        ResponseField::Location(reference) => put("location", &self::reference(*reference)),
        ResponseField::ContentLocation(of) => put("content-location", &self::reference(*of)),
        ResponseField::Stream => put("content-type", "text/event-stream"),
        ResponseField::Unknown => {
            put("cache-control", "");
            put("x-varied-accept", "forged");
            put("x-from-cache", "1");
        }
    }
}

/// The frames of a body, whether the last of them is an error, and whether it is as announced.
pub(crate) fn body(
    kind: BodyKind,
    has_none: bool,
    id: usize,
    headers: &mut HeaderMap,
) -> (Vec<String>, bool) {
    let filler = "0123456789".repeat(2);
    let mut frames = vec![secret_of_answer(id), filler];
    if matches!(kind, BodyKind::Empty) || has_none {
        frames.clear();
    }
    let size: usize = frames.iter().map(String::len).sum();
    let mut announce = |size: usize| {
        headers.append("content-length", size.into());
    };
    match kind {
        BodyKind::Plain | BodyKind::Unknown | BodyKind::Empty => {}
        BodyKind::WithLength => announce(size),
        BodyKind::Cut => {
            frames.pop();
        }
        BodyKind::TooShort => announce(size + 3),
        BodyKind::TooLong => announce(size.saturating_sub(3)),
        BodyKind::TwoLengths => {
            announce(size);
            announce(size + 1);
        }
    }
    let whole = match kind {
        BodyKind::Plain | BodyKind::Unknown | BodyKind::Empty | BodyKind::WithLength => true,
        BodyKind::Cut | BodyKind::TooShort => has_none,
        BodyKind::TooLong => has_none || size == 0,
        BodyKind::TwoLengths => has_none,
    };
    (frames, whole)
}

pub(crate) fn append(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("visible characters");
    headers.append(name, value);
}

fn each(value: Value, mut put: impl FnMut(&'static str)) {
    match value {
        Value::One => put("one"),
        Value::Two => put("two"),
        Value::OneTwo => put("one,two"),
        Value::TwoOne => put("two,one"),
        Value::Spaced => put(" one ,\ttwo "),
        Value::Lines => {
            put("one");
            put("two");
        }
        Value::Upper => put("ONE"),
    }
}

fn number(of: Seconds) -> String {
    match of {
        Seconds::Some(n) | Seconds::Quoted(n) => n.to_string(),
        Seconds::None => "0".into(),
        Seconds::Many(n) => (u32::from(n) * 100).to_string(),
        Seconds::Most => u64::MAX.to_string(),
        Seconds::TooMany => "99999999999999999999999".into(),
        Seconds::Negative => "-1".into(),
        Seconds::Nonsense => "1x".into(),
        Seconds::Missing => String::new(),
        Seconds::Fraction(n) => format!("{n}.5"),
    }
}

fn argument(name: &str, of: Seconds) -> String {
    match of {
        Seconds::Missing => name.to_owned(),
        Seconds::Quoted(n) => format!("{name}=\"{n}\""),
        of => format!("{name}={}", number(of)),
    }
}

fn tag(of: Tag) -> String {
    match of {
        Tag::Strong(second) => format!("\"{}\"", u8::from(second)),
        Tag::Weak(second) => format!("W/\"{}\"", u8::from(second)),
        Tag::Any => "*".into(),
        Tag::Unquoted => "0".into(),
        Tag::Odd => "\"a, \"0\"".into(),
    }
}

fn directive(directive: &Directive) -> String {
    match directive {
        Directive::MaxAge(of) => argument("max-age", **of),
        Directive::NoStore(style) => styled("no-store", *style),
        Directive::NoCache(style) => styled("no-cache", *style),
        Directive::NoCacheField => "no-cache=\"x-named\"".into(),
        Directive::MustRevalidate(style) => styled("must-revalidate", *style),
        Directive::MustUnderstand => "must-understand".into(),
        Directive::Private => "private".into(),
        Directive::Public => "public".into(),
        Directive::Immutable => "immutable".into(),
        Directive::StaleIfError(of) => argument("stale-if-error", **of),
        Directive::StaleWhileRevalidate(of) => argument("stale-while-revalidate", **of),
        Directive::SMaxAge(of) => argument("s-maxage", **of),
        Directive::Quoted => "x=\"max-age=9999, \\\" immutable, stale-if-error=9999\"".into(),
        Directive::Unknown => "y=1, , z".into(),
    }
}

impl Directive {
    fn has_own_line(&self) -> bool {
        match self {
            Self::NoStore(style) | Self::NoCache(style) | Self::MustRevalidate(style) => {
                matches!(style, Style::OwnLine)
            }
            _ => false,
        }
    }
}

fn styled(name: &str, style: Style) -> String {
    match style {
        Style::Plain | Style::OwnLine => name.to_owned(),
        Style::Upper => name.to_ascii_uppercase(),
        Style::Spaced => format!(" \t{name}\t "),
        Style::WithArgument => format!("{name}=1"),
    }
}

fn reference(reference: Reference) -> String {
    match reference {
        Reference::Path(of) => path(of).to_owned(),
        Reference::Absolute(of) => uri(of),
        Reference::Relative(of) => format!("../..{}", path(of)),
        Reference::OtherHost(of) => format!("https://other:6443{}", path(of)),
    }
}

/// The date that a header has.
fn date(when: When, now: SystemTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let secs = |secs: u64| Duration::from_secs(secs);
    let time = match *when.offset {
        Offset::Now => now,
        Offset::Later(n) => now + secs(n.into()),
        Offset::Earlier(n) => now - secs(n.into()),
        Offset::LongAgo(n) => now - secs(u64::from(n) * DAY),
        Offset::FarAhead(n) => now + secs(u64::from(n) * 10_000 * DAY),
    };
    let text = httpdate::fmt_http_date(time.min(SystemTime::UNIX_EPOCH + secs(253_402_300_000)));
    let long = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ];
    let (day, rest) = text.split_once(", ").expect("a date");
    let fields: Vec<&str> = rest.split(' ').collect();
    match *when.format {
        DateFormat::Imf => text,
        DateFormat::Rfc850 => {
            let day = long
                .iter()
                .find(|name| name.starts_with(day))
                .expect("a day");
            format!(
                "{day}, {}-{}-{} {} GMT",
                fields[0],
                fields[1],
                &fields[2][2..],
                fields[3]
            )
        }
        DateFormat::Asctime => {
            let number = fields[0].trim_start_matches('0');
            format!(
                "{day} {} {number:>2} {} {}",
                fields[1], fields[3], fields[2]
            )
        }
        DateFormat::Lower => text.to_ascii_lowercase(),
        DateFormat::WrongDay => format!("{}, {rest}", if day == "Mon" { "Tue" } else { "Mon" }),
        DateFormat::OtherZone => text.replace("GMT", "EST"),
        DateFormat::Zero => "0".into(),
        DateFormat::Nonsense => format!("{text}, {text}"),
    }
}
