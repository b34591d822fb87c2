//! Conditional requests, and what a 304 changes (RFC 9111 §4.3).

use discovery_core::headers::hop_by_hop;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::vary;

/// Headers that differ from answer to answer without meaning anything for the next one, and the age, which
/// is a matter of time.
const PASSING: [HeaderName; 4] = [
    header::AGE,
    header::DATE,
    HeaderName::from_static("audit-id"),
    HeaderName::from_static("x-request-id"),
];

/// Asks whether the stored response is still good. Says whether there is anything to ask by.
///
/// Conditions that the request already has are replaced, as kubectl does.
pub(crate) fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    let has = |name: HeaderName| stored.get(name).is_some_and(|value| !value.is_empty());
    if !has(header::ETAG) && !has(header::LAST_MODIFIED) {
        return false;
    }
    // A 304 to the client's own condition would say nothing about what is stored.
    request.remove(header::IF_NONE_MATCH);
    request.remove(header::IF_MODIFIED_SINCE);
    for (validator, condition) in [
        (header::ETAG, header::IF_NONE_MATCH),
        (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE),
    ] {
        if let Some(value) = stored.get(validator).filter(|value| !value.is_empty()) {
            request.insert(condition, value.clone());
        }
    }
    true
}

/// Whether a 304 with these headers can be about the stored response (RFC 9111 §4.3.4): it
/// names no other entity tag, and a strong one only if the stored one is strong too.
pub(crate) fn is_about(update: &HeaderMap, stored: &HeaderMap) -> bool {
    match (update.get(header::ETAG), stored.get(header::ETAG)) {
        (Some(new), Some(old)) if is_strong(new) => new == old,
        (Some(new), Some(old)) => opaque_tag(new) == opaque_tag(old),
        _ => true,
    }
}

/// Whether the answer to a HEAD says that the stored answer to a GET, of `size` bytes, is still
/// what the server would send (RFC 9111 §4.3.5).
pub(crate) fn is_confirmed_by_head(head: &HeaderMap, stored: &HeaderMap, size: u64) -> bool {
    let agrees = |name| {
        head.get(&name)
            .is_none_or(|value| stored.get(&name) == Some(value))
    };
    let length = head.get(header::CONTENT_LENGTH);
    agrees(header::ETAG)
        && agrees(header::LAST_MODIFIED)
        && length.is_none_or(|length| length.as_bytes() == size.to_string().as_bytes())
}

/// Makes of stored headers those after a 304 (RFC 9111 §3.2): each of its headers replaces the stored
/// one, but for those about one connection and those about a body that it does not have: what is
/// stored would no longer be in this coding, of this length, have this sum. Says whether there was room for
/// them; if not, nothing has changed.
pub(crate) fn merge(stored: &mut HeaderMap, update: &HeaderMap) -> bool {
    /// Below this no map runs out of room, however its names collide.
    const MAX_LINES: usize = 4096;
    if stored.len() + update.len() > MAX_LINES {
        return false;
    }
    let is_hop_by_hop = hop_by_hop(update);
    let changes = |name: &HeaderName| {
        let about_body = matches!(
            name.as_str(),
            "content-encoding" | "content-length" | "content-md5" | "content-range"
        );
        !about_body && !is_hop_by_hop(name)
    };
    for name in update.keys().filter(|name| changes(name)) {
        stored.remove(name);
    }
    for (name, value) in update.iter().filter(|(name, _)| changes(name)) {
        stored.append(name.clone(), value.clone());
    }
    true
}

/// Whether the headers to be stored say what those of the stored response do, but for what differs each
/// time and for what this cache has put in.
pub(crate) fn is_unchanged(new: &HeaderMap, stored: &HeaderMap) -> bool {
    let counts = |name: &&HeaderName| !PASSING.contains(name) && !vary::is_record(name);
    let within = |a: &HeaderMap, b: &HeaderMap| {
        a.keys()
            .filter(counts)
            .all(|name| a.get_all(name).iter().eq(b.get_all(name).iter()))
    };
    within(new, stored) && within(stored, new)
}

/// Whether an entity tag is one that tells bytes apart (RFC 9110 §8.8.1).
pub(crate) fn is_strong(tag: &HeaderValue) -> bool {
    tag.as_bytes().starts_with(b"\"")
}

/// An entity tag without the mark that makes it weak.
pub(crate) fn opaque_tag(value: &HeaderValue) -> &[u8] {
    let tag = value.as_bytes();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}
