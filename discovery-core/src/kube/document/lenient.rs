//! Documents that are odd, as Go's decoder takes them: a field that is there twice, in another case, or `null` in a list;
//! half of a surrogate pair; no `kind`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Kind;

/// The longest text that is read like this, which takes more memory than the document.
const MAX_TEXT: usize = 8 << 20;

/// The names of the fields of all documents.
const FIELDS: [&str; 28] = [
    "apiVersion",
    "categories",
    "clientCIDR",
    "freshness",
    "group",
    "groupVersion",
    "groups",
    "items",
    "kind",
    "metadata",
    "name",
    "namespaced",
    "preferredVersion",
    "resource",
    "resources",
    "responseKind",
    "scope",
    "serverAddress",
    "serverAddressByClientCIDRs",
    "shortNames",
    "singularName",
    "singularResource",
    "storageVersionHash",
    "subresource",
    "subresources",
    "verbs",
    "version",
    "versions",
];

/// The lists of texts. The members of other lists are objects.
const TEXTS: [&str; 3] = ["categories", "shortNames", "verbs"];

/// A document that has no `kind`, and the field that tells it from others; or one with the right `kind`.
pub(super) fn read<T: Kind>(text: &str) -> Option<T> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let text = with_whole_characters(text);
    let Value::Object(mut fields) = serde_json::from_str(&text).ok()? else {
        return None;
    };
    rename(&mut fields);
    let names_itself = matches!(fields.get("kind"), Some(Value::String(kind)) if kind == T::KIND);
    let kindless = match fields.get("kind") {
        None | Some(Value::Null) => true,
        Some(kind) => kind == "",
    };
    let is_told = matches!(fields.get(T::FIELD), Some(Value::Array(_) | Value::Null));
    if !(names_itself || (kindless && is_told)) {
        return None;
    }
    fields.insert("kind".into(), T::KIND.into());
    fill(&mut fields, T::KIND == "APIVersions");
    serde_json::from_value(Value::Object(fields)).ok()
}

/// Whether a field may be written in another case, so that a strict parser has passed it over.
pub(super) fn has_other_case(text: &str) -> bool {
    text.match_indices(':').any(|(at, _)| {
        let before = text[..at].trim_ascii_end();
        let name = before.strip_suffix('"').and_then(|inside| {
            let (_, name) = inside.rsplit_once('"')?;
            Some(name)
        });
        name.is_some_and(|name| known(name).is_some_and(|known| known != name))
    })
}

/// Gives fields that are written in another case their own names.
fn rename(fields: &mut Map<String, Value>) {
    let odd: Vec<_> = fields
        .keys()
        .filter_map(|key| {
            let name = known(key).filter(|name| name != key)?;
            Some((key.clone(), name))
        })
        .collect();
    for (key, name) in odd {
        if let Some(value) = fields.remove(&key) {
            fields.entry(name).or_insert(value);
        }
    }
    for value in fields.values_mut() {
        rename_in(value);
    }
}

fn rename_in(value: &mut Value) {
    match value {
        Value::Object(fields) => rename(fields),
        Value::Array(members) => members.iter_mut().for_each(rename_in),
        _ => {}
    }
}

fn known(key: &str) -> Option<&'static str> {
    let mut fields = FIELDS.into_iter();
    fields.find(|name| name.eq_ignore_ascii_case(key))
}

/// Puts an empty value in the place of each `null` in a list.
fn fill(fields: &mut Map<String, Value>, versions_are_texts: bool) {
    for (name, value) in fields {
        let are_texts =
            TEXTS.contains(&name.as_str()) || (versions_are_texts && name == "versions");
        match value {
            Value::Object(fields) => fill(fields, versions_are_texts),
            Value::Array(members) => {
                for member in members {
                    match member {
                        Value::Null if are_texts => *member = "".into(),
                        Value::Null => *member = Value::Object(Map::new()),
                        Value::Object(fields) => fill(fields, versions_are_texts),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Replaces each escape of half a surrogate pair by that of U+FFFD.
fn with_whole_characters(text: &str) -> Cow<'_, str> {
    let mut whole = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while let Some(found) = text[at..].find('\\') {
        at += found;
        let half = |at: usize| surrogate(bytes.get(at..at + 6)?);
        let (len, is_odd) = match (half(at), half(at + 6)) {
            (Some(Half::High), Some(Half::Low)) => (12, false),
            (Some(_), _) => (6, true),
            // A backslash, and the character that it escapes.
            (None, _) => (2, false),
        };
        if is_odd {
            whole.push_str(&text[copied..at]);
            whole.push_str("\\ufffd");
            copied = at + len;
        }
        at = (at + len).min(text.len());
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    if copied == 0 {
        return text.into();
    }
    whole.push_str(&text[copied..]);
    whole.into()
}

#[derive(Clone, Copy, PartialEq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that an escape of six bytes stands for.
fn surrogate(escape: &[u8]) -> Option<Half> {
    let digits = escape.strip_prefix(b"\\u")?;
    let unit = u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    match unit {
        0xD800..=0xDBFF => Some(Half::High),
        0xDC00..=0xDFFF => Some(Half::Low),
        _ => None,
    }
}
