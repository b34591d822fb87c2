//! The settings of a layer.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use discovery_core::engine::Options;
use discovery_core::sync::clock::{Clock, SystemClock};

/// The time to live of kubectl's files.
const TTL: Duration = Duration::from_secs(6 * 60 * 60);

#[derive(Clone)]
pub(super) struct DiskSettings {
    pub(super) options: Options,
    pub(super) dir: Option<PathBuf>,
    pub(super) ttl: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) single_lists: bool,
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
            .finish_non_exhaustive()
    }
}
