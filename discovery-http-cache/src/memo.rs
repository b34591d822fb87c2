//! Decoded heads of entries, so that a hit does not decode again.
//!
//! An entry's head is remembered with the very bytes that it was decoded from. Whatever the store
//! returns later is compared with them: the same bytes have the same meaning, and other bytes, which
//! another process may have put there, are decoded anew. Comparing some hundred bytes costs
//! next to nothing, works for stores that read a file each time as for those that return
//! shared memory, and no body is held here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use discovery_core::dump::{DumpError, Head};
use discovery_core::store::Value;
use http::{HeaderMap, Method, response};

use crate::policy::Rules;
use crate::policy::cache_control::{RequestDirectives, ResponseDirectives};
use crate::policy::reuse::{ResponseFields, Reuse, StoredMeta};
use crate::policy::vary::Variant;
use crate::policy::{status, storage};

/// A stored response without its body.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The request's: the answer to HEAD ends where that to GET has a body.
    method: Method,
    /// With the headers that its users see. `Age` is to be replaced.
    pub(crate) head: Head,
    pub(crate) stored: StoredMeta,
    pub(crate) variant: Variant,
    /// Whether it is one that this cache would store: others store errors, too.
    pub(crate) is_usable: bool,
}

/// Bounded by bytes, least recently used out first, roughly: entries are in two generations, and
/// when the young one has become half of the limit, it takes the place of the old one.
#[derive(Default)]
pub(crate) struct Memo {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Arc<Entry>>,
    old: HashMap<Box<str>, Arc<Entry>>,
    young_bytes: usize,
}

impl Entry {
    /// `understand` says what the head means.
    pub(crate) fn decode(
        method: &Method,
        value: &Value,
        rules: Rules,
        understand: impl FnOnce(&response::Parts, ResponseDirectives) -> StoredMeta,
    ) -> Result<Self, DumpError> {
        let mut head = Head::decode(method, value)?;
        let parts = head.parts_mut();
        let ResponseFields { directives, vary } = ResponseFields::of(&parts.headers);
        let variant = vary.recorded(&parts.headers, rules);
        let stored = understand(parts, directives);
        let is_usable =
            status::may_be_stored(parts.status, rules) && storage::is_readable(&parts.headers);
        if is_usable {
            storage::make_servable(&mut parts.headers, rules);
        }
        Ok(Self {
            method: method.clone(),
            head,
            stored,
            variant,
            is_usable,
        })
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.parts().headers
    }

    /// Whether it answers a request with these directives and headers, and on what condition. `waited`
    /// says that the request has waited for it.
    pub(crate) fn reuse(
        &self,
        asked: &RequestDirectives,
        headers: &HeaderMap,
        now: SystemTime,
        waited: bool,
    ) -> Reuse {
        if self.variant.matches(headers) {
            self.stored.reuse(asked, now, waited)
        } else {
            Reuse::OtherVariant
        }
    }

    fn is_for(&self, method: &Method, value: &Value) -> bool {
        self.method == *method && self.head.begins(value)
    }
}

impl Memo {
    /// The entry that `value`, found under `key`, begins with, if it is known.
    pub(crate) fn find(&self, key: &str, method: &Method, value: &Value) -> Option<Arc<Entry>> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = generations.young.get(key) {
            return entry.is_for(method, value).then(|| Arc::clone(entry));
        }
        let (key, entry) = generations.old.remove_entry(key)?;
        if !entry.is_for(method, value) {
            return None;
        }
        generations.insert(key, Arc::clone(&entry));
        Some(entry)
    }

    pub(crate) fn insert(&self, key: &str, entry: Arc<Entry>, limit: usize) {
        if cost(key, &entry) > limit / 2 {
            return;
        }
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        generations.insert(key.into(), entry);
        if generations.young_bytes > limit / 2 {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
    }
}

impl Generations {
    fn insert(&mut self, key: Box<str>, entry: Arc<Entry>) {
        self.young_bytes += cost(&key, &entry);
        if let Some(replaced) = self.young.get(&key) {
            self.young_bytes -= cost(&key, replaced);
        }
        self.young.insert(key, entry);
    }
}

/// About what an entry takes: its bytes, and the map that points into them. A header in a map has a
/// place in two tables that are partly empty.
fn cost(key: &str, entry: &Entry) -> usize {
    const HEADER: usize = 256;
    1024 + key.len() + entry.head.as_bytes().len() + entry.headers().len() * HEADER
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn value(tag: usize) -> Value {
        Value::new(
            "",
            format!("HTTP/1.1 200 OK\r\nEtag: \"{tag}\"\r\n\r\nbody"),
        )
    }

    fn entry(tag: usize) -> Arc<Entry> {
        let understand = |parts: &response::Parts, directives| {
            let headers = &parts.headers;
            StoredMeta::of(parts.status, headers, directives, Rules::STRICT, UNIX_EPOCH)
        };
        Arc::new(Entry::decode(&Method::GET, &value(tag), Rules::STRICT, understand).unwrap())
    }

    #[test]
    fn other_bytes_are_not_taken_for_the_same() {
        let memo = Memo::default();
        memo.insert("a", entry(1), 1 << 20);
        assert!(memo.find("a", &Method::GET, &value(1)).is_some());
        assert!(memo.find("a", &Method::GET, &value(2)).is_none());
        assert!(memo.find("a", &Method::HEAD, &value(1)).is_none());
        assert!(memo.find("b", &Method::GET, &value(1)).is_none());
        // Another body is another response with the same head.
        assert!(
            memo.find(
                "a",
                &Method::GET,
                &Value::new("", [&value(1).body[..], b"!"].concat())
            )
            .is_some()
        );
    }

    #[test]
    fn bounded_and_the_used_ones_stay() {
        let memo = Memo::default();
        for n in 0..1000 {
            memo.insert(&n.to_string(), entry(n), 64 * 1024);
            assert!(memo.find("0", &Method::GET, &value(0)).is_some());
        }
        let generations = memo.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 64);
        assert!(generations.young_bytes <= 64 * 1024);
    }
}
