//! What the services of a layer share, and what they do with the store.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::clock::Clock;
use discovery_core::flight::{Flights, Follow};
use discovery_core::key::Origin;
use discovery_core::store::{Op, Store, Value};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, request};
use tracing::{debug, warn};

use crate::extend::{Cacheable, Marker, RequestKey};
use crate::handle::Counters;
use crate::memo::{Entry, Memo};

use crate::policy::directives::RequestDirectives;
use crate::policy::request::{Purpose, may_share, purpose};
use crate::policy::{Rules, status};

/// What a layer is told. Services have a copy.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) key: Arc<dyn RequestKey>,
    pub(crate) cacheable: Option<Arc<dyn Cacheable>>,
    pub(crate) marker: Option<Arc<dyn Marker>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: Option<Origin>,
    pub(crate) rules: Rules,
    pub(crate) posts: bool,
    pub(crate) max_entry_size: u64,
    pub(crate) memo_size: usize,
}

/// What all services of a layer and of its clones share, but for the store.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) counters: Counters,
    pub(crate) flights: Flights<Arc<str>>,
    /// How many wait for each flight.
    waiting: Mutex<HashMap<Arc<str>, usize>>,
    /// How many entries with variants there were.
    families: AtomicU64,
    /// How many flights have landed: whoever saw this change while looking has to look again.
    landings: AtomicU64,
    /// Whether there has been a warning of requests without an origin, and of the store.
    warned: AtomicBool,
    warned_of_store: AtomicBool,
}

pub(crate) struct Cache {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) state: Arc<State>,
    pub(crate) memo: Arc<Memo>,
    pub(crate) config: Config,
}

/// What becomes of a request.
pub(crate) enum Route {
    /// Straight to the inner service.
    Pass {
        /// A key to remove before.
        remove: Option<String>,
        /// The target, if an answer that is no error invalidates it.
        invalidate: Option<Uri>,
        /// Whether its answer may be one that is stored for GET.
        stores: bool,
    },
    /// To the store, first.
    Lookup(Ask),
}

/// A request, as the cache sees it.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Where to look, and where to store.
    pub(crate) key: String,
    /// The method whose answers are there. HEAD is answered from what GET got, too.
    pub(crate) kept: Method,
    /// Where to look next, if nothing is there.
    pub(crate) fallback: Option<String>,
    /// The key of the first variant, if `key` is that of another.
    pub(crate) first: Option<String>,
    pub(crate) directives: RequestDirectives,
    /// Whether it may wait for the answer to another.
    pub(crate) shares: bool,
}

/// A stored response that was found.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) entry: Arc<Entry>,
    pub(crate) body: Bytes,
}

/// A follower's place: counted, so that the leader knows that somebody waits.
pub(crate) struct Waiting {
    pub(crate) follow: Follow<Arc<str>>,
    state: Arc<State>,
    key: Arc<str>,
}

impl Cache {
    pub(crate) fn now(&self) -> SystemTime {
        self.config.clock.now()
    }

    /// Decides what becomes of a request, and counts those that the cache leaves alone.
    pub(crate) fn route(&self, request: &request::Parts) -> Route {
        let mut route = Route::Pass {
            remove: None,
            invalidate: None,
            stores: false,
        };
        let why = self.purpose(request, &mut route);
        if let (Route::Pass { .. }, Some(why)) = (&route, why) {
            self.state.counters.bypassed.add();
            debug!(method = %request.method, uri = %request.uri, decision = "bypass", reason = why);
        }
        route
    }

    /// Sets the route, and says why the cache leaves the request alone, if it does.
    fn purpose(&self, request: &request::Parts, route: &mut Route) -> Option<&'static str> {
        let cacheable = self.config.cacheable.as_deref();
        if cacheable.is_some_and(|policy| !policy.is_cacheable(request)) {
            return Some("policy");
        }
        let purpose = purpose(request, self.config.rules);
        let absolute;
        let uri = if request.uri.authority().is_some() {
            &request.uri
        } else if let Some(uri) = self.absolute(&request.uri) {
            absolute = uri;
            &absolute
        } else {
            if matches!(purpose, Purpose::Lookup(_)) {
                self.warn_of_relative_uris(&request.uri);
            }
            return Some("relative URI");
        };
        let Some(key) = self.config.key.key(&request.method, uri, &request.headers) else {
            return Some("no key");
        };

