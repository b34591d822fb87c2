//! Stored responses, decoded, and a cache of their heads.
//!
//! The head of an entry is remembered with the very bytes that it was decoded from. The bytes that the store returns
//! later are compared with them: the same bytes have the same meaning, and other bytes, which another process may have
//! written, are decoded anew. Comparing some hundred bytes costs next to nothing, serves stores that read a file each
//! time as well as those that return shared memory, and no body is held here.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::http::dump::{DumpError, Framing, Head};
use discovery_core::store::Value;
use http::{HeaderMap, HeaderValue, Method, Response, response};

use crate::policy::Rules;
use crate::policy::cache_control::{RequestDirectives, ResponseDirectives};
use crate::policy::reuse::{ResponseFields, Reuse, StoredMeta};
use crate::policy::vary::Variant;
use crate::policy::{status, storage};

/// A stored response without its body.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Status, version, and the headers that users see. `Age` is to be replaced.
    pub(crate) parts: response::Parts,
    pub(crate) framing: Framing,
    pub(crate) meta: StoredMeta,
    pub(crate) variant: Variant,
    /// Whether this cache would store it: other programs store errors, too.
    pub(crate) is_usable: bool,
}

/// A stored response.
#[derive(Clone)]
pub(crate) struct StoredResponse {
    pub(crate) entry: Arc<Entry>,
    pub(crate) body: Bytes,
}

/// The head of a response that is on its way into the store. It is made into an entry when another request needs it.
#[derive(Debug)]
pub(crate) struct NewHead {
    /// As it is stored.
    pub(crate) parts: Arc<response::Parts>,
    pub(crate) framing: Framing,
    pub(crate) meta: StoredMeta,
    pub(crate) rules: Rules,
    entry: OnceLock<Arc<Entry>>,
}

/// Decoded heads, bounded by bytes, least recently used out first, roughly: heads are in two halves, and when the young
/// half has become half of the limit, it takes the place of the old one.
#[derive(Default)]
pub(crate) struct HeadCache {
    halves: Mutex<Halves>,
}

#[derive(Default)]
struct Halves {
    young: HashMap<Box<str>, Arc<Cached>>,
    old: HashMap<Box<str>, Arc<Cached>>,
    young_bytes: usize,
}

/// An entry with the bytes that it was decoded from.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The method of the request: the answer to HEAD ends where that to GET has a body.
    method: Method,
    /// Its parts have moved to the entry.
    head: Head,
    entry: Arc<Entry>,
}

impl Entry {
    /// `parts` are as they are stored.
    fn new(
        mut parts: response::Parts,
        framing: Framing,
        meta: StoredMeta,
        variant: Variant,
        rules: Rules,
    ) -> Self {
        let is_usable =
            status::may_be_stored(parts.status, rules) && storage::is_readable(&parts.headers);
        if is_usable {
            storage::make_servable(&mut parts.headers, rules);
        }
        Self {
            parts,
            framing,
            meta,
            variant,
            is_usable,
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// See [`Variant::accept_of_other_kubectl`].
    pub(crate) fn accept_of_other_kubectl(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let variant = &self.variant;
        variant.accept_of_other_kubectl(request, self.headers())
    }

    /// Decides whether it answers a request with these directives and headers, and on what condition. `waited` says that
    /// the request has waited for this very response.
    pub(crate) fn reuse(
        &self,
        asked: &RequestDirectives,
        headers: &HeaderMap,
        now: SystemTime,
        waited: bool,
    ) -> Reuse {
        if self.variant.matches(headers) {
            self.meta.reuse(asked, now, waited)
        } else {
            Reuse::OtherVariant
        }
    }
}

impl NewHead {
    pub(crate) fn new(
        parts: Arc<response::Parts>,
        framing: Framing,
        meta: StoredMeta,
        rules: Rules,
    ) -> Self {
        Self {
            parts,
            framing,
            meta,
            rules,
            entry: OnceLock::new(),
        }
    }

    /// The entry that the store will have.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        self.entry.get_or_init(|| {
            let parts = response::Parts::clone(&self.parts);
            let fields = ResponseFields::of(&parts.headers);
            let variant = fields.vary.recorded(&parts.headers, self.rules);
            let meta = self.meta.clone();
            Arc::new(Entry::new(parts, self.framing, meta, variant, self.rules))
        })
    }
}

