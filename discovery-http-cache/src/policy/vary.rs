//! The requests that a stored response answers (RFC 9111 §4.1).
//!
//! kubectl stores the request's value of each field that `Vary` lists as `X-Varied-<Name>`, unless it is
//! empty, and takes a missing record for an empty value. Under kubectl's preset this module does the same.
//! Otherwise an empty value is recorded too, and the fields that the request did not have are listed in
//! `X-Varied-*absent`, because a field that is absent and one that is empty are different. If an entry of
//! kubectl, or one from before this rule, has neither for a field, it matches no request.
//!
//! kubectl has room for one variant. Other variants are stored under keys of their own, which are made of
//! the first one's key, the *family*, and the request's values. The family is recorded with the first
//! variant. No other first variant gets the same family, so that variants which outlive their first one
//! are never found again by mistake.

use std::borrow::Cow;
use std::fmt::Write;

use discovery_core::http::headers::{is_credential, members};
use discovery_core::http::uri;
use discovery_core::{Accept, Format};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Rules;

/// A `Vary` with more names counts as `*`.
const MAX_NAMES: usize = 64;

const PREFIX: &str = "x-varied-";

/// The `Accept` of kubectl 1.37, and that of kubectl 1.30 to 1.36, for `/api` and `/apis`.
const KUBECTLS: [&str; 2] = [Accept::KUBECTL, Accept::WITH_V2BETA1];

/// The names of these two are not those of records, because a `Vary` with an asterisk matches nothing.
const FAMILY: HeaderName = HeaderName::from_static("x-varied-*");

/// The listed fields that the request did not have.
const ABSENT: HeaderName = HeaderName::from_static("x-varied-*absent");

/// The field names that `Vary` lists, over all its lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vary {
    names: Vec<HeaderName>,
    /// `*`, something that is no field name, or too many of them.
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
    pub(super) fn is_any(&self) -> bool {
        self.any
    }

    /// Whether it lists a header whose value is a secret, or says whose answer this is. Storing
    /// such a response would write the value beside it.
    pub(super) fn lists_credentials(&self) -> bool {
        self.names.iter().any(is_credential)
    }

    /// Whether `request` has a value for a listed header that it calls sensitive: not to be written.
    pub(super) fn lists_sensitive(&self, request: &HeaderMap) -> bool {
        self.names
            .iter()
            .flat_map(|name| request.get_all(name))
            .any(HeaderValue::is_sensitive)
    }

    /// Writes the request's values of the listed fields into `stored`, in place of those that are there.
    pub(super) fn record(&self, request: &HeaderMap, stored: &mut HeaderMap, rules: Rules) {
        remove_records(stored);
        let mut absent: Vec<&[u8]> = Vec::new();
        for name in &self.names {
            let value = combined(request, name);
            if value.is_empty() && rules.kubectl {
                continue;
            }
            if !request.contains_key(name) {
                absent.push(name.as_str().as_bytes());
                continue;
            }
            let field = HeaderName::try_from([PREFIX, name.as_str()].concat());
            if let (Ok(field), Ok(value)) = (field, HeaderValue::from_bytes(&value)) {
                stored.insert(field, value);
            }
        }
        if let Ok(absent) = HeaderValue::from_bytes(&absent.join(&b", "[..]))
            && !absent.is_empty()
        {
            stored.insert(ABSENT, absent);
        }
    }

    /// Reads the records in `stored`, by listed field.
    pub(crate) fn recorded(&self, stored: &HeaderMap, rules: Rules) -> Variant {
        // kubectl has room for one variant.
        let family = stored.get(FAMILY).filter(|_| !rules.kubectl).cloned();
        // Mostly there is no `Vary`, and nothing to look for.
        if self.names.is_empty() {
            return Variant {
                values: Vec::new(),
                any: self.any,
                lenient: rules.kubectl,
                family,
            };
        }
        let missing = if rules.kubectl {
            Recorded::AbsentOrEmpty
        } else {
            Recorded::Unknown
        };
        let mut values: Vec<_> = self
            .names
            .iter()
            .map(|name| (name.clone(), missing.clone()))
            .collect();
        let absent = stored.get_all(ABSENT).iter().flat_map(members);
        for name in absent.filter(|_| !rules.kubectl) {
            if let Some(place) = values
                .iter_mut()
                .find(|place| place.0.as_str().as_bytes() == name)
            {
                place.1 = Recorded::Absent;
            }
        }
        for (field, value) in stored {
            let name = field.as_str().strip_prefix(PREFIX);
            let place = name.and_then(|name| values.iter_mut().find(|place| place.0 == name));
            // Of several lines the first counts, as for kubectl.
            if let Some((_, recorded)) = place
                && !matches!(recorded, Recorded::Value(_))
            {
                *recorded = Recorded::Value(value.clone());
            }
        }
        Variant {
            values,
            any: self.any,
            lenient: rules.kubectl,
            family,
        }
    }

    /// The listed names.
    pub(crate) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// Whether all names of `other` are listed here.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.any || (!other.any && other.names.iter().all(|name| self.names.contains(name)))
    }
}

