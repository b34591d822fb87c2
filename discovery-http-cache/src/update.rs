//! A stored response that a newer answer has confirmed.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use discovery_core::dump::{self, Framing};
use discovery_core::store::Op;
use http::{HeaderMap, header, response};

use crate::cache::{Cache, Found};
use crate::exchange::Exchange;
use crate::policy::cache_control::ResponseDirectives;
use crate::policy::validation::{self, Confirmation};
use crate::policy::{storage, vary};

/// A stored response with newer headers.
pub(crate) struct Update {
    /// What users see of them.
    pub(crate) headers: HeaderMap,
    pub(crate) age: u64,
    pub(crate) ttl: i64,
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
        confirmation: Confirmation,
        now: SystemTime,
    ) -> Update {
        let entry = &found.entry;
        let mut parts = entry.head.parts().clone();
        // The stored age was that of the old date.
        parts.headers.remove(header::AGE);
        if !update.contains_key(header::DATE) {
            // Then it was sent now (RFC 9110 §6.6.1).
            parts.headers.remove(header::DATE);
        }
        let is_mergeable = validation::apply(confirmation, &mut parts.headers, update)
            && !storage::names_what_decides(update);

        let mut lands = false;
        let mut now_stored = None;
        let (reason, ops) = match self.to_update(cache, found, &parts, is_mergeable, now) {
            Err(reason) => (reason, vec![cache.remove(&self.ask.key)]),
            Ok((kept, directives)) => {
                let stored = cache.understand(&self.ask.key, &kept, directives, now);
                lands = stored.is_shareable(now);
                // Who confirms that it is older than it seemed has told something.
                let is_older = stored.freshness.age(now) > entry.stored.freshness.age(now);
                let unchanged = !stored.depends_on_time()
                    && !is_older
                    && validation::is_unchanged(&kept.headers, entry.headers());
                now_stored = Some(stored);
                if unchanged {
                    ("unchanged", Vec::new())
                } else {
                    let framing = match entry.head.framing() {
                        // What is known of the connection that the body came on is no longer true.
                        Framing::Bare => Framing::Close,
                        framing => framing,
                    };
                    let body = found.body.clone();
                    let value = dump::encode(&self.ask.kept, &kept, framing, body);
                    let put = cache.put(self.ask.key.clone(), value, self.epoch.clone());
                    ("to be stored", vec![put])
                }
            }
        };
        let stored = now_stored.as_ref().unwrap_or(&entry.stored);
        let age = stored.freshness.age(now);
        Update {
            age: age.as_secs(),
            ttl: stored.ttl(age),
            headers: parts.headers,
            reason,
            ops,
            // Not if it came too late to be stored.
            lands: lands && self.epoch.is_now(),
        }
    }

    /// The head to store in place of the one that there is.
    fn to_update(
        &self,
        cache: &Cache,
        found: &Found,
        parts: &response::Parts,
        is_mergeable: bool,
        now: SystemTime,
    ) -> Result<(response::Parts, ResponseDirectives), storage::Refusal> {
        let rules = cache.config.rules;
        if !is_mergeable {
            return Err("headers that can't be stored");
        }
        let fields = storage::may_store(parts.status, &parts.headers, rules)?;
        let mut kept = storage::to_store(parts, &fields, &self.headers, self.asked, now, rules)?;
        if let Some(family) = found.entry.variant.family() {
            vary::set_family(&mut kept.headers, family.clone());
        }
        Ok((kept, fields.directives))
    }
}
