//! Bounds on what a store holds, and which values have to go.

use std::collections::BinaryHeap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use discovery_core::store::StoreSize;

use super::DiskStore;
use super::error::{Shown, why};
use super::fs::{Stamp, is_absence};
use super::list::Listed;
use super::offload::offload_detached;
use super::stats::Counters;

/// How exactly the time of the last use is known. Noting each use would cost a hit a write.
const USE_STEP: Duration = Duration::from_secs(60);

/// How many of the values that were not used for the longest time are looked for at once: that bounds the memory.
const CANDIDATES: usize = 16_384;

/// The tenths of a bound that remain when values have to go: fewer than all, so that the next write need not look again.
const KEPT_TENTHS: u64 = 9;

/// The part of a bound after which other processes' writes are looked for.
const RECOUNT_PART: u64 = 20;

/// The least number of writes between two counts, unless a bound is reached.
const RECOUNT_WRITES: u64 = 16;

/// How much a store may hold, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_values: Option<u64>,
    pub(crate) max_age: Option<Duration>,
}

/// How much the store is thought to hold.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    estimate: Mutex<Estimate>,
    /// Whether a thread counts.
    counting: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    /// `None` before the first count.
    size: Option<StoreSize>,
    /// Writes since the last count, whatever they have replaced.
    written: StoreSize,
}

/// The values that [`DiskStore::evict`] has removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evicted {
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    pub(crate) bytes: u64,
}

/// A count that is asked for. It may be dropped before it begins.
struct Counting(DiskStore);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.usage().counting.store(false, Ordering::Release);
    }
}

/// The outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Removed,
    /// Somebody else has removed it.
    Gone,
    /// It has changed, or can't be removed.
    Stays,
}

/// A value that may have to go. The order is that of the last use.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    used: SystemTime,
    path: PathBuf,
    len: u64,
}

impl Bounds {
    pub(crate) const fn limits_size(&self) -> bool {
        self.max_bytes.is_some() || self.max_values.is_some()
    }

    fn allow(&self, size: StoreSize) -> bool {
        self.max_bytes.is_none_or(|max| size.bytes <= max)
            && self.max_values.is_none_or(|max| size.values <= max)
    }

    /// The bounds of what remains when there is too much.
    fn kept(&self) -> Self {
        let kept = |max: u64| max - max / 10 * (10 - KEPT_TENTHS);
        Self {
            max_bytes: self.max_bytes.map(kept),
            max_values: self.max_values.map(kept),
            ..*self
        }
    }

    /// Whether so much was written that other processes may have filled the store.
    fn asks_for_count(&self, written: StoreSize) -> bool {
        let much = |max: u64, least: u64| (max / RECOUNT_PART).max(least);
        self.max_bytes
            .is_some_and(|max| written.bytes > much(max, 1) && written.values > RECOUNT_WRITES)
            || self
                .max_values
                .is_some_and(|max| written.values > much(max, RECOUNT_WRITES))
    }

    /// Whether a value of this age is not to be had any more. From further ahead than it may last, it was written before
    /// the clock was set back, and would be kept for ever.
    pub(crate) fn has_expired(&self, modified: Option<SystemTime>, now: SystemTime) -> bool {
        let (Some(max), Some(modified)) = (self.max_age, modified) else {
            return false;
        };
        match now.duration_since(modified) {
            Ok(age) => age > max,
            Err(ahead) => ahead.duration() > max,
        }
    }
}

impl Usage {
    fn estimate(&self) -> MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value of `len` bytes was written, in place of one of `replaced`. Returns whether the store has to be counted.
    fn add(&self, bounds: &Bounds, len: u64, replaced: Option<u64>) -> bool {
        let mut estimate = self.estimate();
        estimate.written.values += 1;
        estimate.written.bytes += len;
        let written = estimate.written;
        let Some(size) = &mut estimate.size else {
            return true;
        };
        size.values += u64::from(replaced.is_none());
        size.bytes = (size.bytes + len).saturating_sub(replaced.unwrap_or(0));
        !bounds.allow(*size) || bounds.asks_for_count(written)
    }

    fn counted(&self, size: StoreSize) {
        let written = StoreSize::default();
        let size = Some(size);
        *self.estimate() = Estimate { size, written };
    }
}

impl DiskStore {
    /// Notes a write, and has values removed on another thread if there are too many. `replaced` is the size of the file
    /// that was there before.
    pub(crate) fn note_write(&self, len: u64, replaced: Option<u64>) {
        let bounds = self.options().bounds;
        if !bounds.limits_size() || !self.usage().add(&bounds, len, replaced) {
            return;
        }
        if self.usage().counting.swap(true, Ordering::AcqRel) {
            return;
        }
        let counting = Counting(self.clone());
        offload_detached(move || {
            let store = &counting.0;
            // Writes during a count are noted before it ends, and forgotten with it: the next ones lead to another.
            if let Err(error) = store.evict() {
                tracing::debug!(dir = %Shown(store.dir()), error = %why(&error), "the store's bounds were not kept");
            }
        });
    }

