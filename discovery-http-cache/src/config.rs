//! What a layer is told, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use discovery_core::clock::{Clock, SystemClock};
use hyper::rt::Timer;

use crate::extend::{
    Cacheable, KubectlKey, Lifetime, OnlyDiscovery, RequestKey, ResponseUri, UriKey,
};
use crate::mark::{FromCache, Marker};
use crate::policy::Rules;
use crate::policy::request::TargetOrigin;

const MAX_ENTRY_SIZE: u64 = 64 * 1024 * 1024;
const MEMO_SIZE: usize = 8 * 1024 * 1024;

/// What a layer was told, in whatever order: `None` where it is for the preset to say.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) kubectl: bool,
    pub(crate) key: Option<Arc<dyn RequestKey>>,
    pub(crate) cacheable: Option<Arc<dyn Cacheable>>,
    pub(crate) lifetime: Option<Arc<dyn Lifetime>>,
    pub(crate) marker: Option<Arc<dyn Marker>>,
    pub(crate) response_uri: Option<Arc<dyn ResponseUri>>,
    pub(crate) lenient_dates: Option<bool>,
    pub(crate) heuristic: Option<Duration>,
    pub(crate) stale_if_disconnected: bool,
    pub(crate) keep_on_error: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: TargetOrigin,
    pub(crate) posts: bool,
    pub(crate) max_entry_size: u64,
    pub(crate) memo_size: usize,
    pub(crate) patience: Option<Patience>,
}

/// What a service does.
pub(crate) struct Config {
    pub(crate) key: Arc<dyn RequestKey>,
    pub(crate) cacheable: Option<Arc<dyn Cacheable>>,
    pub(crate) lifetime: Option<Arc<dyn Lifetime>>,
    pub(crate) marker: Option<Arc<dyn Marker>>,
    pub(crate) response_uri: Option<Arc<dyn ResponseUri>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: TargetOrigin,
    pub(crate) rules: Rules,
    pub(crate) posts: bool,
    pub(crate) max_entry_size: u64,
    pub(crate) memo_size: usize,
    pub(crate) patience: Option<Patience>,
}

/// How long a request waits for another.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) timer: Arc<dyn Timer + Send + Sync>,
    pub(crate) limit: Duration,
}

/// What goes where nothing was said.
struct Preset {
    key: Arc<dyn RequestKey>,
    cacheable: Option<Arc<dyn Cacheable>>,
    marker: Option<Arc<dyn Marker>>,
    rules: Rules,
}

impl Settings {
    pub(crate) fn config(&self) -> Config {
        let preset = if self.kubectl {
            Preset {
                key: Arc::new(KubectlKey),
                cacheable: Some(Arc::new(OnlyDiscovery)),
                marker: Some(Arc::new(FromCache)),
                rules: Rules::KUBECTL,
            }
        } else {
            Preset {
                key: Arc::new(UriKey),
                cacheable: None,
                marker: None,
                rules: Rules::STRICT,
            }
        };
        let rules = preset.rules;
        Config {
            key: self.key.clone().unwrap_or(preset.key),
            cacheable: self.cacheable.clone().or(preset.cacheable),
            lifetime: self.lifetime.clone(),
            marker: self.marker.clone().or(preset.marker),
            response_uri: self.response_uri.clone(),
            clock: Arc::clone(&self.clock),
            origin: self.origin.clone(),
            rules: Rules {
                lenient_dates: self.lenient_dates.unwrap_or(rules.lenient_dates),
                heuristic: self.heuristic.unwrap_or(rules.heuristic),
                stale_if_disconnected: self.stale_if_disconnected,
                keep_on_error: self.keep_on_error,
                ..rules
            },
            posts: self.posts,
            max_entry_size: self.max_entry_size,
            memo_size: self.memo_size,
            patience: self.patience.clone(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kubectl: false,
            key: None,
            cacheable: None,
            lifetime: None,
            marker: None,
            response_uri: None,
            lenient_dates: None,
            heuristic: None,
            stale_if_disconnected: false,
            keep_on_error: false,
            clock: Arc::new(SystemClock),
            origin: TargetOrigin::default(),
            posts: false,
            max_entry_size: MAX_ENTRY_SIZE,
            memo_size: MEMO_SIZE,
            patience: None,
        }
    }
}
