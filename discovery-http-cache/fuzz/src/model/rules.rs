//! RFC 9111 over one response: may it be kept, for whom, how long is it fresh, how old is it.
//!
//! Where the RFC leaves a choice, these take the one that allows most: what they forbid is wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, StatusCode};

use super::date::date;
use super::text::{self, directives, has, lines, members, seconds, seconds_of};
use super::{Asked, Version};

/// The options of the layer.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// kubectl's preset.
    pub kubectl: bool,
    /// Whether any zone will do.
    pub lenient_dates: bool,
    /// Whether an unreachable server makes what is stale good enough.
    pub stale_if_disconnected: bool,
}

/// Statuses that a cache may give a lifetime (RFC 9110 §15.1).
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Statuses of RFC 9110 §15.
fn is_known(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

/// Why a response may not be kept (RFC 9111 §3).
pub(crate) fn must_not_store(version: &Version, rules: Rules) -> Option<&'static str> {
    let all = directives(&version.headers);
    let asked = directives(&version.request);
    let status = version.status.as_u16();
    if version.method != Method::GET && version.method != Method::HEAD {
        return Some("another method");
    }
    if has(&asked, "no-store") {
        return Some("the request says no-store");
    }
    if matches!(status, 100..200 | 206 | 304) {
        return Some("no whole response");
    }
    if status != 200 && (rules.kubectl || version.of_range) {
        return Some("the status");
    }
    if has(&all, "must-understand") && !is_known(version.status) {
        return Some("must-understand");
    }
    if has(&all, "no-store") && !has(&all, "must-understand") {
        return Some("no-store");
    }
    let vary = vary(&version.headers);
    if vary.iter().any(|name| {
        ["authorization", "cookie", "proxy-authorization"].contains(&name.as_str())
            || name.starts_with("impersonate-")
            || version
                .request
                .get_all(name.as_str())
                .iter()
                .any(http::HeaderValue::is_sensitive)
    }) {
        return Some("varies by a secret");
    }
    if !version.whole {
        return Some("not whole");
    }
    None
}

/// Whether a cache may be expected to look at the answer to a request. A response that it
/// passes on unseen cannot outdate its entries.
pub(crate) fn is_looked_at(request: &HeaderMap, rules: Rules) -> bool {
    let passes = ["if-match", "upgrade"];
    let passes_for_kubectl = ["range", "if-none-match", "if-modified-since"];
    let has = |name: &&str| request.contains_key(*name);
    let is_passed = passes.iter().any(has)
        || text::has(&directives(request), "no-store")
        || rules.kubectl && passes_for_kubectl.iter().any(has);
    !is_passed
}

