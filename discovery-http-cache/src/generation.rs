//! Answers that are older than a change of what they are about.
//!
//! An unsafe request invalidates stored responses, and also those that are on their way: the answer to a request that
//! was sent before may be from before the change. So it ends the generation of its key, and an answer to a request of an
//! ended generation is not stored.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::policy::variants::base_of;

/// The generations in which something is on its way, by key. Nobody needs to know of the others.
#[derive(Default)]
pub(crate) struct Generations {
    table: Arc<Table>,
}

type Table = Mutex<HashMap<Arc<str>, Weak<Inner>>>;

/// The time between two invalidations of a key.
#[derive(Clone)]
pub(crate) struct Generation(Arc<Inner>);

struct Inner {
    key: Arc<str>,
    has_ended: AtomicBool,
    table: Arc<Table>,
}

impl Generations {
    /// The present generation of a key. All variants of a response share one.
    pub(crate) fn current(&self, key: &str) -> Generation {
        let key: Arc<str> = base_of(key).into();
        let mut table = lock(&self.table);
        let place = table.entry(Arc::clone(&key)).or_default();
        if let Some(generation) = place.upgrade() {
            return Generation(generation);
        }
        let generation = Arc::new(Inner {
            key,
            has_ended: AtomicBool::new(false),
            table: Arc::clone(&self.table),
        });
        *place = Arc::downgrade(&generation);
        Generation(generation)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).len()
    }

    /// Ends the generation of a key, if anything is on its way.
    pub(crate) fn end(&self, key: &str) {
        let ended = lock(&self.table).remove(base_of(key));
        if let Some(generation) = ended.and_then(|generation| generation.upgrade()) {
            generation.has_ended.store(true, Ordering::Release);
        }
    }
}

impl Generation {
    /// `key`, which is one of this generation's, in the same allocation if it is the very one.
    pub(crate) fn key(&self, key: &str) -> Arc<str> {
        if *self.0.key == *key {
            Arc::clone(&self.0.key)
        } else {
            key.into()
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_current(&self) -> bool {
        !self.0.has_ended.load(Ordering::Acquire)
    }
}

impl PartialEq for Generation {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Generation {}

impl Hash for Generation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        if let Entry::Occupied(place) = table.entry(Arc::clone(&self.key))
            && std::ptr::eq(place.get().as_ptr(), self)
        {
            place.remove();
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Generation")
            .field(&self.is_current())
            .finish()
    }
}

fn lock(table: &Table) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Inner>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_share_a_generation_and_other_keys_do_not() {
        let generations = Generations::default();
        let (key, variant) = (
            generations.current("https://h/a"),
            generations.current("https://h/a\nf\nx"),
        );
        let other = generations.current("https://h/b");
        assert_eq!(key, variant);
        generations.end("https://h/a");
        assert!(!key.is_current() && !variant.is_current());
        assert!(other.is_current());
        let next = generations.current("https://h/a");
        assert!(next.is_current() && next != key);
        // The old one takes nothing of the new one with it.
        drop((key, variant));
        generations.end("https://h/a");
        assert!(!next.is_current());
    }

    #[test]
    fn a_generation_that_nobody_holds_takes_no_memory() {
        let generations = Generations::default();
        for n in 0..100 {
            let generation = generations.current(&n.to_string());
            assert_eq!(lock(&generations.table).len(), 1);
            if n % 2 == 0 {
                generations.end(&n.to_string());
            }
            drop(generation);
        }
        assert!(lock(&generations.table).is_empty());
    }
}
