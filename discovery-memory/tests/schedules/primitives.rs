//! Locks that decide who goes on.

use std::sync::Arc;

pub(crate) use shuttle::sync::atomic::AtomicBool;
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// A pointer that is read and replaced in one step each.
#[derive(Default)]
pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(crate) fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap())
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        *self.0.lock().unwrap() = value;
    }
}