/// The field names in `Vary`, in lower case.
pub(crate) fn vary(headers: &HeaderMap) -> Vec<String> {
    let lines = lines(headers, "vary");
    let names = lines.iter().flat_map(|line| line.split(','));
    names
        .map(|name| text::trim(name).to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether a response to one request is one for another (RFC 9111 §4.1). A field that is absent and one that
/// is empty differ, but for kubectl.
pub(crate) fn is_for(version: &Version, request: &HeaderMap, rules: Rules) -> bool {
    let is_there = |name: &String, headers: &HeaderMap| headers.contains_key(name.as_str());
    vary(&version.headers).iter().all(|name| {
        name.parse::<http::HeaderName>().is_ok()
            && name != "*"
            && text::meaning(&version.request, name) == text::meaning(request, name)
            && (rules.kubectl || is_there(name, &version.request) == is_there(name, request))
    })
}

/// For how long it is fresh, at most.
pub(crate) fn lifetime(version: &Version, rules: Rules) -> u64 {
    const DAY: u64 = 24 * 60 * 60;
    let all = directives(&version.headers);
    if let Some(max_age) = seconds_of(&all, "max-age") {
        return max_age.unwrap_or(0);
    }
    let received = since_epoch(version.answered.time);
    let dates = |name: &str| -> Vec<Option<i64>> {
        lines(&version.headers, name)
            .iter()
            .map(|line| date(line, rules.lenient_dates, version.answered.time))
            .collect()
    };
    // A date that nobody can read is that of the receipt. Several are whichever allows most.
    let sent = dates("date")
        .iter()
        .flatten()
        .copied()
        .min()
        .map_or(received, |date| date.min(received));
    let expires = dates("expires");
    if !expires.is_empty() {
        let latest = expires.iter().flatten().max();
        return latest.map_or(0, |latest| u64::try_from(latest - sent).unwrap_or(0));
    }
    if rules.kubectl {
        return 0;
    }
    if HEURISTIC.contains(&version.status.as_u16()) || has(&all, "public") {
        let latest = dates("date")
            .iter()
            .flatten()
            .copied()
            .max()
            .map_or(received, |date| date.max(received));
        let modified = dates("last-modified").iter().flatten().copied().min();
        let unchanged =
            modified.map_or(0, |modified| u64::try_from(latest - modified).unwrap_or(0));
        // Rounded up: dates have no fractions.
        return unchanged.div_ceil(10).min(DAY);
    }
    0
}

/// How old it is, at least (RFC 9111 §4.2.3).
pub(crate) fn age(version: &Version, now: SystemTime, rules: Rules) -> u64 {
    let received = since_epoch(version.answered.time);
    // One that nobody can read is that of the receipt; of several, whichever makes it youngest.
    let sent = lines(&version.headers, "date")
        .iter()
        .map(|line| date(line, rules.lenient_dates, version.answered.time).unwrap_or(received))
        .max()
        .unwrap_or(received);
    let apparent = u64::try_from(received - sent).unwrap_or(0);
    let age = lines(&version.headers, "age")
        .first()
        .and_then(|line| seconds(text::trim(line.split(',').next()?)))
        .unwrap_or(0);
    let delay = if rules.kubectl {
        // kubectl's format has no room for it.
        0
    } else {
        since(version.asked.time, version.answered.time).as_secs()
    };
    let corrected = age.saturating_add(delay);
    apparent
        .max(corrected)
        .saturating_add(since(version.answered.time, now).as_secs())
}

/// Whether a request takes it without asking the server, with why not.
pub(crate) fn is_reusable(
    version: &Version,
    asked: &Asked,
    now: SystemTime,
    rules: Rules,
) -> Result<(), String> {
    let response = directives(&version.headers);
    let request = directives(&asked.headers);
    if demands_validation(&version.headers) {
        return Err("the response says no-cache".into());
    }
    if refuses_cached(&asked.headers) {
        return Err("the request says no-cache".into());
    }
    let (lifetime, age) = (lifetime(version, rules), age(version, now, rules));
    let is_fresh = lifetime > age;
    let never_changes = has(&response, "immutable") && is_fresh;
    if let Some(max_age) = seconds_of(&request, "max-age")
        && age > max_age.unwrap_or(0)
        && !never_changes
    {
        return Err(format!("the request's max-age, age {age}"));
    }
    if let Some(min_fresh) = text::least_seconds_of(&request, "min-fresh")
        && lifetime.saturating_sub(age) < min_fresh
    {
        return Err(format!("the request's min-fresh, {lifetime} - {age}"));
    }
    if is_fresh {
        return Ok(());
    }
    let staleness = age - lifetime;
    if has(&response, "must-revalidate") {
        return Err(format!("must-revalidate, {lifetime} - {age}"));
    }
    let any = request
        .iter()
        .any(|directive| directive.name == "max-stale" && directive.argument.is_none());
    let allowed = text::most_seconds_of(&request, "max-stale")
        .max(text::most_seconds_of(&response, "stale-while-revalidate"));
    if any || allowed.is_some_and(|allowed| staleness <= allowed) {
        return Ok(());
    }
    Err(format!("stale, {lifetime} - {age}"))
}

/// Whether it may stand in for an error (RFC 5861 §4), or for no answer at all.
pub(crate) fn replaces_error(
    version: &Version,
    asked: &Asked,
    status: Option<StatusCode>,
    now: SystemTime,
    rules: Rules,
) -> bool {
    let response = directives(&version.headers);
    let request = directives(&asked.headers);
    if demands_validation(&version.headers)
        || has(&response, "must-revalidate")
        || refuses_cached(&asked.headers)
    {
        return false;
    }
    let staleness = age(version, now, rules).saturating_sub(lifetime(version, rules));
    let allowed = text::most_seconds_of(&request, "stale-if-error")
        .max(text::most_seconds_of(&response, "stale-if-error"));
    allowed.is_some_and(|allowed| staleness <= allowed)
        || status.is_none() && rules.stale_if_disconnected
}

/// `no-cache` without field names (RFC 9111 §5.2.2.4).
pub(crate) fn demands_validation(headers: &HeaderMap) -> bool {
    directives(headers)
        .iter()
        .any(|directive| directive.name == "no-cache" && directive.argument.is_none())
}

pub(crate) fn refuses_cached(headers: &HeaderMap) -> bool {
    if headers.contains_key("cache-control") {
        return has(&directives(headers), "no-cache");
    }
    // RFC 9111 §5.4.
    members(&lines(headers, "pragma"))
        .iter()
        .any(|member| member.eq_ignore_ascii_case("no-cache"))
}

fn since(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

pub(crate) fn since_epoch(time: SystemTime) -> i64 {
    i64::try_from(since(UNIX_EPOCH, time).as_secs()).unwrap_or(i64::MAX)
}
