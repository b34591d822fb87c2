//! Which answers are older than a change of what they are about.
//!
//! An unsafe request invalidates what is stored, and what is on its way: an answer to a request that was
//! sent before may be from before the change. So it ends the epoch of its key, and what was sent in an
//! epoch that has ended is not stored.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::policy::variants::base_of;

/// The epochs in which something is on its way, by key. Of the others nobody needs to know.
#[derive(Default)]
pub(crate) struct Epochs {
    table: Arc<Table>,
}

type Table = Mutex<HashMap<Arc<str>, Weak<Inner>>>;

/// The time between two changes of what a key is for.
#[derive(Clone)]
pub(crate) struct Epoch(Arc<Inner>);

struct Inner {
    key: Arc<str>,
    has_ended: AtomicBool,
    table: Arc<Table>,
}

impl Epochs {
    /// The epoch of a key. All variants of a response share one.
    pub(crate) fn now(&self, key: &str) -> Epoch {
        let key: Arc<str> = base_of(key).into();
        let mut table = lock(&self.table);
        let place = table.entry(Arc::clone(&key)).or_default();
        if let Some(epoch) = place.upgrade() {
            return Epoch(epoch);
        }
        let epoch = Arc::new(Inner {
            key,
            has_ended: AtomicBool::new(false),
            table: Arc::clone(&self.table),
        });
        *place = Arc::downgrade(&epoch);
        Epoch(epoch)
    }

    /// Ends that of a key, if anything is on its way.
    pub(crate) fn end(&self, key: &str) {
        let ended = lock(&self.table).remove(base_of(key));
        if let Some(epoch) = ended.and_then(|epoch| epoch.upgrade()) {
            epoch.has_ended.store(true, Ordering::Release);
        }
    }
}

impl Epoch {
    /// `key`, which is one of this epoch's, in the same allocation if it is the very one.
    pub(crate) fn key(&self, key: &str) -> Arc<str> {
        if *self.0.key == *key {
            Arc::clone(&self.0.key)
        } else {
            key.into()
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_now(&self) -> bool {
        !self.0.has_ended.load(Ordering::Acquire)
    }
}

impl PartialEq for Epoch {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Epoch {}

impl Hash for Epoch {
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

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Epoch").field(&self.is_now()).finish()
    }
}

fn lock(table: &Table) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Inner>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_share_an_epoch_and_others_do_not() {
        let epochs = Epochs::default();
        let (key, variant) = (
            epochs.now("https://h/a"),
            epochs.now("https://h/a\nf\nx: 1"),
        );
        let other = epochs.now("https://h/b");
        assert_eq!(key, variant);
        epochs.end("https://h/a");
        assert!(!key.is_now() && !variant.is_now());
        assert!(other.is_now());
        let next = epochs.now("https://h/a");
        assert!(next.is_now() && next != key);
        // The old one takes nothing of the new one with it.
        drop((key, variant));
        epochs.end("https://h/a");
        assert!(!next.is_now());
    }

    #[test]
    fn nothing_is_left() {
        let epochs = Epochs::default();
        for n in 0..100 {
            let epoch = epochs.now(&n.to_string());
            assert_eq!(lock(&epochs.table).len(), 1);
            if n % 2 == 0 {
                epochs.end(&n.to_string());
            }
            drop(epoch);
        }
        assert!(lock(&epochs.table).is_empty());
    }
}
