//! The parts that the services of a layer share, and what they do with the store.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::SystemTime;

use discovery_core::http::uri::{Redacted, RedactedError};
use discovery_core::internal::WarnOnce;
use discovery_core::store::{Op, PutOptions, Store, Value};
use http::{HeaderMap, HeaderValue, Method, Uri, response};
use tracing::{debug, warn};

use crate::coalesce::Coalescer;
use crate::entry::{Cached, HeadCache, StoredResponse};
use crate::generation::{Generation, Generations, Moment};
use crate::hit_for_miss::HitForMiss;
use crate::options::{Config, WaitLimit};
use crate::policy::cache_control::ResponseDirectives;
use crate::policy::reuse::StoredMeta;
use crate::policy::variants::{VariantIndex, base_of};
use crate::stats::Counters;

/// The state that all services of a layer and of its clones share, but for the store.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) counters: Arc<Counters>,
    pub(crate) coalescer: Arc<Coalescer>,
    pub(crate) generations: Generations,
    pub(crate) hit_for_miss: HitForMiss,
    /// Lists of variants that this process has changed or read, by base key.
    pub(crate) variants: Mutex<HashMap<String, VariantIndex>>,
    /// A part of the names of families of variants that no other process has, as long as none was forked off.
    process: OnceLock<String>,
    pub(crate) relative_uris: WarnOnce,
    store_failures: WarnOnce,
    damage: WarnOnce,
}

pub(crate) struct Cache {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) state: Arc<State>,
    pub(crate) heads: Arc<HeadCache>,
    pub(crate) config: Config,
}

impl Cache {
    pub(crate) fn now(&self) -> SystemTime {
        self.config.clock.now()
    }

    /// The meaning of a response's head with these directives.
    pub(crate) fn understand(
        &self,
        key: &str,
        parts: &response::Parts,
        directives: ResponseDirectives,
        now: SystemTime,
    ) -> StoredMeta {
        let rules = self.config.rules;
        let mut meta = StoredMeta::of(parts.status, &parts.headers, directives, rules, now);
        if let Some(policy) = &self.config.lifetime {
            let said = meta.freshness.lifetime();
            // The keys of other variants begin with that of the first.
            let lifetime = policy.lifetime(base_of(key), parts, said);
            meta.freshness = meta.freshness.with_lifetime(lifetime);
        }
        meta
    }

    /// The value under a key. A store that takes too long counts as one that fails.
    pub(crate) async fn get(&self, key: &str) -> io::Result<Option<Value>> {
        self.bounded(self.store.get(key)).await
    }

    /// The result of a look since that moment. A value that may be from before an invalidation counts as missing.
    pub(crate) fn unless_late(
        &self,
        key: &str,
        found: io::Result<Option<Value>>,
        since: Moment,
    ) -> io::Result<Option<Value>> {
        if matches!(found, Ok(Some(_))) && self.state.generations.is_late(key, since) {
            return Ok(None);
        }
        found
    }

