//! The part of a stored response that a client sees.

use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode};

use super::rules::{self, Rules};
use super::{Asked, Got, Version, text};

/// Whether headers that need validation are left out, and the age is not too low.
pub(crate) fn check_unvalidated(
    version: &Version,
    got: &Got,
    time: SystemTime,
    rules: Rules,
) -> Result<(), String> {
    let is_record = |name: &&http::HeaderName| name.as_str().starts_with("x-varied-");
    if let Some(name) = got.headers.keys().find(is_record) {
        return Err(format!("{name} is the cache's business"));
    }
    for directive in text::directives(&version.headers) {
        let Some(fields) = directive.argument.filter(|_| directive.name == "no-cache") else {
            continue;
        };
        if let Some(name) = fields
            .split(',')
            .find(|name| got.headers.contains_key(text::trim(name)))
        {
            return Err(format!("{name} is not to be sent without validation"));
        }
    }
    if rules.kubectl {
        return Ok(());
    }
    let age = text::lines(&got.headers, "age");
    let age = match &age[..] {
        [age] => text::seconds(age).ok_or("an odd Age")?,
        _ => return Err("no Age, or several (RFC 9111 §5.1)".into()),
    };
    let least = rules::age(version, time, rules);
    if age < least.min(1 << 31) {
        return Err(format!("Age is {age}, not {least} or more"));
    }
    Ok(())
}

/// Whether it is what the request selects of the response.
pub(crate) fn check(
    version: &Version,
    asked: &Asked,
    got: &Got,
    rules: Rules,
) -> Result<(), String> {
    if let Some(name) = ["x-hop", "keep-alive", "connection"]
        .iter()
        .find(|name| got.headers.contains_key(**name))
    {
        return Err(format!("{name} was for one connection"));
    }
    let body = match (&got.body, asked.method == Method::HEAD) {
        (Some(body), true) if !body.is_empty() => return Err("HEAD has no body".into()),
        (body, _) => body.as_deref(),
    };
    let is = |expected: &[u8]| body.is_none_or(|body| body == expected);
    match got.status {
        StatusCode::NOT_MODIFIED if is_not_modified(version, &asked.headers, rules) => {
            if is(b"") {
                Ok(())
            } else {
                Err("304 has no body".into())
            }
        }
        StatusCode::PARTIAL_CONTENT => {
            let range = text::lines(&got.headers, "content-range");
            let (first, last) = range
                .first()
                .and_then(|range| parse_range(range, version.body.len()))
                .ok_or("an odd Content-Range")?;
            if !asked.headers.contains_key("range") || version.status != StatusCode::OK {
                return Err("no range was wanted".into());
            }
            check_if_range(version, &asked.headers)?;
            if !range_is(&asked.headers, first, last, version.body.len()) {
                return Err(format!("not the range that was wanted: {first}-{last}"));
            }
            match version.body.get(first..=last) {
                Some(part) if is(part) => Ok(()),
                _ => Err("other bytes than the Content-Range says".into()),
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE
            if asked.headers.contains_key("range") && version.status == StatusCode::OK =>
        {
            let size = format!("bytes */{}", version.body.len());
            if text::lines(&got.headers, "content-range") != [size] || !is(b"") {
                return Err("an odd 416".into());
            }
            Ok(())
        }
        status if status == version.status => {
            if asked.method == Method::HEAD || is(&version.body) {
                Ok(())
            } else {
                Err("another body".into())
            }
        }
        status => Err(format!("{status} is not {}", version.status)),
    }
}

/// `bytes 1-2/3`
fn parse_range(text: &str, size: usize) -> Option<(usize, usize)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    (total.parse() == Ok(size)).then_some((first.parse().ok()?, last.parse().ok()?))
}

fn range_is(request: &HeaderMap, first: usize, last: usize, size: usize) -> bool {
    let wanted = text::lines(request, "range");
    wanted.iter().any(|wanted| {
        let Some((from, to)) = wanted
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        else {
            return false;
        };
        match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) => first == from && last == to.min(size - 1),
            (Ok(from), Err(_)) => first == from && last == size - 1,
            (Err(_), Ok(count)) => first == size.saturating_sub(count) && last == size - 1,
            _ => false,
        }
    })
}

/// RFC 9110 §13.1.5.
fn check_if_range(version: &Version, request: &HeaderMap) -> Result<(), String> {
    let Some(condition) = request.get("if-range") else {
        return Ok(());
    };
    let strong = condition.as_bytes().starts_with(b"\"");
    if strong && version.headers.get("etag") == Some(condition) {
        return Ok(());
    }
    if version.headers.get("last-modified") == Some(condition) {
        return Ok(());
    }
    Err("If-Range names another".into())
}

/// RFC 9110 §13.1.2, §13.1.3.
fn is_not_modified(version: &Version, request: &HeaderMap, rules: Rules) -> bool {
    if version.status != StatusCode::OK {
        return false;
    }
    let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let wanted = text::lines(request, "if-none-match");
    if !wanted.is_empty() {
        let tags = text::lines(&version.headers, "etag");
        return wanted.iter().any(|line| {
            text::trim(line) == "*"
                || tags.first().is_some_and(|tag| {
                    // Also as one of a list.
                    let line = line.replace("W/", "");
                    line == weak(tag) || text::members(&[line]).contains(&weak(tag))
                })
        });
    }
    let time = |headers: &HeaderMap, name| {
        let line = text::lines(headers, name).first().cloned()?;
        super::date(&line, rules.lenient_dates, version.answered.time)
    };
    let Some(since) = time(request, "if-modified-since") else {
        return false;
    };
    let received = rules::since_epoch(version.answered.time);
    let modified = time(&version.headers, "last-modified")
        .or_else(|| time(&version.headers, "date"))
        .unwrap_or(received);
    modified <= since
}
