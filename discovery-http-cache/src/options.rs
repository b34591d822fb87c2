//! The options of a layer, and the configuration of a service that follows from them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use discovery_core::sync::clock::{Clock, SystemClock};
use hyper::rt::{Executor, Sleep, Timer};

use crate::cache_status::{FromCache, ResponseMarker};
use crate::extend::{
    Cacheable, CustomKey, KubectlKey, Lifetime, OnlyDiscovery, RequestKey, ResponseUri, UriKey,
};
use crate::policy::Rules;
use crate::policy::request::TargetOrigin;
use crate::policy::variants::MAX_VARIANTS;

const MAX_BODY_SIZE: u64 = 64 * 1024 * 1024;
const MAX_HEAD_CACHE_SIZE: usize = 8 * 1024 * 1024;

/// How long requests wait, if there is a timer, unless the layer is told otherwise.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The options of a layer, in whatever order they were set. `None` leaves an option to the preset.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) kubectl: bool,
    pub(crate) key: Option<Arc<dyn RequestKey>>,
    pub(crate) cacheable: Option<Arc<dyn Cacheable>>,
    pub(crate) lifetime: Option<Arc<dyn Lifetime>>,
    pub(crate) marker: Option<Arc<dyn ResponseMarker>>,
    pub(crate) response_uri: Option<Arc<dyn ResponseUri>>,
    pub(crate) latest_of: Option<LatestOf>,
    pub(crate) lenient_dates: Option<bool>,
    pub(crate) heuristic: Option<Duration>,
    pub(crate) stale_if_disconnected: bool,
    pub(crate) keep_on_error: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: TargetOrigin,
    pub(crate) posts: bool,
    pub(crate) max_body_size: u64,
    pub(crate) max_head_cache_size: usize,
    pub(crate) max_variants: usize,
    pub(crate) executor: Option<Background>,
    pub(crate) timer: Option<Arc<dyn Timer + Send + Sync>>,
    pub(crate) max_wait: Duration,
    pub(crate) evictions: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
}

/// The configuration of a service.
pub(crate) struct Config {
    pub(crate) key: Arc<dyn RequestKey>,
    pub(crate) cacheable: Option<Arc<dyn Cacheable>>,
    pub(crate) lifetime: Option<Arc<dyn Lifetime>>,
    pub(crate) marker: Option<Arc<dyn ResponseMarker>>,
    pub(crate) response_uri: Option<Arc<dyn ResponseUri>>,
    pub(crate) latest_of: Option<LatestOf>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: TargetOrigin,
    pub(crate) rules: Rules,
    pub(crate) posts: bool,
    pub(crate) max_body_size: u64,
    pub(crate) max_head_cache_size: usize,
    pub(crate) max_variants: usize,
    pub(crate) executor: Option<Background>,
    pub(crate) wait_limit: Option<WaitLimit>,
    pub(crate) max_wait: Duration,
}

/// A future that an [executor](crate::HttpCacheLayer::executor) runs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tells of an entry's key what the entry is a version of.
pub(crate) type LatestOf = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// An executor of background refreshes.
pub(crate) type Background = Arc<dyn Executor<BoxFuture<()>> + Send + Sync>;

/// The time for which a request waits for anything but the server's answer to itself.
#[derive(Clone)]
pub(crate) struct WaitLimit {
    pub(crate) timer: Arc<dyn Timer + Send + Sync>,
    pub(crate) limit: Duration,
}

/// The options that were not set.
struct Preset {
    key: Arc<dyn RequestKey>,
    cacheable: Option<Arc<dyn Cacheable>>,
    marker: Option<Arc<dyn ResponseMarker>>,
    rules: Rules,
}

impl WaitLimit {
    pub(crate) fn sleep(&self) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep(self.limit)
    }
}

impl Options {
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
            key: match &self.key {
                Some(key) => Arc::new(CustomKey(Arc::clone(key))),
                None => preset.key,
            },
            cacheable: self.cacheable.clone().or(preset.cacheable),
            lifetime: self.lifetime.clone(),
            marker: self.marker.clone().or(preset.marker),
            response_uri: self.response_uri.clone(),
            latest_of: self.latest_of.clone(),
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
            max_body_size: self.max_body_size,
            max_head_cache_size: self.max_head_cache_size,
            max_variants: self.max_variants,
            executor: self.executor.clone(),
            wait_limit: self.timer.clone().map(|timer| WaitLimit {
                timer,
                limit: self.max_wait,
            }),
            max_wait: self.max_wait,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubectl: false,
            key: None,
            cacheable: None,
            lifetime: None,
            marker: None,
            response_uri: None,
            latest_of: None,
            lenient_dates: None,
            heuristic: None,
            stale_if_disconnected: false,
            keep_on_error: false,
            clock: Arc::new(SystemClock),
            origin: TargetOrigin::default(),
            posts: false,
            max_body_size: MAX_BODY_SIZE,
            max_head_cache_size: MAX_HEAD_CACHE_SIZE,
            max_variants: MAX_VARIANTS,
            executor: None,
            timer: None,
            max_wait: MAX_WAIT,
            evictions: None,
        }
    }
}
