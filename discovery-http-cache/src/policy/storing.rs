//! Whether a response may be kept, and which of its headers (RFC 9111 §3).

use std::time::{Duration, SystemTime};

use discovery_core::dump::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header, response};

use super::directives::ResponseDirectives;
use super::freshness::{self, Freshness};
use super::vary::{self, Vary};
use super::{Rules, date, invalidation, status};

/// What kubectl marks its hits with, and stores with a response that it has revalidated.
pub(crate) const FROM_CACHE: HeaderName = HeaderName::from_static("x-from-cache");

/// More bytes of headers than this are not kept: who reads entries does not read any number.
const MAX_HEADERS: usize = 128 * 1024;

/// Why a response is not kept.
pub(crate) type Refusal = &'static str;

/// Whether the answer to a GET or HEAD without `no-store` and `Range` may be kept.
pub(crate) fn may_store(
    status: StatusCode,
    headers: &HeaderMap,
    received: SystemTime,
    rules: Rules,
) -> Result<(), Refusal> {
    if !status::is_whole(status) || (rules.kubectl && status != StatusCode::OK) {
        return Err("status");
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if headers.iter().map(size).sum::<usize>() > MAX_HEADERS {
        return Err("too many headers");
    }
    let directives = ResponseDirectives::parse(headers);
    // A cache that knows the status ignores no-store next to must-understand (§5.2.2.3).
    match (directives.must_understand, directives.no_store) {
        (true, _) if !status::is_understood(status) => return Err("must-understand"),
        (false, true) => return Err("no-store"),
        _ => {}
    }
    let vary = Vary::of(headers);
    if vary.is_any() {
        return Err("varies by anything");
    }
    if vary.lists_credentials() {
        return Err("varies by credentials");
    }
    if rules.kubectl {
        return Ok(());
    }
    // What can neither be reused nor validated is not worth keeping. Only what a condition can be
    // about has something to validate (RFC 9110 §13.2.1).
    let dated = with_date(headers.clone(), received, rules);
    let freshness = Freshness::of(status, &dated, &directives, rules);
    let validators = status == StatusCode::OK
        && (headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED));
    if validators || !freshness.lifetime().is_zero() {
        Ok(())
    } else {
        Err("neither freshness nor validator")
    }
}

/// Whether the answer to a POST to `target` may be kept as that to a GET (RFC 9110 §9.3.3).
pub(crate) fn may_store_for_get(
    target: &Uri,
    parts: &response::Parts,
    received: SystemTime,
    rules: Rules,
) -> Result<(), Refusal> {
    if parts.status != StatusCode::OK {
        return Err("status");
    }
    let location = parts.headers.get(header::CONTENT_LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    if location.and_then(|location| invalidation::resolve(target, location)) != Some(target.clone())
    {
        return Err("another Content-Location");
    }
    let directives = ResponseDirectives::parse(&parts.headers);
    if directives.no_store || parts.headers.contains_key(header::VARY) {
        return Err("no-store or Vary");
    }
    let headers = with_date(parts.headers.clone(), received, rules);
    // No heuristics here.
    let rules = Rules {
        heuristic: Duration::ZERO,
        ..rules
    };
    let freshness = Freshness::of(parts.status, &headers, &directives, rules);
    if freshness.lifetime().is_zero() {
        return Err("no explicit freshness");
    }
    may_store(parts.status, &parts.headers, received, rules)
}

/// The head to keep of a response that was asked for with `request`.
pub(crate) fn to_store(
    parts: &response::Parts,
    request: &HeaderMap,
    asked: SystemTime,
    answered: SystemTime,
    rules: Rules,
) -> response::Parts {
    let mut headers = with_date(parts.headers.clone(), answered, rules);
    if !rules.kubectl {
        match freshness::excess(&headers, asked, answered, rules.lenient_dates) {
            Some(excess) => drop(headers.insert(header::AGE, excess.into())),
            None => drop(headers.remove(header::AGE)),
        }
    }
    remove_hop_by_hop(&mut headers);
    headers.remove(FROM_CACHE);
    Vary::of(&headers).record(request, &mut headers);
    let (mut stored, ()) = Response::new(()).into_parts();
    stored.status = parts.status;
    stored.version = parts.version;
    stored.headers = headers;
    if let Some(reason) = parts.extensions.get::<Reason>() {
        stored.extensions.insert(reason.clone());
    }
    stored
}

/// The headers of a stored response that its users see.
pub(crate) fn to_serve(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    remove_hop_by_hop(&mut headers);
    vary::remove_records(&mut headers);
    headers.remove(FROM_CACHE);
    headers
}

/// A response without `Date`, or with one that is none, gets the time it was received
/// (RFC 9110 §6.6.1). kubectl stores what it got.
fn with_date(mut headers: HeaderMap, received: SystemTime, rules: Rules) -> HeaderMap {
    let is_date = headers
        .get(header::DATE)
        .is_some_and(|value| rules.kubectl || date::parse(value, rules.lenient_dates).is_some());
    if !is_date && let Some(date) = date::format(received) {
        headers.insert(header::DATE, date);
    }
    headers
}

/// Takes out what speaks about one connection only (RFC 9111 §3.1, RFC 9110 §7.6.1).
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const ALWAYS: [HeaderName; 9] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("proxy-authentication-info"),
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(connection_options)
        .collect();
    for name in ALWAYS.iter().chain(&named) {
        headers.remove(name);
    }
    // What it announces is not kept.
    headers.remove(header::TRAILER);
}

/// The field names in a `Connection` line. Those without which a message cannot be understood are
/// not for it to name.
fn connection_options(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    const NEVER: [HeaderName; 5] = [
        header::CACHE_CONTROL,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::DATE,
        header::VARY,
    ];
    value
        .as_bytes()
        .split(|b| *b == b',')
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !NEVER.contains(name))
}
