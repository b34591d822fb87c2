//! The consequences of storing an entry, or of not storing it.

use std::sync::Arc;

use discovery_core::http::uri::Redacted;
use discovery_core::internal::entry_writer::{Abandoned, EntryObserver};
use discovery_core::store::Op;
use tracing::debug;

use crate::cache::Cache;
use crate::coalesce::{Activity, FlightKey};
use crate::generation::{Generation, Writing};
use crate::options::BoxFuture;
use crate::variants::VariantPlace;

/// Watches an entry on its way into the store.
pub(crate) struct Publication {
    cache: Arc<Cache>,
    /// The generation in which the response was requested.
    generation: Generation,
    /// There once the entry is being published.
    writing: Option<Writing>,
    /// Whether the entry supersedes another one, which is removed even if this one cannot be stored.
    pub(crate) supersedes: bool,
    /// The body in progress that others may join, until the entry is stored.
    pub(crate) shared: Option<(FlightKey, Arc<Activity>)>,
    pub(crate) variants: Variants,
}

/// The effect of an entry on the variants of its response.
pub(crate) enum Variants {
    /// Nothing.
    Unchanged,
    /// It is another variant than the first.
    Added(VariantPlace),
    /// It answers all requests, so that the others are outdated.
    Replaced {
        /// The key of the entry.
        base: String,
    },
}

impl Publication {
    pub(crate) fn new(cache: Arc<Cache>, generation: Generation) -> Self {
        Self {
            cache,
            generation,
            writing: None,
            supersedes: false,
            shared: None,
            variants: Variants::Unchanged,
        }
    }

    fn end_body(&mut self) {
        if let Some((flight, activity)) = self.shared.take() {
            self.cache.state.coalescer.end_body(&flight, &activity);
        }
    }
}

/// Changes the variants, before the entry is there.
fn prepare(cache: Arc<Cache>, key: String, variants: Variants) -> Op<()> {
    match variants {
        Variants::Unchanged => Op::Ready(()),
        Variants::Added(place) => Op::wait(async move { cache.add_variant(&place, &key).await }),
        Variants::Replaced { base } => {
            let known = cache.take_list(&base);
            Op::wait(async move { cache.remove_all_variants(&base, known).await })
        }
    }
}

impl Drop for Publication {
    /// A store that panicked has said neither that the entry is stored nor that it is not.
    fn drop(&mut self) {
        self.end_body();
    }
}

impl EntryObserver for Publication {
    fn is_current(&self) -> bool {
        self.generation.is_current()
    }

    fn on_progress(&mut self) {
        if let Some((_, activity)) = &self.shared {
            activity.touch();
        }
    }

    fn prepare(&mut self, key: &str) -> Op<()> {
        self.writing = Some(self.generation.begin_write());
        let (cache, key) = (Arc::clone(&self.cache), key.to_owned());
        if let Some(name) = cache.config.latest_of.as_ref().and_then(|of| of(&key)) {
            let variants = std::mem::replace(&mut self.variants, Variants::Unchanged);
            return Op::wait(async move {
                cache.supersede(&name, &key).await;
                prepare(cache, key, variants).await;
            });
        }
        let variants = std::mem::replace(&mut self.variants, Variants::Unchanged);
        prepare(cache, key, variants)
    }

    fn on_stored(&mut self, key: &str) {
        self.supersedes = false;
        self.writing = None;
        self.cache.count_stored(key);
        self.end_body();
    }

    fn on_abandoned(&mut self, key: &str, reason: Abandoned<'_>) -> Op<()> {
        let mut removes = std::mem::take(&mut self.supersedes);
        let reason = match reason {
            Abandoned::Because(reason) => reason,
            Abandoned::Invalidated => {
                removes = true;
                "invalidated"
            }
            Abandoned::Store(error) => {
                self.cache.store_failed(key, "write", error);
                "the store failed"
            }
            _ => "abandoned",
        };
        debug!(key = %Redacted::new(key), decision = "not stored", reason);
        self.end_body();
        let writing = self.writing.take();
        if removes {
            self.cache.remove(key).map(move |()| drop(writing))
        } else {
            Op::Ready(())
        }
    }

    fn commit_deadline(&self) -> Option<BoxFuture<()>> {
        let limit = self.cache.config.wait_limit.as_ref()?;
        Some(Box::pin(limit.sleep()))
    }
}
