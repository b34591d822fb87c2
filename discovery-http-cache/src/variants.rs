//! The list of the variants of a response in the store, so that their number is bounded and all can be removed.
//!
//! A list is changed in memory first, one change at a time, and then written; so that of several changes at the same
//! time none is lost in this process.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use discovery_core::store::Value;
use http::HeaderName;

use crate::cache::Cache;
use crate::policy::variants::{VariantIndex, all_keys};

/// Of how many responses the lists are in memory at most.
const MAX_LISTS: usize = 1024;

/// The place of a variant that is not the first one of its response.
#[derive(Clone, Debug)]
pub(crate) struct VariantPlace {
    /// The key of the first variant.
    pub(crate) base: String,
    pub(crate) family: String,
    /// The field names that `Vary` lists.
    pub(crate) names: Vec<HeaderName>,
}

impl Cache {
    /// Notes that a variant is about to be stored, and removes the oldest ones beyond the bound.
    pub(crate) async fn add_variant(self: &Arc<Self>, place: &VariantPlace, key: &str) {
        self.load_variants(&place.base).await;
        let limit = self.config.max_variants;
        let removed = {
            let mut lists = self.lists();
            make_room(&mut lists, &place.base);
            let new = || VariantIndex::new(&place.family, &place.names);
            let list = lists.entry(place.base.clone()).or_insert_with(new);
            // Variants of another family, or by other fields, are never found again.
            let mut removed: Vec<String> = Vec::new();
            if list.family() != place.family || list.names() != place.names {
                removed.extend(list.keys(&place.base));
                *list = new();
            }
            removed.extend(list.add(&place.base, key, limit).unwrap_or_default());
            removed
        };
        self.remove_each(&removed).await;
        self.save_variants(&place.base).await;
    }

    /// The list of the variants of a response whose first one is gone, if this process knows of any. It is that of the
    /// store: another process may have invalidated what this one remembers.
    pub(crate) async fn list_without_first(&self, base: &str) -> Option<VariantIndex> {
        if !self.lists().contains_key(base) {
            return None;
        }
        match self.get(&VariantIndex::key(base)).await {
            Ok(value) => VariantIndex::parse(&value?.into_bytes()),
            Err(error) => {
                self.store_failed(base, "read", &error);
                None
            }
        }
    }

    /// Forgets the list of a response whose variants are to be removed.
    pub(crate) fn take_list(&self, base: &str) -> Option<VariantIndex> {
        self.lists().remove(base)
    }

    /// Ends the generation of a response, and forgets the list of its variants. A variant that is added to the list later
    /// is either of the next generation, or is removed by whoever writes it.
    pub(crate) fn end_generation(&self, base: &str) -> Option<VariantIndex> {
        let mut lists = self.lists();
        self.state.generations.end(base);
        lists.remove(base)
    }

    /// Removes all variants but the first, and their list. `known` is the list that was in memory.
    pub(crate) async fn remove_all_variants(
        self: &Arc<Self>,
        base: &str,
        known: Option<VariantIndex>,
    ) {
        let stored = match self.get(&VariantIndex::key(base)).await {
            Ok(Some(value)) => Some(value.into_bytes()),
            Ok(None) => None,
            Err(error) => {
                self.store_failed(base, "read", &error);
                None
            }
        };
        let known = known.map(|list| list.encode());
        let mut keys = all_keys(base, stored.as_deref());
        keys.extend(all_keys(base, known.as_deref()));
        keys.sort_unstable();
        keys.dedup();
        let others = keys.iter().filter(|key| *key != base);
        self.remove_each(others).await;
    }

    /// Reads the list of a base key, unless it is in memory.
    async fn load_variants(self: &Arc<Self>, base: &str) {
        if self.lists().contains_key(base) {
            return;
        }
        let list = match self.get(&VariantIndex::key(base)).await {
            Ok(value) => value.and_then(|value| VariantIndex::parse(&value.into_bytes())),
            Err(error) => {
                self.store_failed(base, "read", &error);
                None
            }
        };
        if let Some(list) = list {
            let mut lists = self.lists();
            make_room(&mut lists, base);
            // Not over a change that came meanwhile.
            lists.entry(base.to_owned()).or_insert(list);
        }
    }

    /// Writes the list of a base key, again if it has changed meanwhile.
    async fn save_variants(self: &Arc<Self>, base: &str) {
        loop {
            let Some(list) = self.lists().get(base).cloned() else {
                return;
            };
            if let Err(error) = self.write_variants(base, &list).await {
                return self.store_failed(base, "write", &error);
            }
            if self.lists().get(base) == Some(&list) {
                return;
            }
        }
    }

    async fn write_variants(&self, base: &str, list: &VariantIndex) -> io::Result<()> {
        let value = Value::new("", list.encode());
        self.bounded(self.store.put(&VariantIndex::key(base), value))
            .await
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<String, VariantIndex>> {
        self.state
            .variants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a list, if there are too many for another one. It is still in the store.
fn make_room(lists: &mut HashMap<String, VariantIndex>, base: &str) {
    if lists.len() >= MAX_LISTS
        && !lists.contains_key(base)
        && let Some(any) = lists.keys().next().cloned()
    {
        lists.remove(&any);
    }
}
