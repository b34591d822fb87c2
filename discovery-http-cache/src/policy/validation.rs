//! Conditional requests, and the changes that a 304 or a HEAD makes to a stored response (RFC 9111 §4.3).

use std::time::SystemTime;

use discovery_core::http::headers::hop_by_hop;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::date;
use super::vary::{self, Vary};

/// Fields that differ from answer to answer without a meaning for the next one, and the age, which is a
/// matter of time.
const PASSING: [HeaderName; 4] = [
    header::AGE,
    header::DATE,
    HeaderName::from_static("audit-id"),
    HeaderName::from_static("x-request-id"),
];

/// Makes a request ask whether the stored response is still good (RFC 9111 §4.3.1). Returns `false` if it
/// has no validator to ask by.
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

/// The meaning of a 304 or of a 200 to HEAD for a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// It is the same representation: all fields are [merged](merge) (RFC 9111 §3.2).
    Same,
    /// It is another form of the representation: the entity tags are equal but for the mark of a weak
    /// one, and no strong validator tells that the bytes are the same. The stored response keeps its
    /// representation metadata, and takes over [how long it may be used](merge_freshness).
    OtherForm,
    /// It may be another form, and says nothing about the stored response, which stays as it is.
    Unrelated,
    /// It is about another representation. The stored response is outdated, and is to be removed; after a
    /// 304, the request that has validated it is still answered with it, because the server has said so.
    Other,
}

/// How the values of a validator compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// The newer response has none.
    None,
    /// Equal, and strong (RFC 9110 §8.8.1).
    Strong,
    /// Equal, and weak.
    Weak,
    /// Entity tags that are equal but for the strength of one (RFC 9110 §8.8.3.2): the newer one is weak.
    Weakened,
    /// As before: the newer one is strong.
    Strengthened,
    /// The stored response has none.
    New,
    Different,
}

/// The meaning of a 304 for the stored response that was validated (RFC 9111 §4.3.4).
///
/// "If the new response contains one or more strong validators", those decide; then weak ones; a 304
/// without validators is about the response that was asked about. An entity tag is compared before the
/// modification date, as it is for conditions (RFC 9110 §13.2.2).
pub(crate) fn confirmation(
    update: &HeaderMap,
    stored: &HeaderMap,
    now: SystemTime,
) -> Confirmation {
    let modified = compare_dates(update, stored, now);
    match compare_tags(update, stored) {
        Match::Different => Confirmation::Other,
        Match::Strong => Confirmation::Same,
        // No strong validator in the 304, or one that matches: "each of those strong validators
        // identifies a selected representation for update".
        Match::Weak | Match::Weakened => match modified {
            Match::Different => Confirmation::OtherForm,
            _ => Confirmation::Same,
        },
        // The tag is a strong validator that does not match. The date is one that may.
        Match::Strengthened | Match::New => match modified {
            Match::Strong => Confirmation::Same,
            _ => Confirmation::OtherForm,
        },
        Match::None => match modified {
            // The server has evaluated `If-None-Match`, whatever it says of the date.
            Match::Different | Match::New if has(stored, &header::ETAG) => Confirmation::OtherForm,
            Match::Different => Confirmation::Other,
            _ => Confirmation::Same,
        },
    }
}

/// The meaning of a 200 to HEAD for the stored answer to a GET, which has `size` bytes (RFC 9111 §4.3.5):
/// the stored response is updated if the validators and the length that were received match.
pub(crate) fn confirmation_by_head(
    head: &HeaderMap,
    stored: &HeaderMap,
    size: u64,
    now: SystemTime,
) -> Confirmation {
    let length = head.get(header::CONTENT_LENGTH);
    let same_size = length.is_none_or(|length| length.as_bytes() == size.to_string().as_bytes());
    let modified = match compare_dates(head, stored, now) {
        Match::Different | Match::New => return Confirmation::Other,
        modified => modified,
    };
    match compare_tags(head, stored) {
        Match::Different | Match::New => Confirmation::Other,
        Match::Strengthened | Match::Weakened if !same_size => Confirmation::Unrelated,
        Match::Strengthened if modified != Match::Strong => Confirmation::OtherForm,
        Match::Weakened if modified != Match::Strong => Confirmation::OtherForm,
        _ if !same_size => Confirmation::Other,
        _ => Confirmation::Same,
    }
}

/// Makes of stored headers those after a response with this meaning. Returns `false`, and changes nothing,
/// if there are too many fields.
pub(crate) fn apply(
    confirmation: Confirmation,
    stored: &mut HeaderMap,
    update: &HeaderMap,
) -> bool {
    match confirmation {
        Confirmation::Same => merge(stored, update),
        Confirmation::OtherForm => merge_freshness(stored, update),
        Confirmation::Unrelated | Confirmation::Other => true,
    }
}