    /// Waits for an operation of the store, but not for longer than requests wait.
    pub(crate) async fn bounded<T: Unpin + 'static>(&self, op: Op<io::Result<T>>) -> io::Result<T> {
        if matches!(op, Op::Ready(_)) {
            return op.await;
        }
        match self.within_max_wait(op).await {
            Some(result) => result,
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the store takes too long",
            )),
        }
    }

    /// Waits for a future, but not for longer than requests wait, if there is a timer to tell.
    pub(crate) async fn within_max_wait<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = self.config.wait_limit.as_ref().map(WaitLimit::sleep);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Makes sense of a value that the store returned. A value that makes none counts as missing.
    pub(crate) fn decode(
        &self,
        key: &str,
        method: &Method,
        result: io::Result<Option<Value>>,
        now: SystemTime,
    ) -> Option<StoredResponse> {
        let value = match result {
            Ok(value) => value?,
            Err(error) => {
                self.store_failed(key, "read", &error);
                return None;
            }
        };
        let cached = match self.heads.find(key, method, &value) {
            Some(cached) => Ok(cached),
            None => {
                let understand = |parts: &response::Parts, directives| {
                    self.understand(key, parts, directives, now)
                };
                let cached = Cached::decode(method, &value, self.config.rules, understand);
                cached.map(|cached| {
                    let cached = Arc::new(cached);
                    let limit = self.config.max_head_cache_size;
                    self.heads.insert(key, Arc::clone(&cached), limit);
                    cached
                })
            }
        };
        match cached.and_then(|cached| cached.response(value)) {
            Ok(stored) => Some(stored).filter(|stored| stored.entry.is_usable),
            Err(error) => {
                self.state.counters.errors.add();
                let key = Redacted::new(key);
                if self.state.damage.is_first() {
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
        let number = HeaderValue::from(FAMILIES.fetch_add(1, Ordering::Relaxed));
        let name = [process.as_bytes(), b"-", number.as_bytes()].concat();
        HeaderValue::try_from(name).expect("letters and digits")
    }

    /// Removes an entry. A failure is logged.
    pub(crate) fn remove(self: &Arc<Self>, key: &str) -> Op<()> {
        self.state.counters.removals.add();
        match self.store.remove(key) {
            Op::Ready(Ok(())) => Op::Ready(()),
            op => {
                let (cache, key) = (Arc::clone(self), key.to_owned());
                Op::wait(async move {
                    if let Err(error) = cache.bounded(op).await {
                        cache.store_failed(&key, "remove", &error);
                    }
                })
            }
        }
    }

    /// Stores the answer to a request of `generation`, unless that has ended: then the answer may be older than the
    /// change that has ended it. A failure is logged. Returns whether the entry is stored.
    pub(crate) async fn put(
        self: &Arc<Self>,
        key: &str,
        value: Value,
        options: PutOptions,
        generation: &Generation,
    ) -> bool {
        if !generation.is_current() {
            return false;
        }
        let _writing = generation.begin_write();
        let result = self.bounded(self.store.put_with(key, value, options)).await;
        if let Err(error) = &result {
            self.store_failed(key, "write", error);
            // A write that took too long may still happen.
            if generation.is_current() {
                return false;
            }
        }
        // The invalidation may have come too early to remove this.
        if !generation.is_current() {
            debug!(key = %Redacted::new(key), decision = "removed", reason = "invalidated");
            self.remove(key).await;
            return false;
        }
        self.count_stored(key);
        true
    }

    pub(crate) fn count_stored(&self, key: &str) {
        self.state.counters.stores.add();
        self.state.hit_for_miss.remove(key);
        debug!(key = %Redacted::new(key), decision = "stored");
    }

    /// Removes the responses that are stored for these URIs, and keeps those that are on their way from being stored.
    pub(crate) async fn invalidate(self: &Arc<Self>, uris: &[Uri], headers: &HeaderMap) {
        let mut removals = Vec::new();
        for uri in uris {
            for method in [Method::GET, Method::HEAD] {
                if let Some(key) = self.config.key.key(&method, uri, headers) {
                    debug!(key = %Redacted::new(&key), decision = "invalidate");
                    let known = self.end_generation(&key);
                    removals.push(self.remove(&key));
                    let cache = Arc::clone(self);
                    removals.push(Op::wait(async move {
                        cache.remove_all_variants(&key, known).await;
                    }));
                }
            }
        }
        all(removals).await;
    }

    /// Removes the entry that was the latest of that name, and notes that this one is. Failures are logged.
    pub(crate) async fn supersede(self: &Arc<Self>, name: &str, key: &str) {
        let note = format!("latest of {name}");
        let before = match self.get(&note).await {
            Ok(value) => value.map(Value::into_bytes),
            Err(error) => return self.store_failed(&note, "read", &error),
        };
        if let Some(before) = before {
            if before == key.as_bytes() {
                return;
            }
            // A note that is damaged names nothing that is stored.
            let before = String::from_utf8_lossy(&before);
            if (self.config.latest_of.as_ref())
                .and_then(|of| of(&before))
                .is_some_and(|of| of == name)
            {
                debug!(key = %Redacted::new(&before), decision = "removed", reason = "superseded");
                self.remove(&before).await;
            }
        }
        let value = Value::new("", key.to_owned());
        if let Err(error) = self.bounded(self.store.put(&note, value)).await {
            self.store_failed(&note, "write", &error);
        }
    }

    /// Removes entries, all at the same time. Failures are logged.
    pub(crate) async fn remove_each(self: &Arc<Self>, keys: impl IntoIterator<Item = &String>) {
        all(keys.into_iter().map(|key| self.remove(key)).collect()).await;
    }

    pub(crate) fn store_failed(&self, key: &str, what: &str, error: &io::Error) {
        self.state.counters.errors.add();
        let error = RedactedError::new(error, key);
        let key = Redacted::new(key);
        if self.state.store_failures.is_first() {
            warn!(
                %key, %error,
                "the cache's store failed to {what}; further cases are logged at DEBUG"
            );
        } else {
            debug!(%key, %error, "the cache's store failed to {what}");
        }
    }
}

/// Waits for all of these.
async fn all(mut ops: Vec<Op<()>>) {
    ops.retain(|op| matches!(op, Op::Wait(_)));
    std::future::poll_fn(|cx| {
        ops.retain_mut(|op| Pin::new(op).poll(cx).is_pending());
        if ops.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
