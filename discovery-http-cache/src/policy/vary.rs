//! Which requests a response answers (RFC 9111 §4.1).
//!
//! kubectl stores the request's value of each header that `Vary` lists as `X-Varied-<Name>`,
//! unless it is empty, and so does this.
//!
//! kubectl has room for one variant. Other variants are kept under keys of their own, made of the
//! key, the request's values, and the *family*, which the first variant's entry records: a name that
//! is given once, so that with the first entry all others are out of reach.

use std::borrow::Cow;
use std::fmt::Write;

use discovery_core::headers::{is_credential, members};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What varies by more is taken for what varies by anything.
const MAX_NAMES: usize = 64;

const PREFIX: &str = "x-varied-";

/// No header has this name, because a `Vary` with it matches nothing.
const FAMILY: HeaderName = HeaderName::from_static("x-varied-*");

/// What `Vary` lists, over all its lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vary {
    names: Vec<HeaderName>,
    /// `*`, something that is no field name, or too much.
    any: bool,
}

impl Vary {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        for line in headers.get_all(header::VARY) {
            for member in members(line) {
                // No field that a request has is named with an asterisk.
                let name = HeaderName::from_bytes(member).ok();
                match name.filter(|_| !member.contains(&b'*')) {
                    Some(name) if this.names.contains(&name) => {}
                    Some(name) if this.names.len() < MAX_NAMES => this.names.push(name),
                    _ => {
                        this.any = true;
                        return this;
                    }
                }
            }
        }
        this
    }

    /// Whether no later request matches.
    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// Whether it lists a header whose value is a secret, or says whose answer this is. Storing
    /// such a response would write the value beside it.
    pub(crate) fn lists_credentials(&self) -> bool {
        self.names.iter().any(is_credential)
    }

    /// Whether `request` has a value for a listed header that it calls sensitive: not to be written.
    pub(crate) fn lists_sensitive(&self, request: &HeaderMap) -> bool {
        self.names
            .iter()
            .flat_map(|name| request.get_all(name))
            .any(HeaderValue::is_sensitive)
    }

    /// Writes what `request` has for each listed header into `stored`, in place of what is there.
    pub(crate) fn record(&self, request: &HeaderMap, stored: &mut HeaderMap) {
        remove_records(stored);
        for name in &self.names {
            let value = combined(request, name);
            if value.is_empty() {
                continue;
            }
            let field = HeaderName::try_from([PREFIX, name.as_str()].concat());
            if let (Ok(field), Ok(value)) = (field, HeaderValue::from_bytes(&value)) {
                stored.insert(field, value);
            }
        }
    }

    /// What `stored` has recorded, by listed header.
    pub(crate) fn recorded(&self, stored: &HeaderMap) -> Variant {
        let mut values: Vec<_> = self
            .names
            .iter()
            .cloned()
            .map(|name| (name, None))
            .collect();
        for (field, value) in stored {
            let name = field.as_str().strip_prefix(PREFIX);
            let place = name.and_then(|name| values.iter_mut().find(|place| place.0 == name));
            if let Some((_, recorded @ None)) = place {
                *recorded = Some(value.clone());
            }
        }
        Variant {
            values,
            any: self.any,
            family: stored.get(FAMILY).cloned(),
        }
    }
}

/// The request headers that a stored response is for.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    values: Vec<(HeaderName, Option<HeaderValue>)>,
    any: bool,
    family: Option<HeaderValue>,
}

