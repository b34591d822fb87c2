use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{Contact, Given, Moment, Rules, rules, text};
use crate::render::{ID, secret_of_answer};

/// A response as a cache might have it: as it came, or after newer headers had come for it.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// The answer that its body came with.
    pub(crate) id: usize,
    /// The value of its `x-id`.
    pub(crate) mark: Option<String>,
    pub(crate) method: Method,
    pub(crate) uri: String,
    /// The request headers that it was selected by.
    pub(crate) request: HeaderMap,
    /// Whether the cache did not look at the request that its body came for, and so did not store it.
    pub(crate) has_passed: bool,
    /// Whether its body came for a request with `Range`.
    pub(crate) of_range: bool,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
    pub(crate) read: Option<Moment>,
    /// When the client wanted it.
    pub(crate) wanted: Moment,
    pub(crate) asked: Moment,
    pub(crate) answered: Moment,
    /// Whether newer headers may have been about another response than this one.
    pub(crate) is_doubtful: bool,
    /// Whether newer headers have come in place of these: from then on it is no more.
    pub(crate) replaced: Option<Moment>,
}

impl Version {
    pub(crate) fn new(
        contact: &Contact,
        given: &Given,
        status: StatusCode,
        headers: &HeaderMap,
        rules: Rules,
    ) -> Self {
        Self {
            id: given.id,
            mark: Some(given.id.to_string()),
            method: contact.asked.method.clone(),
            uri: contact.asked.uri.clone(),
            request: contact.asked.headers.clone(),
            has_passed: !rules::is_looked_at(&contact.asked.headers, rules),
            of_range: contact.headers.contains_key("range"),
            status,
            headers: headers.clone(),
            body: given.body.clone(),
            whole: given.whole,
            read: given.read,
            wanted: contact.asked.at,
            asked: contact.at,
            answered: given.at,
            is_doubtful: false,
            replaced: None,
        }
    }

    /// After newer headers (RFC 9111 §3.2).
    pub(crate) fn with(&self, contact: &Contact, given: &Given, headers: &HeaderMap) -> Self {
        let kept = ["content-length", "content-encoding", "content-range"];
        let names = headers.keys().filter(|name| !kept.contains(&name.as_str()));
        self.with_fields(names, contact, given, headers)
    }

    /// After newer headers of another form, of which only those count that say for how long it may be used.
    pub(crate) fn with_freshness(
        &self,
        contact: &Contact,
        given: &Given,
        headers: &HeaderMap,
    ) -> Self {
        let taken = ["age", "cache-control", "date", "expires", "vary"];
        let names = headers.keys().filter(|name| taken.contains(&name.as_str()));
        self.with_fields(names, contact, given, headers)
    }

    fn with_fields<'a>(
        &self,
        names: impl Iterator<Item = &'a HeaderName>,
        contact: &Contact,
        given: &Given,
        headers: &HeaderMap,
    ) -> Self {
        let mut newer = self.clone();
        for name in names {
            newer.headers.remove(name);
            for value in headers.get_all(name) {
                newer.headers.append(name, value.clone());
            }
        }
        for name in ["date", "age"] {
            // Those of the older answer are no longer true.
            if !headers.contains_key(name) {
                newer.headers.remove(name);
            }
        }
        let mark = newer.headers.get(ID).and_then(|mark| mark.to_str().ok());
        newer.mark = mark.map(str::to_owned);
        // The request that it is selected by is the last one (RFC 9111 §4.1).
        newer.request = contact.asked.headers.clone();
        newer.asked = contact.at;
        newer.answered = given.at;
        newer.replaced = None;
        newer
    }

    /// Whether the cache has asked if this is still good.
    pub(crate) fn is_asked_about(&self, contact: &Contact) -> bool {
        let same = |condition: &str, validator: &str| {
            let sent = contact.headers.get(condition);
            sent.is_none() || sent == self.headers.get(validator)
        };
        same("if-none-match", "etag")
            && same("if-modified-since", "last-modified")
            && (contact.headers.contains_key("if-none-match")
                || contact.headers.contains_key("if-modified-since"))
    }

    /// Whether newer headers can be about this (RFC 9111 §4.3.4, §4.3.5).
    pub(crate) fn is_meant(&self, contact: &Contact, headers: &HeaderMap, rules: Rules) -> bool {
        let opaque = |value: &http::HeaderValue| {
            let tag = value.as_bytes();
            tag.strip_prefix(b"W/").unwrap_or(tag).to_vec()
        };
        let same_tag = match (headers.get("etag"), self.headers.get("etag")) {
            (Some(new), Some(old)) => opaque(new) == opaque(old),
            _ => true,
        };
        self.uri == contact.asked.uri
            && same_tag
            && rules::is_for(self, &contact.asked.headers, rules)
    }

    /// Whether this contact has said that it is still good.
    pub(crate) fn is_confirmed_by(&self, contact: &Contact) -> bool {
        let is_304 = |given: &Given| {
            let response = given.response.as_ref();
            response.is_some_and(|(status, _)| *status == StatusCode::NOT_MODIFIED)
        };
        contact.answer.as_ref().is_some_and(is_304)
            && self.uri == contact.asked.uri
            && self.is_asked_about(contact)
    }

    /// Whether its secrets may be those of this answer.
    pub(crate) fn has_part_of(&self, id: usize) -> bool {
        let secret = secret_of_answer(id);
        self.id == id || text::lines(&self.headers, "x-secret").contains(&secret)
    }
}
