//! Parts that only the crates of this workspace share. No promise is made about them.

pub mod entry_writer;
pub mod lossy_set;
pub mod reserved;
pub mod tee;

use std::sync::atomic::{AtomicBool, Ordering};

/// Decides whether a warning is given: at its first occasion, and not again.
#[derive(Debug, Default)]
pub struct WarnOnce {
    given: AtomicBool,
}

impl WarnOnce {
    /// Whether this is the first call.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.given.swap(true, Ordering::Relaxed)
    }
}