        let why = match purpose {
            Purpose::Lookup(directives) => {
                let shares = may_share(&directives, &request.headers);
                let get = if request.method == Method::HEAD && !self.config.rules.kubectl {
                    self.config.key.key(&Method::GET, uri, &request.headers)
                } else {
                    None
                };
                let (key, kept, fallback) = match get {
                    Some(get) => (get, Method::GET, Some(key)),
                    None => (key, request.method.clone(), None),
                };
                *route = Route::Lookup(Ask {
                    key,
                    kept,
                    fallback,
                    first: None,
                    directives,
                    shares,
                });
                return None;
            }
            Purpose::Unsafe => "method",
            Purpose::Pass(why) => why,
        };
        let own = match request.method {
            Method::GET | Method::HEAD => matches!(why, "range" | "request no-store"),
            _ => true,
        };
        let remove = (self.config.rules.kubectl && own).then_some(key);
        let invalidate = (purpose == Purpose::Unsafe).then(|| uri.clone());
        *route = Route::Pass {
            remove,
            invalidate,
            stores: self.config.posts && request.method == Method::POST,
        };
        Some(why)
    }

    /// The URI on the origin that the layer was given.
    fn absolute(&self, uri: &Uri) -> Option<Uri> {
        let origin = self.config.origin.as_ref()?;
        let mut parts = uri.clone().into_parts();
        parts.scheme = Some(origin.scheme().clone());
        parts.authority = Some(origin.authority().clone());
        Uri::from_parts(parts).ok()
    }

    fn warn_of_relative_uris(&self, uri: &Uri) {
        if !self.state.warned.swap(true, Ordering::Relaxed) {
            warn!(
                %uri,
                "requests with relative URIs are not cached: \
                 put the cache inside the layer that completes them, or give it an authority"
            );
        }
    }

    /// Makes sense of what the store returned. What makes none is not there.
    pub(crate) fn found(
        &self,
        key: &str,
        method: &Method,
        result: io::Result<Option<Value>>,
    ) -> Option<Found> {
        let value = match result {
            Ok(value) => value?,
            Err(error) => {
                self.store_failed(key, "read", &error);
                return None;
            }
        };
        let entry = match self.memo.find(key, method, &value) {
            Some(entry) => Ok(entry),
            None => Entry::decode(method, &value, self.config.rules).map(|entry| {
                let entry = Arc::new(entry);
                self.memo
                    .insert(key, Arc::clone(&entry), self.config.memo_size);
                entry
            }),
        };
        let found = entry.and_then(|entry| {
            let body = entry.head.body(&value)?;
            Ok(Found { entry, body })
        });
        match found {
            // Only what may be stored is reused: kubectl stores errors too.
            Ok(found) if !self.is_usable(found.entry.head.parts().status) => None,
            Ok(found) => Some(found),
            Err(error) => {
                self.state.counters.errors.add();
                warn!(key, %error, "a stored response is damaged, and counts as missing");
                None
            }
        }
    }

    fn is_usable(&self, status: StatusCode) -> bool {
        if self.config.rules.kubectl {
            status == StatusCode::OK
        } else {
            status::is_whole(status)
        }
    }

    /// A name that no family of variants has had, here or in another process.
    pub(crate) fn new_family(&self) -> HeaderValue {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        let number = self.state.families.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        HeaderValue::try_from(format!("{nanos:x}-{process:x}-{number:x}")).expect("hexadecimal")
    }

    pub(crate) fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.store.remove(key).map(|removed| removed.map(drop))
    }

    /// Removes what is stored for a URI.
    pub(crate) fn invalidate(&self, uri: &Uri, headers: &HeaderMap) -> Vec<Op<io::Result<()>>> {
        [Method::GET, Method::HEAD]
            .iter()
            .filter_map(|method| self.config.key.key(method, uri, headers))
            .map(|key| {
                debug!(key, decision = "invalidate");
                self.remove(&key)
            })
            .collect()
    }

    pub(crate) fn stored(&self, key: &str) {
        self.state.counters.stores.add();
        debug!(key, decision = "stored");
    }

    pub(crate) fn store_failed(&self, key: &str, what: &str, error: &io::Error) {
        self.state.counters.errors.add();
        if self.state.warned_of_store.swap(true, Ordering::Relaxed) {
            debug!(key, %error, "the cache's store failed to {what}");
        } else {
            warn!(key, %error, "the cache's store failed to {what}; more of this is not told");
        }
    }
}

impl State {
    /// How many flights have landed so far.
    pub(crate) fn landings(&self) -> u64 {
        self.landings.load(Ordering::Acquire)
    }

    /// To be called before a flight lands, with its result in the store.
    pub(crate) fn count_landing(&self) {
        self.landings.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn is_awaited(&self, key: &str) -> bool {
        self.waiting().contains_key(key)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub(crate) fn new(follow: Follow<Arc<str>>, state: Arc<State>, key: Arc<str>) -> Self {
        *state.waiting().entry(Arc::clone(&key)).or_default() += 1;
        Self { follow, state, key }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.state.waiting();
        if let Some(count) = waiting.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}