impl Variant {
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        let same = |(name, value): &(HeaderName, Option<HeaderValue>)| {
            let recorded = value.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
            let asked = combined(request, name);
            recorded == &*asked || normalized(name, recorded) == normalized(name, &asked)
        };
        !self.any && self.values.iter().all(same)
    }

    /// The name under which other variants of this response are kept.
    pub(crate) fn family(&self) -> Option<&HeaderValue> {
        self.family.as_ref()
    }

    /// The key of the variant for `request`, in the family of the entry under `key`. It holds the
    /// request's values, and so there is none where one of them is sensitive.
    pub(crate) fn key(&self, key: &str, request: &HeaderMap) -> Option<String> {
        let mut values = self
            .values
            .iter()
            .flat_map(|(name, _)| request.get_all(name));
        if values.any(HeaderValue::is_sensitive) {
            return None;
        }
        let family = self.family.as_ref()?.to_str().ok()?;
        let mut text = format!("{key}\n{family}");
        for (name, _) in &self.values {
            let value = normalized(name, &combined(request, name));
            // Escaped, so that what is not UTF-8 stays distinct.
            write!(text, "\n{name}: {}", value.escape_ascii()).ok()?;
        }
        Some(text)
    }
}

/// Gives the other variants of an entry a name.
pub(crate) fn set_family(stored: &mut HeaderMap, family: HeaderValue) {
    stored.insert(FAMILY, family);
}

/// Takes out what [`Vary::record`] wrote, or what a server sent under such a name.
pub(crate) fn remove_records(headers: &mut HeaderMap) {
    let records = headers.keys().filter(|name| is_record(name));
    for name in records.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

pub(crate) fn is_record(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// The values of a header in one line (RFC 9110 §5.2), nothing for a header that is not there.
fn combined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut lines = headers
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes().trim_ascii());
    let first = lines.next().unwrap_or_default();
    match lines.next() {
        None => Cow::Borrowed(first),
        Some(second) => {
            let mut all = vec![first, second];
            all.extend(lines);
            Cow::Owned(all.join(&b", "[..]))
        }
    }
}

/// What a value means (RFC 9111 §4.1): a list without the blanks around its commas; of those fields
/// whose members are in any case and any order, in lower case and sorted.
fn normalized(name: &HeaderName, value: &[u8]) -> Vec<u8> {
    // RFC 9110 §8.3.2, §8.4.1, §8.5.1; weights, not the order, tell what is preferred (§12.5.4).
    const SETS: [HeaderName; 3] = [
        header::ACCEPT_CHARSET,
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
    ];
    let list = without_blanks(value);
    if !SETS.contains(name) {
        return list;
    }
    let list = list.to_ascii_lowercase();
    let mut members: Vec<&[u8]> = list
        .split(|b| *b == b',')
        .filter(|member| !member.is_empty())
        .collect();
    members.sort_unstable();
    members.join(&b',')
}

