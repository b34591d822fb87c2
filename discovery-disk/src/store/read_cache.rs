//! Values in memory, beside their files.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::fs::Stamp;

/// The cost of a value beside its bytes.
const OVERHEAD: u64 = 192;

/// No value may take more than this part of the budget.
const LARGEST_SHARE: u64 = 4;

/// The values that were read or written last, each with the state of its file.
pub(crate) struct ReadCache {
    values: Cache<Box<str>, (Stamp, Bytes), Bytewise>,
    largest: u64,
}

#[derive(Clone)]
struct Bytewise;

impl ReadCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let values = usize::try_from(bytes / 8192).unwrap_or(usize::MAX);
        Self {
            values: Cache::with_weighter(values.clamp(32, 65_536), bytes, Bytewise),
            largest: bytes / LARGEST_SHARE,
        }
    }

    /// The value of a file that is in this state.
    pub(crate) fn get(&self, key: &str, stamp: impl FnOnce() -> Option<Stamp>) -> Option<Bytes> {
        let (known, value) = self.values.get(key)?;
        if stamp() == Some(known) {
            return Some(value);
        }
        self.values.remove(key);
        None
    }

    pub(crate) fn insert(&self, key: &str, stamp: Stamp, value: &Bytes) {
        if value.len() as u64 <= self.largest {
            self.values.insert(key.into(), (stamp, value.clone()));
        }
    }
}

impl Weighter<Box<str>, (Stamp, Bytes)> for Bytewise {
    fn weight(&self, key: &Box<str>, (_, value): &(Stamp, Bytes)) -> u64 {
        OVERHEAD + (key.len() + value.len()) as u64
    }
}