impl Cached {
    /// `understand` tells the meaning of the head.
    pub(crate) fn decode(
        method: &Method,
        value: &Value,
        rules: Rules,
        understand: impl FnOnce(&response::Parts, ResponseDirectives) -> StoredMeta,
    ) -> Result<Self, DumpError> {
        let mut head = Head::decode(method, value)?;
        let framing = head.framing();
        let (empty, ()) = Response::new(()).into_parts();
        let parts = mem::replace(head.parts_mut(), empty);
        let ResponseFields { directives, vary } = ResponseFields::of(&parts.headers);
        let variant = vary.recorded(&parts.headers, rules);
        let meta = understand(&parts, directives);
        Ok(Self {
            method: method.clone(),
            head,
            entry: Arc::new(Entry::new(parts, framing, meta, variant, rules)),
        })
    }

    /// The response in `value`, which begins with this head.
    pub(crate) fn response(&self, value: Value) -> Result<StoredResponse, DumpError> {
        Ok(StoredResponse {
            entry: Arc::clone(&self.entry),
            body: self.head.body(value)?,
        })
    }

    fn is_for(&self, method: &Method, value: &Value) -> bool {
        self.method == *method && self.head.begins(value)
    }
}

impl HeadCache {
    /// The head that `value`, found under `key`, begins with, if it is known.
    pub(crate) fn find(&self, key: &str, method: &Method, value: &Value) -> Option<Arc<Cached>> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = halves.young.get(key) {
            return cached.is_for(method, value).then(|| Arc::clone(cached));
        }
        let (key, cached) = halves.old.remove_entry(key)?;
        if !cached.is_for(method, value) {
            return None;
        }
        halves.insert(key, Arc::clone(&cached));
        Some(cached)
    }

    pub(crate) fn insert(&self, key: &str, cached: Arc<Cached>, limit: usize) {
        if cost(key, &cached) > limit / 2 {
            return;
        }
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.insert(key.into(), cached);
        if halves.young_bytes > limit / 2 {
            halves.old = mem::take(&mut halves.young);
            halves.young_bytes = 0;
        }
    }
}

impl Halves {
    fn insert(&mut self, key: Box<str>, cached: Arc<Cached>) {
        self.young_bytes += cost(&key, &cached);
        if let Some(replaced) = self.young.get(&key) {
            self.young_bytes -= cost(&key, replaced);
        }
        self.young.insert(key, cached);
    }
}

/// About how many bytes a head takes: its bytes, and the map that points into them. A header in a map has a place in two
/// tables that are partly empty.
fn cost(key: &str, cached: &Cached) -> usize {
    const HEADER: usize = 256;
    let headers = cached.entry.headers().len();
    1024 + key.len() + cached.head.as_bytes().len() + headers * HEADER
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

    fn cached(tag: usize) -> Arc<Cached> {
        let understand = |parts: &response::Parts, directives| {
            let headers = &parts.headers;
            StoredMeta::of(parts.status, headers, directives, Rules::STRICT, UNIX_EPOCH)
        };
        Arc::new(Cached::decode(&Method::GET, &value(tag), Rules::STRICT, understand).unwrap())
    }

    #[test]
    fn other_bytes_are_not_taken_for_the_same() {
        let heads = HeadCache::default();
        heads.insert("a", cached(1), 1 << 20);
        assert!(heads.find("a", &Method::GET, &value(1)).is_some());
        assert!(heads.find("a", &Method::GET, &value(2)).is_none());
        assert!(heads.find("a", &Method::HEAD, &value(1)).is_none());
        assert!(heads.find("b", &Method::GET, &value(1)).is_none());
        // Another body is another response with the same head.
        assert!(
            heads
                .find(
                    "a",
                    &Method::GET,
                    &Value::new("", [&value(1).body[..], b"!"].concat())
                )
                .is_some()
        );
    }

    #[test]
    fn bounded_and_the_used_ones_stay() {
        let heads = HeadCache::default();
        for n in 0..1000 {
            heads.insert(&n.to_string(), cached(n), 64 * 1024);
            assert!(heads.find("0", &Method::GET, &value(0)).is_some());
        }
        let halves = heads.halves.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 64);
        assert!(halves.young_bytes <= 64 * 1024);
    }
}