/// A list without the blanks around its commas, but for those in quoted strings.
fn without_blanks(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let (mut quoted, mut escaped) = (false, false);
    for b in value {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\t' if !quoted && matches!(out.last(), None | Some(b',')) => continue,
            b',' if !quoted => {
                let end = out.trim_ascii_end().len();
                out.truncate(end);
            }
            _ => {}
        }
        out.push(*b);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn matching() {
        let first = headers(&[("accept", "a"), ("accept", " b "), ("x-empty", "")]);
        let table = [
            (vec![], true, vec![]),
            (vec!["Accept"], true, vec![("accept", "a, b")]),
            (
                vec!["Accept"],
                true,
                vec![("accept", "a"), ("accept", "b"), ("other", "x")],
            ),
            (vec!["Accept"], true, vec![("accept", "a,b")]),
            (vec!["Accept"], true, vec![("accept", " a ,  b")]),
            (vec!["Accept"], false, vec![("accept", "a b")]),
            (vec!["Accept"], false, vec![("accept", "a")]),
            (vec!["Accept"], false, vec![]),
            (
                vec!["x", "ACCEPT, ,"],
                false,
                vec![("x", "1"), ("accept", "a, b")],
            ),
            (vec!["x-empty"], true, vec![]),
            (vec!["x-empty"], false, vec![("x-empty", "1")]),
            (vec!["*"], false, vec![("accept", "a, b")]),
            (vec!["accept", "*"], false, vec![("accept", "a, b")]),
            (vec!["a b"], false, vec![("accept", "a, b")]),
        ];
        for (vary, expected, second) in table {
            let mut stored = headers(&[("x-varied-accept", "forged"), ("x-varied-y", "forged")]);
            for line in &vary {
                stored.append(header::VARY, HeaderValue::from_static(line));
            }
            let parsed = Vary::of(&stored);
            parsed.record(&first, &mut stored);
            assert!(!stored.contains_key("x-varied-y"));
            let variant = parsed.recorded(&stored);
            assert_eq!(
                variant.matches(&headers(&second)),
                expected,
                "{vary:?} {second:?}"
            );
        }
    }

    /// RFC 9111 §4.1.
    #[test]
    fn normalization() {
        for (value, expected) in [
            ("", ""),
            ("a", "a"),
            ("a , b,\tc", "a,b,c"),
            ("a b, c", "a b,c"),
            ("\"a , b\" , c", "\"a , b\",c"),
            ("\"a\\\" , b\" , c", "\"a\\\" , b\",c"),
            (",, a", ",,a"),
        ] {
            let name = HeaderName::from_static("x");
            assert_eq!(
                normalized(&name, value.as_bytes()),
                expected.as_bytes(),
                "{value}"
            );
        }
        let languages = normalized(&header::ACCEPT_LANGUAGE, b"eN , ,de;q=0.5, de-AT");
        assert_eq!(languages, b"de-at,de;q=0.5,en");
    }

    #[test]
    fn families() {
        let mut stored = headers(&[("vary", "accept, x")]);
        let vary = Vary::of(&stored);
        vary.record(&headers(&[("accept", "a")]), &mut stored);
        assert_eq!(vary.recorded(&stored).key("k", &HeaderMap::new()), None);
        set_family(&mut stored, HeaderValue::from_static("f"));
        let variant = vary.recorded(&stored);
        let key = |pairs| variant.key("k", &headers(pairs)).unwrap();
        assert_eq!(key(&[("accept", "b, c")]), "k\nf\naccept: b,c\nx: ");
        assert_eq!(
            key(&[("accept", "b,c"), ("y", "1")]),
            key(&[("accept", "b, c")])
        );
        // A value can't look like two.
        assert_ne!(
            key(&[("accept", "b"), ("x", "1")]),
            key(&[("accept", "b\tx: 1")])
        );
        remove_records(&mut stored);
        assert_eq!(stored.len(), 1);
    }

    #[test]
    fn credentials() {
        let table = [
            ("Accept, Accept-Encoding", false),
            ("accept,AUTHORIZATION", true),
            ("Cookie", true),
            ("proxy-authorization", true),
            ("Impersonate-User", true),
            ("Impersonate-Extra-Scopes", true),
            ("X-Authorization", false),
        ];
        for (line, expected) in table {
            let mut map = headers(&[("vary", "origin")]);
            map.append(header::VARY, HeaderValue::from_static(line));
            assert_eq!(Vary::of(&map).lists_credentials(), expected, "{line}");
        }
    }

    #[test]
    fn too_many_names_are_any() {
        let list = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
            let mut map = HeaderMap::new();
            let twice = [&names[..], &names[..]].concat().join(",");
            map.insert(header::VARY, HeaderValue::try_from(twice).unwrap());
            Vary::of(&map)
        };
        assert!(!list(MAX_NAMES).is_any());
        assert!(list(MAX_NAMES + 1).is_any());
    }

    #[test]
    fn sensitive_values() {
        let vary = Vary::of(&headers(&[("vary", "x-token, accept")]));
        let mut request = headers(&[("accept", "a"), ("x-other", "b")]);
        request.append("x-token", HeaderValue::from_static("c"));
        assert!(!vary.lists_sensitive(&request));
        let mut secret = HeaderValue::from_static("d");
        secret.set_sensitive(true);
        request.append("x-other", secret.clone());
        assert!(!vary.lists_sensitive(&request));
        request.append("x-token", secret);
        assert!(vary.lists_sensitive(&request));
    }
}
