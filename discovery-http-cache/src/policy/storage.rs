//! Whether a response may be stored, and which of its headers (RFC 9111 §3).

use std::time::{Duration, SystemTime};

use discovery_core::http::dump::Reason;
use discovery_core::http::headers::{connection_options, hop_by_hop};
use discovery_core::http::uri;
use discovery_core::store::PutOptions;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use http::{header, response};

use super::cache_control::ResponseDirectives;
use super::freshness::{self, Freshness};
use super::reuse::{ResponseFields, StoredMeta};
use super::vary;
use super::{Rules, date, invalidation, status};
use crate::cache_status::FROM_CACHE;

/// A response with more bytes of headers is not stored, including those of the request that `Vary` lists:
/// readers of entries do not read any number.
const MAX_HEADERS: usize = 128 * 1024;

/// Neither is one with more header lines.
const MAX_LINES: usize = 1024;

/// The reason why a response is not stored.
pub(crate) type Refusal = &'static str;

/// Decides whether the answer to a GET or HEAD without `no-store` and `Range` may be stored, and returns its
/// fields that decide about reuse.
pub(crate) fn may_store(
    status: StatusCode,
    headers: &HeaderMap,
    rules: Rules,
) -> Result<ResponseFields, Refusal> {
    if !status::may_be_stored(status, rules) {
        return Err("status");
    }
    if !is_small(headers) {
        return Err("too many headers");
    }
    if names_what_decides(headers) {
        return Err("Connection names what decides");
    }
    let fields = ResponseFields::of(headers);
    let ResponseFields { directives, vary } = &fields;
    // A cache that knows the status ignores no-store next to must-understand (§5.2.2.3).
    match (directives.must_understand, directives.no_store) {
        (true, _) if !status::is_understood(status) => return Err("must-understand"),
        (false, true) => return Err("no-store"),
        _ => {}
    }
    if vary.is_any() {
        return Err("varies by anything");
    }
    if vary.lists_credentials() {
        return Err("varies by credentials");
    }
    Ok(fields)
}

/// Whether the answer to a request with `Range` may be kept as that to one without: a server that
/// ignores the field sends all of it with 200 (RFC 9110 §14.2). Another status can be about the range, as
/// 416 is.
pub(crate) fn may_store_in_place_of_part(status: StatusCode) -> Result<(), Refusal> {
    match status {
        StatusCode::OK => Ok(()),
        _ => Err("the answer to a range"),
    }
}

/// Whether a response is that of the request's URI, and not of another to which a redirect has led below
/// the cache. `from` is where the response says that it came from, absolute or in relation to `target`.
///
/// Another response is no answer to `target` by itself, and says nothing about its entries: it is neither
/// stored nor does it update, confirm or replace one.
pub(crate) fn is_from_target(target: &Uri, from: Option<&Uri>) -> Result<(), Refusal> {
    let key = |uri: &Uri| uri::normalized(&Method::GET, uri);
    let Some(from) = from else {
        return Ok(());
    };
    let resolved = if from.authority().is_some() {
        Some(from.clone())
    } else {
        uri::resolve(target, &from.to_string())
    };
    match resolved {
        Some(from) if key(&from) == key(target) => Ok(()),
        _ => Err("a redirect was followed"),
    }
}

