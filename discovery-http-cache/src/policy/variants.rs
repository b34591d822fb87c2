//! The list of the variants of one response (RFC 9111 §4.1), so that all can be removed and their number
//! is bounded.
//!
//! The first variant is stored under the key of the request, the *base key*. The others have
//! [keys](super::vary::variant_key) that are derived from it. Their list is stored under another derived
//! key, [`VariantIndex::key`]. A hit on the first variant needs no list, and neither does one on another
//! variant as long as the first is there. The list is for changes: the next variant, an invalidation, and a
//! first variant that is gone. kubectl's preset has one variant for each key and never writes a list.
//!
//! The list is text. A line with the format, one with the family, one with the field names of `Vary`, and
//! then one for each variant, the oldest first: the last line of its key. A list that names something else
//! than variants of its own base key cannot be written down.

use http::{HeaderMap, HeaderName};

use super::vary::{variant_id, variant_key};

/// How many variants a response has at most, the first included, unless the layer is told otherwise.
pub(crate) const MAX_VARIANTS: usize = 16;

const FORMAT: &str = "discovery-http-cache variants 1";

/// No list that is read has more lines. One that was written under a higher bound is cut by the next
/// [`add`](VariantIndex::add).
const MAX_LINES: usize = 4096;

/// The variants of one response besides the first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VariantIndex {
    family: String,
    /// The field names by which the keys are made.
    names: Vec<HeaderName>,
    /// The last lines of the keys, the oldest first.
    ids: Vec<String>,
}

impl VariantIndex {
    /// The key under which the list for `base` is stored.
    pub(crate) fn key(base: &str) -> String {
        format!("{base}\nvariants")
    }

    /// An empty list for a family.
    pub(crate) fn new(family: &str, names: &[HeaderName]) -> Self {
        Self {
            family: family.to_owned(),
            names: names.to_vec(),
            ids: Vec::new(),
        }
    }

    /// Reads a list. `None` if the bytes are none: then nothing is known of the variants.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FORMAT {
            return None;
        }
        let family = lines.next().filter(|line| is_family(line))?;
        let names = lines.next()?.split(',').filter(|name| !name.is_empty());
        let names: Result<_, _> = names.map(HeaderName::try_from).collect();
        let ids: Vec<String> = lines.map(str::to_owned).collect();
        let is_valid = ids.len() <= MAX_LINES && ids.iter().all(|id| is_id(id));
        is_valid.then_some(Self {
            family: family.to_owned(),
            names: names.ok()?,
            ids,
        })
    }

    /// The bytes to store.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let names: Vec<&str> = self.names.iter().map(HeaderName::as_str).collect();
        let mut lines = vec![FORMAT.to_owned(), self.family.clone(), names.join(",")];
        lines.extend(self.ids.iter().cloned());
        let mut text = lines.join("\n");
        text.push('\n');
        text.into_bytes()
    }

    /// The family of the variants.
    pub(crate) fn family(&self) -> &str {
        &self.family
    }

    /// The field names by which the keys are made.
    pub(crate) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// The keys of the variants besides the first, the oldest first.
    pub(crate) fn keys(&self, base: &str) -> impl Iterator<Item = String> {
        let prefix = format!("{base}\n{}\n", self.family);
        self.ids.iter().map(move |id| format!("{prefix}{id}"))
    }

    /// The key of the variant for a request, if it is listed. For a request whose first variant is gone.
    pub(crate) fn find(&self, base: &str, request: &HeaderMap) -> Option<String> {
        let key = variant_key(base, &self.family, &self.names, request)?;
        let id = id_of(base, &self.family, &key)?;
        self.ids.iter().any(|known| known == id).then_some(key)
    }

    /// Notes that a variant has been stored under `key`, as the newest, and returns the keys to remove:
    /// of the oldest variants beyond `limit`, which counts the first variant too. `None` if `key` is of
    /// another base key or family.
    pub(crate) fn add(&mut self, base: &str, key: &str, limit: usize) -> Option<Vec<String>> {
        let id = id_of(base, &self.family, key)?.to_owned();
        self.ids.retain(|known| *known != id);
        self.ids.push(id);
        let excess = self
            .ids
            .len()
            .saturating_sub(limit.saturating_sub(1).max(1));
        let removed = Self {
            ids: self.ids.drain(..excess).collect(),
            ..Self::new(&self.family, &[])
        };
        Some(removed.keys(base).collect())
    }
}

/// All keys to remove when the entry under `base` is invalidated (RFC 9111 §4.4), or replaced by a response
/// that is for all requests: of the first variant, of the others, and of the list. `list` is what is stored
/// under [`VariantIndex::key`]. If it cannot be read, the other variants can no longer be found either:
/// their keys have the family of the first in them.
pub(crate) fn all_keys(base: &str, list: Option<&[u8]>) -> Vec<String> {
    let mut keys = vec![base.to_owned()];
    if let Some(bytes) = list {
        if let Some(index) = VariantIndex::parse(bytes) {
            keys.extend(index.keys(base));
        }
        keys.push(VariantIndex::key(base));
    }
    keys
}

