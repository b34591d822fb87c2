//! What the services of a layer share, and what they do with the store.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::key;
use discovery_core::store::{Op, Store, Value};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, request, response};
use tracing::{debug, warn};

use crate::alone::Alone;
use crate::config::Config;
use crate::crowd::Crowds;
use crate::epoch::{Epoch, Epochs};
use crate::handle::Counters;
use crate::mark::{Forward, Outcome, Report};
use crate::memo::{Entry, Memo};
use crate::policy::cache_control::{RequestDirectives, ResponseDirectives};
use crate::policy::request::{
    Bypass, Purpose, RequestConstraints, possible_targets, purpose, target_uri,
};
use crate::policy::reuse::StoredMeta;
use crate::policy::storage;
use crate::policy::variants::base_of;
use crate::redact::{Redacted, RedactedError};

/// What all services of a layer and of its clones share, but for the store.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) counters: Counters,
    pub(crate) crowds: Arc<Crowds>,
    pub(crate) epochs: Epochs,
    pub(crate) alone: Alone,
    /// What no other process has in the names of its families of variants, as long as none was forked off.
    process: OnceLock<String>,
    warned_of_relative_uris: Once,
    warned_of_store: Once,
    warned_of_damage: Once,
}

/// What is told once.
#[derive(Default)]
struct Once(AtomicBool);

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
        /// The target, if an answer that is no error invalidates it, in all forms that it may have.
        invalidate: Vec<Uri>,
        /// Whether its answer may be one that is stored for GET.
        stores: bool,
        why: Bypass,
    },
    /// To the store, first.
    Lookup(Ask),
}

/// A request, as the cache sees it.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The request's URI, where it has to be known whether the answer came from there.
    pub(crate) target: Option<Box<Uri>>,
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
    /// Whether it has conditions or ranges, which a stored response has to be narrowed to.
    pub(crate) is_selective: bool,
    /// Why the server is asked, if it is.
    pub(crate) forward: Forward,
}

/// A stored response that was found.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) entry: Arc<Entry>,
    pub(crate) body: Bytes,
}

impl Cache {
    pub(crate) fn now(&self) -> SystemTime {
        self.config.clock.now()
    }

    /// Decides what becomes of a request, and counts those that the cache leaves alone.
    pub(crate) fn route(&self, request: &request::Parts) -> Route {
        let route = self.purpose(request);
        if let Route::Pass { why, .. } = &route {
            self.state.counters.bypassed.add();
            debug!(
                method = %request.method,
                uri = %Redacted::new(&request.uri.to_string()),
                decision = "bypass",
                reason = why.as_str()
            );
        }
        route
    }

    fn purpose(&self, request: &request::Parts) -> Route {
        let pass = |why| Route::Pass {
            remove: None,
            invalidate: Vec::new(),
            stores: false,
            why,
        };
        let purpose = purpose(request, self.config.rules);
        let cacheable = self.config.cacheable.as_deref();
        // Unsafe requests invalidate what the cache has, whether it may look at them or not.
        if purpose != Purpose::Unsafe
            && cacheable.is_some_and(|policy| !policy.is_cacheable(request))
        {
            return pass(Bypass::Policy);
        }
        let origin = &self.config.origin;
        let uri = match target_uri(&request.uri, &request.headers, origin) {
            Ok(uri) => uri,
            Err(why) => {
                if why == Bypass::RelativeUri && matches!(purpose, Purpose::Lookup(_)) {
                    self.warn_of_relative_uris(&request.uri);
                }
                let mut route = pass(why);
                if let (Purpose::Unsafe, Route::Pass { invalidate, .. }) = (purpose, &mut route) {
                    *invalidate = possible_targets(&request.uri, &request.headers, origin);
                }
                return route;
            }
        };
        let uri = &*uri;
        if key::port(uri).is_err() {
            return pass(Bypass::NoKey);
        }
        let key = self.config.key.key(&request.method, uri, &request.headers);

        let (why, key) = match (purpose, key) {
            (Purpose::Lookup(constraints), Some(key)) => {
                return Route::Lookup(self.ask(request, uri, key, constraints));
            }
            (Purpose::Lookup(_), None) => return pass(Bypass::NoKey),
            (Purpose::Unsafe, key) => {
                let posts = self.config.posts && request.method == Method::POST;
                return Route::Pass {
                    remove: key.filter(|_| self.config.rules.kubectl),
                    invalidate: vec![uri.clone()],
                    // RFC 9111 §5.2.1.5.
                    stores: posts && !RequestDirectives::parse(&request.headers).no_store,
                    why: Bypass::Method,
                };
            }
            (Purpose::Pass(why), key) => (why, key),
        };
        let own = match request.method {
            Method::GET | Method::HEAD => matches!(why, Bypass::Range | Bypass::NoStore),
            _ => true,
        };
        Route::Pass {
            remove: key.filter(|_| self.config.rules.kubectl && own),
            invalidate: Vec::new(),
            stores: false,
            why,
        }
    }