fn compare_tags(update: &HeaderMap, stored: &HeaderMap) -> Match {
    match (update.get(header::ETAG), stored.get(header::ETAG)) {
        (None, _) => Match::None,
        (Some(_), None) => Match::New,
        (Some(new), Some(old)) if opaque_tag(new) != opaque_tag(old) => Match::Different,
        (Some(new), Some(old)) => match (is_strong(new), is_strong(old)) {
            (true, true) => Match::Strong,
            (true, false) => Match::Strengthened,
            (false, true) => Match::Weakened,
            (false, false) => Match::Weak,
        },
    }
}

fn compare_dates(update: &HeaderMap, stored: &HeaderMap, now: SystemTime) -> Match {
    let name = header::LAST_MODIFIED;
    let (new, old) = match (update.get(&name), stored.get(&name)) {
        (None, _) => return Match::None,
        (Some(_), None) => return Match::New,
        (Some(new), Some(old)) => (new, old),
    };
    let same = new == old
        || date::parse(new, false, now)
            .zip(date::parse(old, false, now))
            .is_some_and(|(new, old)| new == old);
    match same {
        false => Match::Different,
        true if is_last_modified_strong(stored, now) => Match::Strong,
        true => Match::Weak,
    }
}

/// Whether the `Last-Modified` of a stored response tells bytes apart: the response was sent at least a
/// second later, so that a second change in the same second would have shown (RFC 9110 §8.8.2.2).
pub(super) fn is_last_modified_strong(stored: &HeaderMap, now: SystemTime) -> bool {
    let [modified, sent] = [header::LAST_MODIFIED, header::DATE].map(|name| {
        stored
            .get(name)
            .and_then(|value| date::parse(value, false, now))
    });
    modified
        .zip(sent)
        .and_then(|(modified, sent)| sent.duration_since(modified).ok())
        .is_some_and(|since| since.as_secs() >= 1)
}

fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| !value.is_empty())
}

/// Below this no map runs out of room, however its names collide.
const MAX_LINES: usize = 4096;

/// Makes of stored headers those after a 304 (RFC 9111 §3.2): each of its fields replaces the stored one,
/// but for those about one connection and those about a body that it does not have. Otherwise the stored
/// body would be labelled with another coding, length or sum. Of two entity tags that differ in strength
/// the weak one stays or comes, because it promises less. Returns `false`, and changes nothing, if there are
/// too many fields.
fn merge(stored: &mut HeaderMap, update: &HeaderMap) -> bool {
    if stored.len() + update.len() > MAX_LINES {
        return false;
    }
    let is_hop_by_hop = hop_by_hop(update);
    let keeps_tag = compare_tags(update, stored) == Match::Strengthened;
    let changes = |name: &HeaderName| {
        let about_body = matches!(
            name.as_str(),
            "content-encoding" | "content-length" | "content-md5" | "content-range"
        );
        let kept = about_body || (keeps_tag && *name == header::ETAG);
        !kept && !is_hop_by_hop(name)
    };
    for name in update.keys().filter(|name| changes(name)) {
        stored.remove(name);
    }
    for (name, value) in update.iter().filter(|(name, _)| changes(name)) {
        stored.append(name.clone(), value.clone());
    }
    true
}