    /// Notes that a value was used, if the store has to know which are. Returns the file's stamp after that.
    pub(crate) fn note_use(&self, file: &File, path: &Path, metadata: &Metadata) -> Option<Stamp> {
        let stamp = Stamp::of(metadata);
        // Not allowed for another user's file, nor on a disk that can't be written: it goes sooner than it might.
        if self.is_use_noted(metadata) || self.fs().mark_used(file, path, self.now()).is_err() {
            return stamp;
        }
        let after = file.metadata().ok().as_ref().and_then(Stamp::of);
        if let (Some(stamp), Some(after)) = (stamp, after)
            && self.verified().contains(&stamp)
        {
            self.verified().insert(after);
        }
        after
    }

    /// Whether a use of a value need not be noted: because the store does not have to know, or because the file tells of
    /// one a moment ago.
    pub(crate) fn is_use_noted(&self, metadata: &Metadata) -> bool {
        if !self.options().bounds.limits_size() {
            return true;
        }
        let now = self.now();
        now.duration_since(last_use(metadata, now))
            .map_or(true, |since| since < USE_STEP)
    }

    /// Removes the values that are too old, and those that were not used for the longest time, if there are too many.
    pub(crate) fn evict(&self) -> io::Result<Evicted> {
        let bounds = self.options().bounds;
        let mut evicted = Evicted::default();
        if bounds == Bounds::default() {
            return Ok(evicted);
        }
        let mut size = self.remove_expired(&mut evicted)?;
        let now = self.now();
        let kept = bounds.kept();
        while !bounds.allow(size) {
            let mut has_changed = false;
            let candidates;
            (size, candidates) = self.least_used(now)?;
            // Another process may have been at it.
            if bounds.allow(size) {
                break;
            }
            for candidate in candidates {
                if kept.allow(size) {
                    break;
                }
                let is_unused = |metadata: &Metadata| last_use(metadata, now) == candidate.used;
                match self.remove_if_unchanged(&candidate.path, is_unused) {
                    Removal::Removed => {
                        evicted.evicted += 1;
                        evicted.bytes += candidate.len;
                    }
                    // Another process' work makes room as well.
                    Removal::Gone => {}
                    Removal::Stays => continue,
                }
                size.values = size.values.saturating_sub(1);
                size.bytes = size.bytes.saturating_sub(candidate.len);
                has_changed = true;
            }
            if !has_changed {
                break;
            }
        }
        self.usage().counted(size);
        let removed = evicted.evicted + evicted.expired;
        if removed > 0 {
            Counters::add(&self.counters().evicted, removed);
            tracing::debug!(
                dir = %Shown(self.dir()),
                expired = evicted.expired, evicted = evicted.evicted, bytes = evicted.bytes,
                "removed values"
            );
        }
        Ok(evicted)
    }

    /// Removes the values that are too old, and counts the others.
    fn remove_expired(&self, evicted: &mut Evicted) -> io::Result<StoreSize> {
        let bounds = self.options().bounds;
        let now = self.now();
        let mut size = StoreSize::default();
        for listed in self.files()? {
            let Listed {
                path,
                len,
                metadata,
                ..
            } = listed?;
            let has_expired =
                |metadata: &Metadata| bounds.has_expired(metadata.modified().ok(), now);
            let removal = match has_expired(&metadata) {
                true => self.remove_if_unchanged(&path, has_expired),
                false => Removal::Stays,
            };
            match removal {
                Removal::Removed => {
                    evicted.expired += 1;
                    evicted.bytes += len;
                }
                Removal::Gone => {}
                Removal::Stays => {
                    size.values += 1;
                    size.bytes += len;
                }
            }
        }
        Ok(size)
    }

    /// The size of all values, and those that were not used for the longest time, those first.
    fn least_used(&self, now: SystemTime) -> io::Result<(StoreSize, Vec<Candidate>)> {
        let mut size = StoreSize::default();
        let mut latest_first = BinaryHeap::with_capacity(CANDIDATES.min(1024));
        for listed in self.files()? {
            let Listed {
                path,
                len,
                metadata,
                ..
            } = listed?;
            size.values += 1;
            size.bytes += len;
            let used = last_use(&metadata, now);
            latest_first.push(Candidate { used, path, len });
            if latest_first.len() > CANDIDATES {
                latest_first.pop();
            }
        }
        Ok((size, latest_first.into_sorted_vec()))
    }

    /// Removes a value that is still as it was when it was chosen. A value that takes its place in the very moment goes
    /// instead, which a cache may do.
    pub(crate) fn remove_if_unchanged(
        &self,
        path: &Path,
        is_unchanged: impl FnOnce(&Metadata) -> bool,
    ) -> Removal {
        match self.fs().stat(path) {
            Ok(Some(metadata)) if is_unchanged(&metadata) => {}
            Ok(None) => return Removal::Gone,
            _ => return Removal::Stays,
        }
        match self.fs().remove(path) {
            Ok(()) => {
                self.note_removed(path);
                Removal::Removed
            }
            Err(error) if is_absence(&error) => Removal::Gone,
            Err(error) => {
                tracing::debug!(path = %Shown(path), error = %why(&error), "value not removed");
                Removal::Stays
            }
        }
    }
}

/// When a value was used last: read, as far as that was noted, or written. A time that is ahead was noted before the clock
/// was set back, and tells nothing: such a value would outlast all that are used now.
fn last_use(metadata: &Metadata, now: SystemTime) -> SystemTime {
    let latest = now.checked_add(USE_STEP).unwrap_or(now);
    [metadata.modified(), metadata.accessed()]
        .into_iter()
        .filter_map(Result::ok)
        .filter(|time| *time <= latest)
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