/// Whether a response that may be stored is worth it: one that can be neither reused nor validated is not.
/// Only a 200 can be validated, because conditions are about successes (RFC 9110 §13.2.1).
pub(crate) fn is_worth_storing(
    kept: &response::Parts,
    lifetime: Duration,
    rules: Rules,
) -> Result<(), Refusal> {
    let headers = &kept.headers;
    let validators = kept.status == StatusCode::OK
        && (headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED));
    if rules.kubectl || validators || !lifetime.is_zero() {
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
) -> Result<ResponseFields, Refusal> {
    if parts.status != StatusCode::OK {
        return Err("status");
    }
    let location = parts.headers.get(header::CONTENT_LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    let named = location.and_then(|location| invalidation::on_same_origin(target, location));
    let key = |uri: &Uri| uri::normalized(&Method::GET, uri);
    if named.is_none_or(|named| key(&named) != key(target)) {
        return Err("another Content-Location");
    }
    let directives = ResponseDirectives::parse(&parts.headers);
    if directives.no_store || parts.headers.contains_key(header::VARY) {
        return Err("no-store or Vary");
    }
    let mut headers = parts.headers.clone();
    if let (_, Some(date)) = date_to_store(&headers, received, rules) {
        headers.insert(header::DATE, date);
    }
    // No heuristics here.
    let rules = Rules {
        heuristic: Duration::ZERO,
        ..rules
    };
    let freshness = Freshness::of(parts.status, &headers, &directives, rules, received);
    if freshness.lifetime().is_zero() {
        return Err("no explicit freshness");
    }
    may_store(parts.status, &parts.headers, rules)
}

/// The head to keep of a response whose reuse fields are `fields`, and whose request had the headers `request`.
pub(crate) fn to_store(
    parts: &response::Parts,
    fields: &ResponseFields,
    request: &HeaderMap,
    asked: SystemTime,
    answered: SystemTime,
    rules: Rules,
) -> Result<response::Parts, Refusal> {
    let vary = &fields.vary;
    if vary.lists_sensitive(request) {
        return Err("varies by a sensitive header");
    }
    // Of the fields as they came, before `Connection` may name one that is put in.
    let (date, new_date) = date_to_store(&parts.headers, answered, rules);
    let excess = freshness::excess(date, &parts.headers, asked, answered);
    let mut headers = copy(&parts.headers);
    if let Some(date) = new_date {
        headers.insert(header::DATE, date);
    }
    // kubectl reads no Age. It is written there only if the response would be fresh for too long
    // without it.
    if !rules.kubectl || date.is_some_and(|date| date > answered) {
        match excess {
            Some(excess) => drop(headers.insert(header::AGE, excess.into())),
            None => drop(headers.remove(header::AGE)),
        }
    }
    vary.record(request, &mut headers, rules);
    if !is_small(&headers) {
        return Err("too many headers");
    }
    let (mut stored, ()) = Response::new(()).into_parts();
    stored.status = parts.status;
    stored.version = known_version(parts.version);
    stored.headers = headers;
    if let Some(reason) = parts.extensions.get::<Reason>() {
        stored.extensions.insert(reason.clone());
    }
    Ok(stored)
}

/// The hint of how long a response is worth keeping: while it is fresh, while it may be served stale (RFC 5861), and if
/// it has a validator, some time longer, because it can be validated.
pub(crate) fn put_options(
    stored: &response::Parts,
    meta: &StoredMeta,
    now: SystemTime,
) -> PutOptions {
    const VALIDATED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    let directives = &meta.directives;
    let stale = [directives.stale_if_error, directives.stale_while_revalidate];
    let stale = stale.into_iter().flatten().max().unwrap_or_default();
    let has_validator = [header::ETAG, header::LAST_MODIFIED]
        .iter()
        .any(|name| stored.headers.contains_key(name));
    let fresh = meta
        .freshness
        .lifetime()
        .saturating_sub(meta.freshness.age(now));
    let longer = if has_validator {
        VALIDATED
    } else {
        Duration::ZERO
    };
    let keep_for = fresh.saturating_add(stale).saturating_add(longer);
    // A response that is stored without any of these serves requests with `max-stale`, for as long as they allow.
    if keep_for.is_zero() {
        PutOptions::new()
    } else {
        PutOptions::new().with_keep_for(keep_for)
    }
}

/// The version to store and to serve. A stored response is served on whatever connection the caller has,
/// and not everybody reads other versions than these.
pub(crate) fn known_version(version: Version) -> Version {
    match version {
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => version,
        _ => Version::HTTP_11,
    }
}

/// Whether headers are few enough to be stored.
fn is_small(headers: &HeaderMap) -> bool {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.len() <= MAX_LINES && headers.iter().map(size).sum::<usize>() <= MAX_HEADERS
}

/// Whether an entry, which another program may have stored, has so few headers that there is room for more.
pub(crate) fn is_readable(headers: &HeaderMap) -> bool {
    headers.len() <= 2 * MAX_LINES
}

/// Removes the fields of a stored response that its users are not to see, and makes room for the age that
/// it will have. The headers must be [readable](is_readable).
pub(crate) fn make_servable(headers: &mut HeaderMap, rules: Rules) {
    let is_hop_by_hop = hop_by_hop(headers);
    let names = headers
        .keys()
        .filter(|name| is_hop_by_hop(name) || vary::is_record(name) || **name == FROM_CACHE);
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    // The age is put in when they are served, for kubectl only where there is one.
    if !rules.kubectl {
        headers.insert(header::AGE, HeaderValue::from_static("0"));
    }
}

/// The time at which a response was sent, and the `Date` to store in place of the one that it has. A
/// response without a valid `Date` gets the time at which it was received (RFC 9110 §6.6.1). kubectl stores
/// the field as it came.
fn date_to_store(
    headers: &HeaderMap,
    received: SystemTime,
    rules: Rules,
) -> (Option<SystemTime>, Option<HeaderValue>) {
    let sent = headers.get(header::DATE);
    let date = sent.and_then(|value| date::parse(value, rules.lenient_dates, received));
    if date.is_some() || (rules.kubectl && sent.is_some()) {
        return (date, None);
    }
    match date::format(received) {
        Some(new) => (date::parse(&new, false, received), Some(new)),
        None => (None, None),
    }
}

/// The fields that are not about one connection only and that this cache has not put in, with room for
/// those that will be.
fn copy(headers: &HeaderMap) -> HeaderMap {
    const ROOM: usize = 4;
    let is_hop_by_hop = hop_by_hop(headers);
    let mut copy = HeaderMap::with_capacity((headers.len() + ROOM).min(MAX_LINES));
    for (name, value) in headers {
        if !is_hop_by_hop(name) && *name != FROM_CACHE {
            copy.append(name.clone(), value.clone());
        }
    }
    copy
}

/// Whether `Connection` names a field that decides how the response may be reused. Such is never
/// appropriate (RFC 9110 §7.6.1). Fields that it names are not kept (RFC 9111 §3.1), and without these
/// the response would say something else.
pub(crate) fn names_what_decides(headers: &HeaderMap) -> bool {
    const DECIDING: [HeaderName; 8] = [
        header::AGE,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::DATE,
        header::EXPIRES,
        header::VARY,
    ];
    connection_options(headers).any(|name| DECIDING.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_from_another_uri_is_no_answer_to_the_target() {
        let target = Uri::from_static("https://h/a?b");
        for (from, is_target) in [
            (None, true),
            (Some("https://h/a?b"), true),
            (Some("https://H:443/%61?b"), true),
            (Some("/a?b"), true),
            (Some("/c"), false),
            (Some("https://h/a"), false),
            (Some("https://other/a?b"), false),
            (Some("http://h/a?b"), false),
            (Some("h:443"), false),
            (Some("*"), false),
        ] {
            let from = from.map(|from| from.parse::<Uri>().unwrap());
            let found = is_from_target(&target, from.as_ref()).is_ok();
            assert_eq!(found, is_target, "{from:?}");
        }
    }
}