/// The request fields that a stored response is for.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    values: Vec<(HeaderName, Recorded)>,
    any: bool,
    /// Whether absent and empty are the same, as for kubectl.
    lenient: bool,
    family: Option<HeaderValue>,
}

/// The record of one field.
#[derive(Clone, Debug, PartialEq)]
enum Recorded {
    Value(HeaderValue),
    Absent,
    /// kubectl records neither of the two.
    AbsentOrEmpty,
    /// There is no record: the field may have been absent or empty.
    Unknown,
}

impl Variant {
    /// Whether the response answers a request with these fields (RFC 9111 §4.1).
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        let same = |name: &HeaderName, recorded: &[u8]| {
            let asked = combined(request, name);
            recorded == &*asked || normalized(name, recorded) == normalized(name, &asked)
        };
        // Mostly there is one line, as there was.
        let one = |name: &HeaderName, recorded| request.get_all(name).iter().eq([recorded]);
        !self.any
            && self.values.iter().all(|(name, recorded)| match recorded {
                Recorded::Value(value) if one(name, value) => true,
                Recorded::Value(value) => {
                    same(name, value.as_bytes()) && (self.lenient || request.contains_key(name))
                }
                Recorded::Absent => !request.contains_key(name),
                Recorded::AbsentOrEmpty => same(name, b""),
                Recorded::Unknown => false,
            })
    }

    /// The `Accept` with which another version of kubectl has got this response, if a request with these fields differs
    /// from that one in nothing else, and takes the response's form as well.
    pub(crate) fn accept_of_other_kubectl(
        &self,
        request: &HeaderMap,
        response: &HeaderMap,
    ) -> Option<HeaderValue> {
        let is_kubectls = |accept: &HeaderValue| KUBECTLS.iter().any(|known| accept == known);
        let asked = request
            .get(header::ACCEPT)
            .filter(|accept| is_kubectls(accept))?;
        let format = Format::from_headers(response)?;
        let recorded = self
            .values
            .iter()
            .find_map(|(name, recorded)| match recorded {
                Recorded::Value(accept) if name == header::ACCEPT => Some(accept),
                _ => None,
            });
        let recorded = recorded.filter(|accept| self.lenient && is_kubectls(accept))?;
        let mut other = request.clone();
        other.insert(header::ACCEPT, recorded.clone());
        let takes = Accept::parse(asked).allows(format);
        (takes && self.matches(&other)).then(|| recorded.clone())
    }

    /// The name under which other variants of this response are stored.
    pub(crate) fn family(&self) -> Option<&HeaderValue> {
        self.family.as_ref()
    }

    /// The names of the fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.values.iter().map(|(name, _)| name)
    }

    /// The key of the variant for `request`, in the family of the entry under `key`. There is none where
    /// one of the request's values is sensitive.
    pub(crate) fn key(&self, key: &str, request: &HeaderMap) -> Option<String> {
        let family = self.family.as_ref()?.to_str().ok()?;
        let names: Vec<HeaderName> = self.values.iter().map(|(name, _)| name.clone()).collect();
        variant_key(key, family, &names, request)
    }
}

