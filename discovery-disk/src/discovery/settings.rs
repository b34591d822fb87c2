//! The settings of a layer.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use discovery_core::engine::Options;
use discovery_core::sync::clock::{Clock, SystemClock};

/// The time to live of kubectl's files.
const TTL: Duration = Duration::from_secs(6 * 60 * 60);

/// How long another process' discovery is waited for, unless set.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct DiskSettings {
    pub(super) options: Options,
    pub(super) dir: Option<PathBuf>,
    pub(super) ttl: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) single_lists: bool,
    pub(super) trust_any_owner: bool,
    pub(super) keep_last_good: bool,
    pub(super) stale_while_revalidate: Duration,
    pub(super) negative_ttl: Duration,
    /// The place of what kubectl does not have.
    pub(super) state_dir: Option<PathBuf>,
    pub(super) max_lock_wait: Duration,
    #[cfg(feature = "testing")]
    pub(super) faults: Option<crate::store::faults::Hook>,
}

impl DiskSettings {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        Self {
            options: Options::new(),
            dir,
            ttl: TTL,
            clock: Arc::new(SystemClock),
            single_lists: false,
            trust_any_owner: false,
            keep_last_good: false,
            stale_while_revalidate: Duration::ZERO,
            negative_ttl: Duration::ZERO,
            state_dir: None,
            max_lock_wait: MAX_LOCK_WAIT,
            #[cfg(feature = "testing")]
            faults: None,
        }
    }
}

impl fmt::Debug for DiskSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskSettings")
            .field("options", &self.options)
            .field("dir", &self.dir)
            .field("ttl", &self.ttl)
            .field("single_lists", &self.single_lists)
            .field("trust_any_owner", &self.trust_any_owner)
            .field("keep_last_good", &self.keep_last_good)
            .field("stale_while_revalidate", &self.stale_while_revalidate)
            .field("negative_ttl", &self.negative_ttl)
            .field("state_dir", &self.state_dir)
            .field("max_lock_wait", &self.max_lock_wait)
            .finish_non_exhaustive()
    }
}
