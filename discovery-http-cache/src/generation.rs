//! Answers that are older than a change of what they are about.
//!
//! An unsafe request invalidates stored responses, and also those that are on their way: the answer to a request that
//! was sent before may be from before the change. So it ends the generation of its key, and an answer to a request of an
//! ended generation is not stored.
//!
//! A write that is under way when its generation ends may come after the removal, and is removed in its turn. Until then
//! what the store has under the key is not to be trusted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::policy::variants::base_of;

/// The generations in which something is on its way, by key. Nobody needs to know of the others.
#[derive(Default)]
pub(crate) struct Generations {
    table: Arc<Table>,
    late: Arc<LateWrites>,
    /// How many have been ended, or would have been.
    ends: AtomicU64,
}

type Table = Mutex<HashMap<Arc<str>, Weak<Inner>>>;

/// The time between two invalidations of a key.
#[derive(Clone)]
pub(crate) struct Generation(Arc<Inner>);

struct Inner {
    key: Arc<str>,
    has_ended: AtomicBool,
    /// How many entries are being written. Changed together with `has_ended`.
    writes: Mutex<usize>,
    table: Arc<Table>,
    late: Arc<LateWrites>,
}

/// The keys under which answers of ended generations are being written.
#[derive(Default)]
struct LateWrites {
    /// How many generations there are for each key.
    keys: Mutex<HashMap<Arc<str>, usize>>,
    /// The number of keys. Mostly there is none.
    count: AtomicUsize,
    /// How often the last late write of a generation has ended.
    ends: AtomicU64,
}

/// An entry that is being written.
pub(crate) struct Writing(Generation);

/// A moment before a look into the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    late_writes: u64,
    ends: u64,
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
            writes: Mutex::default(),
            table: Arc::clone(&self.table),
            late: Arc::clone(&self.late),
        });
        *place = Arc::downgrade(&generation);
        Generation(generation)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).len() + self.late.keys().len()
    }

    /// Ends the generation of a key, if anything is on its way.
    pub(crate) fn end(&self, key: &str) {
        self.ends.fetch_add(1, Ordering::SeqCst);
        let ended = lock(&self.table).remove(base_of(key));
        if let Some(generation) = ended.and_then(|generation| generation.upgrade()) {
            let writes = generation.writes();
            generation.has_ended.store(true, Ordering::Release);
            if *writes > 0 {
                self.late.begin(&generation.key);
            }
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            late_writes: self.late.ends.load(Ordering::SeqCst),
            ends: self.ends.load(Ordering::SeqCst),
        }
    }

    /// Whether any generation may have ended since that moment.
    pub(crate) fn has_any_ended(&self, since: Moment) -> bool {
        self.ends.load(Ordering::SeqCst) != since.ends
    }

    /// Whether what a look since that moment has found under a key may be of an ended generation.
    pub(crate) fn is_late(&self, key: &str, since: Moment) -> bool {
        let late = &self.late;
        (late.count.load(Ordering::SeqCst) > 0 && late.keys().contains_key(base_of(key)))
            || late.ends.load(Ordering::SeqCst) != since.late_writes
    }
}

impl LateWrites {
    fn begin(&self, key: &Arc<str>) {
        let mut keys = self.keys();
        *keys.entry(Arc::clone(key)).or_default() += 1;
        self.count.store(keys.len(), Ordering::SeqCst);
    }

    fn end(&self, key: &str) {
        // Before the key is gone, so that a look that began earlier sees one or the other.
        self.ends.fetch_add(1, Ordering::SeqCst);
        let mut keys = self.keys();
        if let Some(generations) = keys.get_mut(key) {
            *generations -= 1;
            if *generations == 0 {
                keys.remove(key);
            }
        }
        self.count.store(keys.len(), Ordering::SeqCst);
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn writes(&self) -> MutexGuard<'_, usize> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Begins to write an entry. The caller keeps the returned value until the entry is written, and until it is removed if it
    /// came too late.
    pub(crate) fn begin_write(&self) -> Writing {
        let mut writes = self.0.writes();
        *writes += 1;
        if *writes == 1 && !self.is_current() {
            self.0.late.begin(&self.0.key);
        }
        drop(writes);
        Writing(self.clone())
    }

    /// Whether it has not ended.
    pub(crate) fn is_current(&self) -> bool {
        !self.0.has_ended.load(Ordering::Acquire)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let generation = &self.0;
        let mut writes = generation.0.writes();
        *writes -= 1;
        if *writes == 0 && !generation.is_current() {
            generation.0.late.end(&generation.0.key);
        }
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
    fn a_write_that_goes_on_when_its_generation_ends_makes_the_key_doubtful() {
        let generations = Generations::default();
        let old = generations.current("https://h/a");
        let first = generations.moment();
        let writes = [old.begin_write(), old.begin_write()];
        assert!(!generations.is_late("https://h/a", first));
        generations.end("https://h/a");
        let [one, two] = writes;
        drop(one);
        assert!(generations.is_late("https://h/a\nf\nx", first));
        assert!(!generations.is_late("https://h/b", first));
        drop(two);
        // A look that began before may have found what has been removed since.
        assert!(generations.is_late("https://h/a", first));
        let second = generations.moment();
        assert!(!generations.is_late("https://h/a", second));
        let late = old.begin_write();
        assert!(generations.is_late("https://h/a", second));
        drop(late);
        assert!(!generations.is_late("https://h/a", generations.moment()));
        assert!(generations.late.keys().is_empty());
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
