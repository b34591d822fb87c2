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
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version, header, request};
use tracing::{debug, warn};

use crate::body::Body;
use crate::extend::{Cacheable, Marker, Outcome, RequestKey};
use crate::handle::Counters;
use crate::memo::{Entry, Memo};
use crate::policy::Rules;
use crate::policy::directives::RequestDirectives;
use crate::policy::request::{Purpose, may_share, purpose};

/// What a layer is told. Services have a copy.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) key: Arc<dyn RequestKey>,
    pub(crate) cacheable: Option<Arc<dyn Cacheable>>,
    pub(crate) marker: Option<Arc<dyn Marker>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: Option<Origin>,
    pub(crate) rules: Rules,
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
    /// How many flights have landed: whoever saw this change while looking has to look again.
    landings: AtomicU64,
    warned: AtomicBool,
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
    },
    /// To the store, first.
    Lookup(Ask),
}

/// A request, as the cache sees it.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) key: String,
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
        let purpose = purpose(request);
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
                let shares = may_share(&directives);
                *route = Route::Lookup(Ask {
                    key,
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
        let remove = (self.config.rules.remove_own_key && own).then_some(key);
        let invalidate = (purpose == Purpose::Unsafe).then(|| uri.clone());
        *route = Route::Pass { remove, invalidate };
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
            Ok(found) if found.entry.head.parts().status != StatusCode::OK => None,
            Ok(found) => Some(found),
            Err(error) => {
                self.state.counters.errors.add();
                warn!(key, %error, "a stored response is damaged, and counts as missing");
                None
            }
        }
    }

    /// The stored response as an answer, with these headers.
    pub(crate) fn serve<B: http_body::Body>(
        &self,
        found: Found,
        mut headers: HeaderMap,
        age: Option<u64>,
        outcome: Outcome,
    ) -> Response<Body<B>> {
        if let (true, Some(age)) = (self.config.rules.ages, age) {
            headers.insert(header::AGE, age.into());
        }
        self.mark(outcome, &mut headers);
        let parts = found.entry.head.parts();
        let mut response = Response::new(Body::stored(found.body));
        *response.status_mut() = parts.status;
        *response.version_mut() = parts.version;
        *response.headers_mut() = headers;
        response
    }

    /// Serves a stored response that the server has not been asked about.
    pub(crate) fn serve_unasked<B: http_body::Body>(
        &self,
        found: Found,
        now: SystemTime,
        outcome: Outcome,
    ) -> Response<Body<B>> {
        self.state.counters.hits.add();
        let stored = &found.entry.stored;
        let age = stored.freshness.age(now).as_secs();
        let mut headers = found.entry.headers.clone();
        // Fields that may only be reused after validation (RFC 9111 §5.2.2.4).
        for name in &stored.directives.no_cache_fields {
            headers.remove(name);
        }
        self.serve(found, headers, Some(age), outcome)
    }

    pub(crate) fn mark(&self, outcome: Outcome, headers: &mut HeaderMap) {
        if let Some(marker) = &self.config.marker {
            marker.mark(outcome, headers);
        }
    }

    /// The answer to `only-if-cached` without an entry to use (RFC 9111 §5.2.1.7).
    pub(crate) fn unavailable<B: http_body::Body>() -> Response<Body<B>> {
        let mut response = Response::new(Body::stored(Bytes::new()));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        *response.version_mut() = Version::HTTP_11;
        response
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
        warn!(key, %error, "the cache's store failed to {what}");
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