/// The base key of any key: the first line. No URI has a line feed.
pub(crate) fn base_of(key: &str) -> &str {
    key.split('\n').next().unwrap_or_default()
}

fn id_of<'a>(base: &str, family: &str, key: &'a str) -> Option<&'a str> {
    let id = key
        .strip_prefix(base)?
        .strip_prefix('\n')?
        .strip_prefix(family)?
        .strip_prefix('\n')?;
    is_id(id).then_some(id)
}

fn is_family(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_id(line: &str) -> bool {
    line.len() == variant_id("").len() && line.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    const BASE: &str = "https://h/a";

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::try_from(value).unwrap())])
    }

    fn key(value: &str) -> String {
        variant_key(BASE, "f-1", &[header::ACCEPT], &accept(value)).unwrap()
    }

    fn index(values: &[&str]) -> VariantIndex {
        let mut index = VariantIndex::new("f-1", &[header::ACCEPT]);
        for value in values {
            assert!(
                index
                    .add(BASE, &key(value), MAX_VARIANTS)
                    .unwrap()
                    .is_empty()
            );
        }
        index
    }

    #[test]
    fn a_list_that_was_written_is_read() {
        for values in [&[][..], &["a"], &["a", "b", "c"]] {
            let index = index(values);
            assert_eq!(VariantIndex::parse(&index.encode()), Some(index));
        }
        let nameless = VariantIndex::new("f", &[]);
        assert_eq!(VariantIndex::parse(&nameless.encode()), Some(nameless));
    }

    #[test]
    fn bytes_that_are_no_list_are_none() {
        let good = index(&["a", "b"]).encode();
        for cut in 0..good.len() {
            let parsed = VariantIndex::parse(&good[..cut]);
            // A list can end after each of its lines.
            assert!(parsed.is_none() || good[..cut].ends_with(b"\n"), "{cut}");
        }
        let text = String::from_utf8(good).unwrap();
        for bad in [
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            text.replace("variants 1", "variants 2"),
            text.replace("f-1", ""),
            text.replace("f-1", "f\u{e9}"),
            text.replace("accept", "ac cept"),
            format!("{text}\n"),
            format!("{text}https://other/\n"),
            format!("{text}{}\n", "0".repeat(63)),
            text.clone() + &format!("{}\n", "0".repeat(64)).repeat(MAX_LINES + 1),
        ] {
            assert_eq!(VariantIndex::parse(bad.as_bytes()), None, "{bad:.99}");
        }
    }

    #[test]
    fn the_oldest_variants_go_beyond_the_bound() {
        let mut index = index(&["a", "b", "c"]);
        assert_eq!(index.add(BASE, &key("d"), 4), Some(vec![key("a")]));
        // A variant that is stored again is the newest.
        assert_eq!(index.add(BASE, &key("b"), 4), Some(vec![]));
        let removed = index.add(BASE, &key("e"), 3).unwrap();
        assert_eq!(removed, [key("c"), key("d")]);
        assert_eq!(index.keys(BASE).collect::<Vec<_>>(), [key("b"), key("e")]);
        // The one that has just been stored is never removed.
        for limit in [1, 0] {
            let mut index = index.clone();
            let removed = index.add(BASE, &key("f"), limit).unwrap();
            assert_eq!(removed, [key("b"), key("e")]);
        }
    }

    #[test]
    fn no_list_names_the_entries_of_others() {
        let mut index = index(&["a"]);
        for other in [
            BASE.to_owned(),
            VariantIndex::key(BASE),
            key("b").replace("f-1", "f-2"),
            key("b").replace("/a", "/b"),
            format!("{}0", key("b")),
            key("b") + "\nhttps://other/",
        ] {
            assert_eq!(index.add(BASE, &other, MAX_VARIANTS), None, "{other}");
        }
        assert_eq!(index.keys(BASE).collect::<Vec<_>>(), [key("a")]);
    }

    #[test]
    fn an_invalidation_removes_all_variants() {
        let keys = all_keys(BASE, Some(&index(&["a", "b"]).encode()));
        assert_eq!(
            keys,
            [BASE.to_owned(), key("a"), key("b"), VariantIndex::key(BASE)]
        );
        assert!(keys.iter().all(|key| base_of(key) == BASE));
        assert_eq!(all_keys(BASE, None), [BASE]);
        let damaged = all_keys(BASE, Some(b"?"));
        assert_eq!(damaged, [BASE.to_owned(), VariantIndex::key(BASE)]);
    }

    #[test]
    fn a_variant_is_found_without_the_first() {
        let index = index(&["a", "b"]);
        assert_eq!(index.find(BASE, &accept(" b ")), Some(key("b")));
        assert_eq!(index.find(BASE, &accept("c")), None);
        assert_eq!(index.find(BASE, &HeaderMap::new()), None);
        assert_eq!(index.family(), "f-1");
    }
}