    fn ask(
        &self,
        request: &request::Parts,
        uri: &Uri,
        key: String,
        constraints: RequestConstraints,
    ) -> Ask {
        let get = if request.method == Method::HEAD && !self.config.rules.kubectl {
            self.config.key.key(&Method::GET, uri, &request.headers)
        } else {
            None
        };
        let (key, kept, fallback) = match get {
            Some(get) => (get, Method::GET, Some(key)),
            None => (key, request.method.clone(), None),
        };
        Ask {
            target: self
                .config
                .response_uri
                .is_some()
                .then(|| Box::new(uri.clone())),
            key,
            kept,
            fallback,
            first: None,
            shares: constraints.may_share(),
            is_selective: constraints.is_selective,
            directives: constraints.directives,
            forward: Forward::UriMiss,
        }
    }

    fn warn_of_relative_uris(&self, uri: &Uri) {
        if self.state.warned_of_relative_uris.is_first() {
            warn!(
                path = %Redacted::new(uri.path()),
                "requests with relative URIs are not cached: \
                 put the cache inside the layer that completes them, or give it an authority"
            );
        }
    }

    /// What the head of a response means that says `directives`.
    pub(crate) fn understand(
        &self,
        key: &str,
        parts: &response::Parts,
        directives: ResponseDirectives,
        now: SystemTime,
    ) -> StoredMeta {
        let rules = self.config.rules;
        let mut stored = StoredMeta::of(parts.status, &parts.headers, directives, rules, now);
        if let Some(policy) = &self.config.lifetime {
            let said = stored.freshness.lifetime();
            // The keys of other variants begin with that of the first.
            let lifetime = policy.lifetime(base_of(key), parts, said);
            stored.freshness = stored.freshness.with_lifetime(lifetime);
        }
        stored
    }

    /// Whether a response came from the URI of the request.
    pub(crate) fn is_from_target(
        &self,
        ask: &Ask,
        response: &response::Parts,
    ) -> Result<(), storage::Refusal> {
        match (&ask.target, &self.config.response_uri) {
            (Some(target), Some(policy)) => {
                storage::is_from_target(target, policy.response_uri(response).as_ref())
            }
            _ => Ok(()),
        }
    }