/// Takes over the fields of a 304 that decide for how long and for whom the stored response may be used:
/// `Date`, `Age`, `Cache-Control` and `Expires`, and further names in `Vary`. Nothing that describes the
/// representation changes.
fn merge_freshness(stored: &mut HeaderMap, update: &HeaderMap) -> bool {
    const FRESHNESS: [HeaderName; 4] = [
        header::AGE,
        header::CACHE_CONTROL,
        header::DATE,
        header::EXPIRES,
    ];
    if stored.len() + update.len() > MAX_LINES {
        return false;
    }
    let is_hop_by_hop = hop_by_hop(update);
    for name in FRESHNESS.iter().filter(|name| !is_hop_by_hop(name)) {
        if !update.contains_key(name) {
            continue;
        }
        stored.remove(name);
        for value in update.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
    if !Vary::of(stored).includes(&Vary::of(update)) {
        for value in update.get_all(header::VARY) {
            stored.append(header::VARY, value.clone());
        }
    }
    true
}

/// Whether the headers to be stored and those of the stored response are equal, but for fields that differ
/// each time and for those that this cache has put in.
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
pub(super) fn is_strong(tag: &HeaderValue) -> bool {
    tag.as_bytes().starts_with(b"\"")
}

/// An entity tag without the mark that makes it weak.
pub(super) fn opaque_tag(value: &HeaderValue) -> &[u8] {
    let tag = value.as_bytes();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const MONDAY: &str = "Mon, 16 Nov 2026 10:00:00 GMT";
    const MONDAY_C: &str = "Mon Nov 16 10:00:00 2026";
    const TUESDAY: &str = "Tue, 17 Nov 2026 10:00:00 GMT";

    type Fields = &'static [(&'static str, &'static str)];

    struct Row {
        stored: Fields,
        update: Fields,
        expected: Confirmation,
    }

    fn headers(fields: Fields) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        fields.iter().map(pair).collect()
    }

    /// RFC 9111 §4.3.4, RFC 9110 §8.8.2.2 and §8.8.3.2.
    #[test]
    fn a_304_updates_what_its_validators_identify() {
        use Confirmation::{Other, OtherForm, Same};
        let table = [
            // Entity tags alone.
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[],
                expected: Same,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "\"x\"")],
                expected: Same,
            },
            Row {
                stored: &[("etag", "W/\"x\"")],
                update: &[("etag", "W/\"x\"")],
                expected: Same,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "W/\"x\"")],
                expected: Same,
            },
            Row {
                stored: &[("etag", "W/\"x\"")],
                update: &[("etag", "\"x\"")],
                expected: OtherForm,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "\"y\"")],
                expected: Other,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "W/\"y\"")],
                expected: Other,
            },
            Row {
                stored: &[("etag", "W/\"x\"")],
                update: &[("etag", "\"y\"")],
                expected: Other,
            },
            // A strong date beside the tag: the update is a MUST.
            Row {
                stored: &[
                    ("etag", "W/\"x\""),
                    ("last-modified", MONDAY),
                    ("date", TUESDAY),
                ],
                update: &[("etag", "\"x\""), ("last-modified", MONDAY)],
                expected: Same,
            },
            Row {
                stored: &[
                    ("etag", "W/\"x\""),
                    ("last-modified", MONDAY),
                    ("date", TUESDAY),
                ],
                update: &[("etag", "\"x\""), ("last-modified", MONDAY_C)],
                expected: Same,
            },
            Row {
                stored: &[
                    ("etag", "W/\"x\""),
                    ("last-modified", MONDAY),
                    ("date", MONDAY),
                ],
                update: &[("etag", "\"x\""), ("last-modified", MONDAY)],
                expected: OtherForm,
            },
            Row {
                stored: &[
                    ("etag", "\"x\""),
                    ("last-modified", MONDAY),
                    ("date", TUESDAY),
                ],
                update: &[("etag", "W/\"x\""), ("last-modified", TUESDAY)],
                expected: OtherForm,
            },
            Row {
                stored: &[
                    ("etag", "\"x\""),
                    ("last-modified", MONDAY),
                    ("date", TUESDAY),
                ],
                update: &[("etag", "\"x\""), ("last-modified", TUESDAY)],
                expected: Same,
            },
            // However equal the dates, another tag is another representation.
            Row {
                stored: &[
                    ("etag", "\"x\""),
                    ("last-modified", MONDAY),
                    ("date", TUESDAY),
                ],
                update: &[("etag", "\"y\""), ("last-modified", MONDAY)],
                expected: Other,
            },
            // A tag that the stored response did not have.
            Row {
                stored: &[("last-modified", MONDAY), ("date", TUESDAY)],
                update: &[("etag", "\"x\""), ("last-modified", MONDAY)],
                expected: Same,
            },
            Row {
                stored: &[("last-modified", MONDAY), ("date", MONDAY)],
                update: &[("etag", "\"x\""), ("last-modified", MONDAY)],
                expected: OtherForm,
            },
            // Dates alone.
            Row {
                stored: &[("last-modified", MONDAY)],
                update: &[],
                expected: Same,
            },
            Row {
                stored: &[("last-modified", MONDAY)],
                update: &[("last-modified", MONDAY)],
                expected: Same,
            },
            Row {
                stored: &[("last-modified", MONDAY), ("date", TUESDAY)],
                update: &[("last-modified", TUESDAY)],
                expected: Other,
            },
            Row {
                stored: &[("etag", "\"x\""), ("last-modified", MONDAY)],
                update: &[("last-modified", TUESDAY)],
                expected: OtherForm,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("last-modified", MONDAY)],
                expected: OtherForm,
            },
        ];
        for Row {
            stored,
            update,
            expected,
        } in table
        {
            let found = confirmation(&headers(update), &headers(stored), NOW);
            assert_eq!(found, expected, "{stored:?} {update:?}");
        }
    }

    /// RFC 9111 §4.3.5. The stored response has ten bytes.
    #[test]
    fn a_head_updates_or_outdates_the_answer_to_a_get() {
        use Confirmation::{Other, OtherForm, Same, Unrelated};
        let table = [
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[],
                expected: Same,
            },
            Row {
                stored: &[],
                update: &[("content-length", "10")],
                expected: Same,
            },
            Row {
                stored: &[],
                update: &[("content-length", "11")],
                expected: Other,
            },
            Row {
                stored: &[],
                update: &[("content-length", "010")],
                expected: Other,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "\"x\"")],
                expected: Same,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "\"y\"")],
                expected: Other,
            },
            Row {
                stored: &[],
                update: &[("etag", "\"y\"")],
                expected: Other,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "\"x\""), ("content-length", "11")],
                expected: Other,
            },
            Row {
                stored: &[("etag", "W/\"x\"")],
                update: &[("etag", "\"x\"")],
                expected: OtherForm,
            },
            Row {
                stored: &[("etag", "\"x\"")],
                update: &[("etag", "W/\"x\"")],
                expected: OtherForm,
            },
            // nginx compresses the answer to GET, and says the length that it would have otherwise.
            Row {
                stored: &[("etag", "W/\"x\"")],
                update: &[("etag", "\"x\""), ("content-length", "99")],
                expected: Unrelated,
            },
            Row {
                stored: &[
                    ("etag", "W/\"x\""),
                    ("last-modified", MONDAY),
                    ("date", TUESDAY),
                ],
                update: &[
                    ("etag", "\"x\""),
                    ("last-modified", MONDAY),
                    ("content-length", "10"),
                ],
                expected: Same,
            },
            Row {
                stored: &[("last-modified", MONDAY)],
                update: &[("last-modified", TUESDAY)],
                expected: Other,
            },
            Row {
                stored: &[("etag", "W/\"x\""), ("last-modified", MONDAY)],
                update: &[("etag", "\"x\""), ("last-modified", TUESDAY)],
                expected: Other,
            },
        ];
        for Row {
            stored,
            update,
            expected,
        } in table
        {
            let found = confirmation_by_head(&headers(update), &headers(stored), 10, NOW);
            assert_eq!(found, expected, "{stored:?} {update:?}");
        }
    }

    #[test]
    fn another_form_changes_how_long_the_entry_is_used_and_nothing_else() {
        let old = headers(&[
            ("etag", "W/\"x\""),
            ("date", MONDAY),
            ("age", "5"),
            ("content-type", "a/b"),
            ("vary", "accept"),
            ("cache-control", "max-age=1"),
        ]);
        let update = headers(&[
            ("etag", "\"x\""),
            ("date", TUESDAY),
            ("content-type", "c/d"),
            ("x-new", "1"),
            ("vary", "Accept, x-a"),
            ("cache-control", "max-age=60"),
            ("expires", "0"),
            ("connection", "expires"),
        ]);
        let mut stored = old.clone();
        assert!(apply(Confirmation::OtherForm, &mut stored, &update));
        let expected = headers(&[
            ("etag", "W/\"x\""),
            ("date", TUESDAY),
            ("age", "5"),
            ("content-type", "a/b"),
            ("cache-control", "max-age=60"),
        ]);
        for (name, value) in &expected {
            assert_eq!(stored.get(name), Some(value), "{name}");
        }
        assert_eq!(stored.len(), expected.len() + 2, "and two lines of Vary");
        // However often that happens.
        let once = stored.clone();
        assert!(apply(Confirmation::OtherForm, &mut stored, &update));
        assert_eq!(stored, once);

        for unchanged in [Confirmation::Unrelated, Confirmation::Other] {
            let mut stored = old.clone();
            assert!(apply(unchanged, &mut stored, &update));
            assert_eq!(stored, old);
        }
    }

    #[test]
    fn a_tag_never_gets_stronger() {
        let mut stored = headers(&[("etag", "W/\"x\""), ("x-a", "1")]);
        let update = headers(&[("etag", "\"x\""), ("x-a", "2")]);
        assert!(apply(Confirmation::Same, &mut stored, &update));
        assert_eq!(stored, headers(&[("etag", "W/\"x\""), ("x-a", "2")]));

        let mut stored = headers(&[("etag", "\"x\"")]);
        let update = headers(&[("etag", "W/\"x\"")]);
        assert!(apply(Confirmation::Same, &mut stored, &update));
        assert_eq!(stored, update);
    }

    #[test]
    fn a_date_is_strong_a_second_later() {
        let at = |secs| date::format(NOW + Duration::from_secs(secs)).unwrap();
        for (sent, strong) in [(100, false), (101, true), (99, false)] {
            let stored =
                HeaderMap::from_iter([(header::LAST_MODIFIED, at(100)), (header::DATE, at(sent))]);
            assert_eq!(is_last_modified_strong(&stored, NOW), strong, "{sent}");
        }
        assert!(!is_last_modified_strong(&HeaderMap::new(), NOW));
    }
}