/// The key of the variant for `request` by the fields `names`, in a family below the key `base`. It has a
/// hash of the request's values in it, so that their size and their bytes do not matter to a store. There
/// is no key where one of the values is sensitive: hashes of few possible values can be guessed.
pub(super) fn variant_key(
    base: &str,
    family: &str,
    names: &[HeaderName],
    request: &HeaderMap,
) -> Option<String> {
    let mut text = String::new();
    for name in names {
        if request.get_all(name).iter().any(HeaderValue::is_sensitive) {
            return None;
        }
        if request.contains_key(name) {
            let value = normalized(name, &combined(request, name));
            // Escaped, so that bytes which are not UTF-8 stay distinct and no value looks like two.
            writeln!(text, "{name}: {}", value.escape_ascii()).ok()?;
        } else {
            writeln!(text, "{name}").ok()?;
        }
    }
    Some(format!("{base}\n{family}\n{}", variant_id(&text)))
}

/// The last line of a variant's key.
pub(super) fn variant_id(text: &str) -> String {
    uri::file_name(text)
}

/// Gives the other variants of an entry a name.
pub(crate) fn set_family(stored: &mut HeaderMap, family: HeaderValue) {
    stored.insert(FAMILY, family);
}

/// Removes the records of [`Vary::record`], and fields that a server has sent under such names.
fn remove_records(headers: &mut HeaderMap) {
    let records = headers.keys().filter(|name| is_record(name));
    for name in records.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Whether a field is a record, which users do not see.
pub(super) fn is_record(name: &HeaderName) -> bool {
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

/// A value in the form in which two with the same meaning are equal (RFC 9111 §4.1): a list without the
/// blanks around its commas. Lists whose members have any case and any order are in lower case and sorted.
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
    fn requests_with_the_same_values_match() {
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
            (vec!["x-empty"], false, vec![]),
            (vec!["x-empty"], true, vec![("x-empty", " ")]),
            (vec!["x-none"], true, vec![]),
            (vec!["x-none"], false, vec![("x-none", "")]),
            (vec!["x-empty"], false, vec![("x-empty", "1")]),
            (vec!["*"], false, vec![("accept", "a, b")]),
            (vec!["accept", "*"], false, vec![("accept", "a, b")]),
            (vec!["a b"], false, vec![("accept", "a, b")]),
            (vec!["*absent"], false, vec![("accept", "a, b")]),
        ];
        for (vary, expected, second) in table {
            let mut stored = headers(&[("x-varied-accept", "forged"), ("x-varied-y", "forged")]);
            for line in &vary {
                stored.append(header::VARY, HeaderValue::from_static(line));
            }
            let parsed = Vary::of(&stored);
            parsed.record(&first, &mut stored, Rules::STRICT);
            assert!(!stored.contains_key("x-varied-y"));
            let variant = parsed.recorded(&stored, Rules::STRICT);
            assert_eq!(
                variant.matches(&headers(&second)),
                expected,
                "{vary:?} {second:?}"
            );
        }
    }

    /// RFC 9111 §4.1.
    #[test]
    fn values_with_one_meaning_are_equal() {
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

    /// RFC 9111 §4.1, and kubectl's rule, for which a missing record is an empty value.
    #[test]
    fn an_absent_field_and_an_empty_one_are_different_but_for_kubectl() {
        let (absent, empty) = (HeaderMap::new(), headers(&[("x-a", "")]));
        let other = headers(&[("x-a", "1")]);
        for (rules, differ) in [(Rules::STRICT, true), (Rules::KUBECTL, false)] {
            for (first, second) in [(&absent, &empty), (&empty, &absent)] {
                let mut stored = headers(&[("vary", "x-a, x-b")]);
                let vary = Vary::of(&stored);
                vary.record(first, &mut stored, rules);
                let variant = vary.recorded(&stored, rules);
                assert!(variant.matches(first));
                assert_eq!(variant.matches(second), !differ);
                assert!(!variant.matches(&other));
                if rules.kubectl {
                    // Nothing that kubectl would not write.
                    assert_eq!(stored, headers(&[("vary", "x-a, x-b")]));
                }
                // kubectl reads the entries of the strict preset as its own.
                assert!(vary.recorded(&stored, Rules::KUBECTL).matches(second));
            }
        }
    }

    /// Found by the fuzzer: a list without members is there, too.
    #[test]
    fn a_field_with_an_empty_list_is_not_absent() {
        for list in [",", " ,\t", ", ,"] {
            let request = headers(&[("accept-language", list)]);
            let mut stored = headers(&[("vary", "accept-language")]);
            let vary = Vary::of(&stored);
            vary.record(&request, &mut stored, Rules::STRICT);
            let variant = vary.recorded(&stored, Rules::STRICT);
            assert!(variant.matches(&request));
            assert!(variant.matches(&headers(&[("accept-language", "")])));
            assert!(!variant.matches(&HeaderMap::new()), "{list:?}");
        }
    }

    #[test]
    fn an_entry_without_a_record_matches_no_request() {
        let stored = headers(&[("vary", "x-a, x-b"), ("x-varied-x-b", "1")]);
        let vary = Vary::of(&stored);
        for request in [
            headers(&[("x-b", "1")]),
            headers(&[("x-a", ""), ("x-b", "1")]),
            headers(&[("x-a", "2"), ("x-b", "1")]),
        ] {
            let strict = vary.recorded(&stored, Rules::STRICT);
            assert!(!strict.matches(&request), "{request:?}");
        }
        let kubectl = vary.recorded(&stored, Rules::KUBECTL);
        assert!(kubectl.matches(&headers(&[("x-b", "1")])));
        assert!(!kubectl.matches(&headers(&[("x-a", "2"), ("x-b", "1")])));
    }

    #[test]
    fn variants_have_keys_of_one_size_without_the_request_in_them() {
        let mut stored = headers(&[("vary", "accept, x")]);
        let vary = Vary::of(&stored);
        vary.record(&headers(&[("accept", "a")]), &mut stored, Rules::STRICT);
        let variant = vary.recorded(&stored, Rules::STRICT);
        assert_eq!(variant.key("k", &HeaderMap::new()), None, "no family");
        set_family(&mut stored, HeaderValue::from_static("f"));
        let variant = vary.recorded(&stored, Rules::STRICT);
        let key = |pairs| variant.key("k", &headers(pairs)).unwrap();
        let one = key(&[("accept", "b, c")]);
        assert!(one.starts_with("k\nf\n") && one.len() == 68, "{one}");
        assert_eq!(one, key(&[("accept", "b,c"), ("y", "1")]));
        let others = [
            key(&[]),
            key(&[("accept", "")]),
            key(&[("x", "")]),
            key(&[("accept", "b")]),
            key(&[("accept", "b"), ("x", "1")]),
            key(&[("accept", "b\tx: 1")]),
            key(&[("x", "b,c")]),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(*other != one && !others[at + 1..].contains(other), "{at}");
        }
        let mut secret = headers(&[("x", "s3cret")]);
        secret.get_mut("x").unwrap().set_sensitive(true);
        assert_eq!(variant.key("k", &secret), None);
        remove_records(&mut stored);
        assert_eq!(stored.len(), 1);
    }

    #[test]
    fn credentials_are_recognised() {
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
    fn values_that_are_sensitive_are_noticed() {
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