    /// Makes sense of what the store returned. What makes none is not there.
    pub(crate) fn found(
        &self,
        key: &str,
        method: &Method,
        result: io::Result<Option<Value>>,
        now: SystemTime,
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
            None => {
                let understand = |parts: &response::Parts, directives| {
                    self.understand(key, parts, directives, now)
                };
                let entry = Entry::decode(method, &value, self.config.rules, understand);
                entry.map(|entry| {
                    let entry = Arc::new(entry);
                    self.memo
                        .insert(key, Arc::clone(&entry), self.config.memo_size);
                    entry
                })
            }
        };
        let found = entry.and_then(|entry| {
            let body = entry.head.body(value)?;
            Ok(Found { entry, body })
        });
        match found {
            Ok(found) => Some(found).filter(|found| found.entry.is_usable),
            Err(error) => {
                self.state.counters.errors.add();
                let key = Redacted::new(key);
                if self.state.warned_of_damage.is_first() {
                    warn!(
                        %key, %error,
                        "a damaged entry is treated as missing; further cases are logged at DEBUG"
                    );
                } else {
                    debug!(%key, %error, "a damaged entry is treated as missing");
                }
                None
            }
        }
    }

    /// A name that no family of variants has had, here or in another process.
    pub(crate) fn new_family(&self) -> HeaderValue {
        static FAMILIES: AtomicU64 = AtomicU64::new(0);
        let process = self.state.process.get_or_init(|| {
            let since = self.now().duration_since(SystemTime::UNIX_EPOCH);
            let nanos = since.unwrap_or_default().as_nanos();
            format!("{nanos:x}-{:x}", std::process::id())
        });
        let number = FAMILIES.fetch_add(1, Ordering::Relaxed);
        let number = HeaderValue::from(number);
        let name = [process.as_bytes(), b"-", number.as_bytes()].concat();
        HeaderValue::try_from(name).expect("letters and digits")
    }

    pub(crate) fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let state = Arc::clone(&self.state);
        self.store.remove(key).map(move |removed| {
            removed.map(|was_there| {
                if was_there {
                    state.counters.removals.add();
                }
            })
        })
    }

    /// Stores what was asked for in `epoch`, unless that has ended: then it may be older than what
    /// has ended it.
    pub(crate) fn put(
        self: &Arc<Self>,
        key: String,
        value: Value,
        epoch: Epoch,
    ) -> Op<io::Result<()>> {
        if !epoch.is_now() {
            return Op::Ready(Ok(()));
        }
        let cache = Arc::clone(self);
        match self.store.put(&key, value) {
            Op::Ready(result) => {
                let stored = result.map(|()| cache.stored(&key, &epoch));
                stored.unwrap_or_else(|error| Op::Ready(Err(error)))
            }
            Op::Wait(put) => Op::wait(async move {
                put.await?;
                cache.stored(&key, &epoch).await
            }),
        }
    }

    /// What has been stored goes again if the epoch has ended meanwhile:
    /// whoever ended it may have removed the entry too early.
    fn stored(&self, key: &str, epoch: &Epoch) -> Op<io::Result<()>> {
        if !epoch.is_now() {
            debug!(key = %Redacted::new(key), decision = "removed", reason = "invalidated");
            return self.remove(key);
        }
        self.count_stored(key);
        Op::Ready(Ok(()))
    }

    pub(crate) fn count_stored(&self, key: &str) {
        self.state.counters.stores.add();
        self.state.alone.remove(key);
        debug!(key = %Redacted::new(key), decision = "stored");
    }

    /// Removes what is stored for a URI, and keeps what is on its way from being stored.
    pub(crate) fn invalidate(&self, uri: &Uri, headers: &HeaderMap) -> Vec<Op<io::Result<()>>> {
        [Method::GET, Method::HEAD]
            .iter()
            .filter_map(|method| self.config.key.key(method, uri, headers))
            .map(|key| {
                debug!(key = %Redacted::new(&key), decision = "invalidate");
                self.state.epochs.end(&key);
                self.remove(&key)
            })
            .collect()
    }

    pub(crate) fn store_failed(&self, key: &str, what: &str, error: &io::Error) {
        self.state.counters.errors.add();
        let error = RedactedError::new(error, key);
        let key = Redacted::new(key);
        if self.state.warned_of_store.is_first() {
            warn!(
                %key, %error,
                "the cache's store failed to {what}; further cases are logged at DEBUG"
            );
        } else {
            debug!(%key, %error, "the cache's store failed to {what}");
        }
    }

    /// Marks the answer to a request that the cache leaves alone.
    pub(crate) fn mark_passed(&self, why: Bypass, status: StatusCode, headers: &mut HeaderMap) {
        // What comes after it is no HTTP.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let forward = match why {
            Bypass::Method => Forward::Method,
            _ => Forward::Bypass,
        };
        if let Some(marker) = &self.config.marker {
            let report = Report::new(Outcome::Bypass, Some(forward), why.as_str());
            marker.mark(&report, headers);
        }
    }
}

impl Once {
    fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}
