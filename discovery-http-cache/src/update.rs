//! A stored response that a newer answer has confirmed.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use discovery_core::dump::{self, Framing};
use discovery_core::store::Op;
use http::{HeaderMap, header, response};

use crate::cache::{Cache, Found};
use crate::exchange::Exchange;
use crate::policy::stored::Stored;
use crate::policy::{storing, validation, vary};

/// A stored response with newer headers.
pub(crate) struct Update {
    /// What users see of them.
    pub(crate) headers: HeaderMap,
    pub(crate) age: u64,
    pub(crate) reason: &'static str,
    pub(crate) ops: Vec<Op<io::Result<()>>>,
    /// Whether there is something for those who wait.
    pub(crate) lands: bool,
}

impl Exchange {
    /// What newer headers make of a stored response (RFC 9111 §3.2).
    pub(crate) fn update(
        &self,
        cache: &Arc<Cache>,
        found: &Found,
        update: &HeaderMap,
        now: SystemTime,
    ) -> Update {
        let (entry, rules) = (&found.entry, cache.config.rules);
        let old = entry.head.parts();
        // The stored age was that of the old date.
        let mut headers = entry.headers.clone();
        headers.remove(header::AGE);
        if !update.contains_key(header::DATE) {
            // Then it was sent now (RFC 9110 §6.6.1).
            headers.remove(header::DATE);
        }
        let mut parts = old.clone();
        parts.headers = validation::merge(&headers, update);

        let mut kept = storing::to_store(&parts, &self.headers, self.asked, now, rules);
        if let Some(family) = entry.stored.family() {
            vary::set_family(&mut kept.headers, family.clone());
        }
        let stored = Stored::of(kept.status, &kept.headers, rules);
        let refusal = storing::may_store(parts.status, &parts.headers, now, rules);
        let (reason, ops, lands) = if let Err(reason) = refusal {
            (reason, vec![cache.remove(&self.ask.key)], false)
        } else if !stored.depends_on_time()
            && validation::is_unchanged(&kept.headers, &stored_form(old))
        {
            ("unchanged", Vec::new(), stored.is_shareable())
        } else {
            let framing = match entry.head.framing() {
                // What is known of the connection that the body came on is no longer true.
                Framing::Bare => Framing::Close,
                framing => framing,
            };
            let value = dump::encode(&self.ask.kept, &kept, framing, found.body.clone());
            let (cache, key) = (Arc::clone(cache), self.ask.key.clone());
            let put = cache
                .store
                .put(&key, value)
                .map(move |result| result.inspect(|()| cache.stored(&key)));
            ("to be stored", vec![put], stored.is_shareable())
        };
        Update {
            age: stored.freshness.age(now).as_secs(),
            headers: parts.headers,
            reason,
            ops,
            lands,
        }
    }
}

/// The headers of an entry as they would be stored today.
fn stored_form(parts: &response::Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    storing::remove_hop_by_hop(&mut headers);
    headers.remove(storing::FROM_CACHE);
    headers
}
