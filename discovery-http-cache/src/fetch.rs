//! The path of a request that the store may answer: look up, decide, coalesce, wait for readiness, send. The server's
//! answer is understood and stored in [`forward`](crate::forward).

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::Body;
use discovery_core::http::uri::Redacted;
use discovery_core::internal::reserved::ready;
use discovery_core::store::{Op, Value};
use http::header::ACCEPT;
use http::{Request, Response, StatusCode, header, request};
use http_body::Body as HttpBody;
use tower_service::Service;
use tracing::debug;

use crate::bypass::Lookup;
use crate::cache::Cache;
use crate::cache_status::{CacheDecision, Forward, Outcome};
use crate::coalesce::{Leader, Refresh, Role, WaitResult};
use crate::entry::StoredResponse;
use crate::forward::{Answer, Exchange};
use crate::generation::{Generation, Moment};
use crate::options::BoxFuture;
use crate::policy::reuse::{Reuse, RevalidateReason};
use crate::policy::validation;
use crate::policy::vary::Variant;
use crate::variants::VariantPlace;

/// A request that the store may answer.
pub(crate) struct Fetch<S, B> {
    pub(crate) cache: Arc<Cache>,
    /// Not ready yet.
    pub(crate) inner: S,
    pub(crate) parts: request::Parts,
    pub(crate) body: B,
    pub(crate) lookup: Lookup,
    /// The moment before the last look under the key of the request.
    pub(crate) looked: Moment,
}

/// The first look into the store, which began when the request came.
pub(crate) enum FirstLook {
    Waiting(Op<io::Result<Option<Value>>>, Moment),
    Found(Option<StoredResponse>),
}

/// The next step after a look into the store.
enum Decision {
    /// Answer with the stored response.
    Hit(StoredResponse, Outcome),
    /// Answer with the stored response, and validate it in the background.
    Background(StoredResponse),
    /// Ask the server, because of this.
    Forward(Option<StoredResponse>, &'static str),
}

/// The result of a look into the store.
enum Found {
    Decision(Decision),
    /// Another entry may answer the request: the lookup is now for that one.
    Elsewhere,
}

/// The next step after a wait.
enum AfterWait<ResB> {
    Respond(Response<Body<ResB>>),
    /// The request may be answered by what others have stored meanwhile, and leads if it is not.
    LookAsLeader(Leader),
    /// The request may be answered by what others have stored meanwhile.
    Look,
    /// The request may be answered by another variant than the one that it has waited for.
    LookElsewhere,
    Forward,
}

impl<S, B, ResB> Fetch<S, B>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    ResB: HttpBody<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
{
    /// Answers the request. `completions` were counted before the first look.
    pub(crate) async fn run(
        mut self,
        first: FirstLook,
        mut completions: u64,
    ) -> Answer<ResB, S::Error> {
        let cache = Arc::clone(&self.cache);
        let coalescer = &cache.state.coalescer;
        let mut decision = self.look_up(Some(first)).await;
        let mut leader = None;
        let (stored, reason) = loop {
            let (stored, reason) = match decision {
                Decision::Hit(stored, outcome) => {
                    if let Some(leader) = leader.take() {
                        Leader::look(leader);
                    }
                    return Ok(self.respond(stored, outcome));
                }
                Decision::Background(stored) => return Ok(self.refresh(stored, leader)),
                Decision::Forward(stored, reason) => (stored, reason),
            };
            if leader.is_some() || !self.may_coalesce(stored.as_ref()) {
                break (stored, reason);
            }
            let generation = cache.state.generations.current(&self.lookup.key);
            if let Some(response) = self.join_body(&generation) {
                return Ok(response);
            }
            let next = match coalescer.join(&self.lookup.key, generation) {
                Role::Leader(new) if coalescer.completions() == completions => {
                    leader = Some(new);
                    break (stored, reason);
                }
                // Another request may have been faster.
                Role::Leader(new) => AfterWait::LookAsLeader(new),
                Role::Follower(follower) => {
                    debug!(key = %Redacted::new(&self.lookup.key), decision = "wait");
                    let generation = follower.generation().clone();
                    let result = cache.within_max_wait(follower.wait()).await;
                    let result = result.unwrap_or(WaitResult::TooLong);
                    let stored = stored.as_ref().filter(|_| generation.is_current());
                    self.after_wait(result, stored)
                }
            };
            completions = coalescer.completions();
            match next {
                AfterWait::Respond(response) => return Ok(response),
                AfterWait::Forward => break (stored, reason),
                AfterWait::LookElsewhere => decision = self.look_up(None).await,
                AfterWait::LookAsLeader(new) => {
                    if let Some(response) = self.join_body(new.generation()) {
                        new.look();
                        return Ok(response);
                    }
                    let key = self.lookup.key.clone();
                    decision = self.look_up(None).await;
                    // The lead is for the key that it was taken for.
                    if self.lookup.key == key {
                        leader = Some(new);
                    } else {
                        new.look();
                    }
                }
                AfterWait::Look => {
                    let generation = cache.state.generations.current(&self.lookup.key);
                    if let Some(response) = self.join_body(&generation) {
                        return Ok(response);
                    }
                    drop(generation);
                    let key = self.lookup.key.clone();
                    decision = self.look_up(None).await;
                    // For this key there is nothing to wait for, but there may be for that of another variant.
                    if self.lookup.key == key
                        && let Decision::Forward(stored, reason) = decision
                    {
                        break (stored, reason);
                    }
                }
            }
        };

        let key = Redacted::new(&self.lookup.key);
        if self.lookup.directives.only_if_cached {
            debug!(%key, decision = "unavailable", reason);
            cache.state.counters.misses.add();
            return Ok(cache.unavailable(&self.lookup.key));
        }
        debug!(%key, decision = "forward", reason);
        self.send(stored, leader, false).await
    }

    /// Looks for a stored response, also for that of another variant and, for HEAD, for that of its own method.
    async fn look_up(&mut self, mut first: Option<FirstLook>) -> Decision {
        let cache = Arc::clone(&self.cache);
        loop {
            let stored = match first.take() {
                Some(FirstLook::Found(stored)) => stored,
                look => {
                    let Lookup { key, method, .. } = &self.lookup;
                    let (value, since) = match look {
                        Some(FirstLook::Waiting(op, since)) => (cache.bounded(op).await, since),
                        _ => {
                            let since = cache.state.generations.moment();
                            (cache.get(key).await, since)
                        }
                    };
                    if self.lookup.variant.is_none() {
                        self.looked = since;
                    }
                    let value = cache.unless_late(key, value, since);
                    cache.decode(key, method, value, cache.now())
                }
            };
            self.lookup.list = None;
            if stored.is_none() && self.lookup.variant.is_none() {
                let list = cache.list_without_first(&self.lookup.key).await;
                self.lookup.list = list.map(Box::new);
            }
            if let Found::Decision(decision) = self.decide(stored, cache.now()) {
                return decision;
            }
        }
    }

    /// Decides by what was found under the key of the lookup.
    fn decide(&mut self, stored: Option<StoredResponse>, now: SystemTime) -> Found {
        let Self {
            cache,
            parts,
            lookup,
            ..
        } = self;
        let reuse = stored.as_ref().map(|stored| {
            let entry = &stored.entry;
            let reuse = entry.reuse(&lookup.directives, &parts.headers, now, false);
            // kubectl has room for one variant. Two versions that ask for the same in other words would fetch it anew in
            // turn; so the request goes on in the words of the entry, which is validated and stays as it is.
            let other = (reuse == Reuse::OtherVariant)
                .then(|| entry.accept_of_other_kubectl(&parts.headers))
                .flatten();
            match other {
                Some(accept) => {
                    parts.headers.insert(ACCEPT, accept);
                    entry.reuse(&lookup.directives, &parts.headers, now, false)
                }
                None => reuse,
            }
        });
        let Some((stored, reuse)) = stored.zip(reuse) else {
            if lookup.is_found_elsewhere(parts) {
                return Found::Elsewhere;
            }
            return Found::Decision(Decision::Forward(None, "not stored"));
        };
        let decision = match reuse {
            Reuse::Fresh | Reuse::Shared => Decision::Hit(stored, Outcome::Hit),
            Reuse::Stale => Decision::Hit(stored, Outcome::Stale),
            Reuse::StaleWhileRevalidate
                if cache.config.executor.is_some() && !lookup.directives.only_if_cached =>
            {
                Decision::Background(stored)
            }
            Reuse::StaleWhileRevalidate => {
                lookup.forward = Forward::Stale;
                Decision::Forward(Some(stored), RevalidateReason::Stale.as_str())
            }
            Reuse::Validate(reason) => {
                let is_fresh = stored.entry.meta.is_fresh(now);
                lookup.forward = if reason.is_requests() && is_fresh {
                    Forward::Request
                } else {
                    Forward::Stale
                };
                Decision::Forward(Some(stored), reason.as_str())
            }
            Reuse::OtherVariant if lookup.is_for_variant(&stored.entry.variant, parts) => {
                return Found::Elsewhere;
            }
            // The entry of another variant says nothing about this one.
            Reuse::OtherVariant => {
                lookup.forward = Forward::VaryMiss;
                Decision::Forward(None, "another variant")
            }
        };
        Found::Decision(decision)
    }

    /// Whether there is a point in waiting for another request, or in letting others wait for this one.
    fn may_coalesce(&self, stored: Option<&StoredResponse>) -> bool {
        let lookup = &self.lookup;
        lookup.may_coalesce
            && lookup.method == self.parts.method
            && !self.cache.state.hit_for_miss.contains(&lookup.key)
            && stored.is_none_or(|stored| stored.entry.meta.may_become_shareable())
    }

    /// Answers with a response whose body other requests are reading, by the same rules as with a stored one.
    fn join_body(&self, generation: &Generation) -> Option<Response<Body<ResB>>> {
        let Self { cache, lookup, .. } = self;
        if !cache.state.coalescer.has_bodies() {
            return None;
        }
        let body = cache.state.coalescer.body(&lookup.key, generation)?;
        let limit = cache.config.wait_limit.as_ref().map(|limit| limit.limit);
        let (now, entry) = (cache.now(), body.head.entry());
        let reuse = entry.reuse(&lookup.directives, &self.parts.headers, now, false);
        let outcome = reuse.outcome()?;
        let body = Body::teed(body.join(limit)?);
        let view = lookup.view(&self.parts);
        Some(cache.respond_coalesced(entry, body, outcome, lookup, view, now))
    }

    /// Decides by the answer that the request has waited for. `stored` is what would answer it, were it fresh.
    fn after_wait(
        &mut self,
        result: WaitResult,
        stored: Option<&StoredResponse>,
    ) -> AfterWait<ResB> {
        debug!(
            key = %Redacted::new(&self.lookup.key),
            decision = "go on",
            reason = result.as_str()
        );
        let now = self.cache.now();
        let (entry, body) = match result {
            WaitResult::Lead(leader) => return AfterWait::LookAsLeader(leader),
            WaitResult::Look => return AfterWait::Look,
            WaitResult::Released | WaitResult::TooLong => return AfterWait::Forward,
            WaitResult::Failed(status) => {
                return match self.stale_for(status, stored, now) {
                    Some(response) => AfterWait::Respond(response),
                    None => AfterWait::Forward,
                };
            }
            WaitResult::Answer(head, reader) if reader.has_fallen_behind() => {
                drop((head, reader));
                return AfterWait::Forward;
            }
            WaitResult::Answer(head, reader) => (Arc::clone(head.entry()), Body::teed(reader)),
            WaitResult::Validated(stored) => (stored.entry, Body::full(stored.body)),
        };
        let Self {
            cache,
            parts,
            lookup,
            ..
        } = self;
        // The request has waited for this response, and for no other.
        let reuse = entry.reuse(&lookup.directives, &parts.headers, now, true);
        if let Some(outcome) = reuse.outcome() {
            let view = lookup.view(parts);
            let response = cache.respond_coalesced(&entry, body, outcome, lookup, view, now);
            return AfterWait::Respond(response);
        }
        if reuse == Reuse::OtherVariant && lookup.is_for_variant(&entry.variant, parts) {
            return AfterWait::LookElsewhere;
        }
        AfterWait::Forward
    }

    /// Answers with a stale response, because another request has found that the server fails, if that is allowed.
    fn stale_for(
        &self,
        status: Option<StatusCode>,
        stored: Option<&StoredResponse>,
        now: SystemTime,
    ) -> Option<Response<Body<ResB>>> {
        let Self { cache, lookup, .. } = self;
        let (rules, directives) = (cache.config.rules, &lookup.directives);
        let stored = stored?;
        let meta = &stored.entry.meta;
        if !meta.replaces_error(status, directives, now, rules) {
            return None;
        }
        let reason = status.map_or("unreachable", |_| "server error");
        debug!(key = %Redacted::new(&lookup.key), decision = "stale", reason);
        cache.state.counters.coalesced.add();
        let mut decision = CacheDecision::new(Outcome::Stale, Some(lookup.forward), reason);
        decision.forward_status = status;
        decision.collapsed = true;
        let (stored, view) = (stored.clone(), lookup.view(&self.parts));
        Some(cache.respond_unvalidated(stored, now, &lookup.key, decision, view))
    }

    fn respond(&self, stored: StoredResponse, outcome: Outcome) -> Response<Body<ResB>> {
        let Self { cache, lookup, .. } = self;
        let view = lookup.view(&self.parts);
        cache.respond_hit(stored, outcome, lookup, view, cache.now())
    }

    /// Answers with a stale response, and validates it in the background, unless another request does.
    fn refresh(mut self, stored: StoredResponse, leader: Option<Leader>) -> Response<Body<ResB>> {
        let cache = Arc::clone(&self.cache);
        let now = cache.now();
        let (key, reason) = (&self.lookup.key, "validated in the background");
        debug!(key = %Redacted::new(key), decision = "stale", reason);
        let decision = CacheDecision::new(Outcome::Stale, None, reason);
        let view = self.lookup.view(&self.parts);
        let response = cache.respond_unvalidated(stored.clone(), now, key, decision, view);

        let coalescer = &cache.state.coalescer;
        let refresh = coalescer.begin_refresh(key, now, cache.config.max_wait);
        let Some((refresh, executor)) = refresh.zip(cache.config.executor.as_ref()) else {
            if let Some(leader) = leader {
                leader.look();
            }
            return response;
        };
        let leader = leader.or_else(|| {
            if self.lookup.method != self.parts.method {
                // The answer to HEAD is not what others wait for.
                return None;
            }
            let generation = cache.state.generations.current(key);
            match coalescer.join(key, generation) {
                Role::Leader(leader) => Some(leader),
                Role::Follower(_) => None,
            }
        });
        cache.state.counters.refreshes.add();
        // The answer is for the cache: all of it.
        for name in [
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
        ] {
            self.parts.headers.remove(name);
        }
        self.lookup.forward = Forward::Stale;
        self.lookup.is_selective = false;
        executor.execute(self.in_background(stored, leader, refresh));
        response
    }

    /// Validates a stored response, and reads the answer as far as it is stored. An error is for the next caller to see.
    fn in_background(
        self,
        stored: StoredResponse,
        leader: Option<Leader>,
        refresh: Refresh,
    ) -> BoxFuture<()> {
        Box::pin(async move {
            let cache = Arc::clone(&self.cache);
            let key = self.lookup.key.clone();
            let answer = self.send(Some(stored), leader, true);
            match cache.within_max_wait(answer).await {
                Some(Ok(response)) => {
                    let mut body = Box::pin(response.into_body());
                    while let Some(true) = cache.within_max_wait(body.as_mut().store_next()).await {
                    }
                }
                Some(Err(_)) => {}
                None => debug!(
                    key = %Redacted::new(&key),
                    decision = "refresh given up",
                    reason = "the server takes too long"
                ),
            }
            drop(refresh);
        })
    }

    /// Forwards the request, as a validation of `stored` if that can be validated.
    async fn send(
        self,
        stored: Option<StoredResponse>,
        leader: Option<Leader>,
        is_background: bool,
    ) -> Answer<ResB, S::Error> {
        let Self {
            cache,
            mut inner,
            mut parts,
            body,
            lookup,
            looked,
        } = self;
        let generation = match leader.as_ref().map(Leader::generation) {
            Some(generation) => generation.clone(),
            None => cache.state.generations.current(&lookup.key),
        };
        let mut exchange = Box::new(Exchange {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            is_validation: stored.as_ref().is_some_and(|stored| {
                validation::make_conditional(&mut parts.headers, stored.entry.headers())
            }),
            generation,
            is_outdated: false,
            // After the generation is known: if that ends later, nothing is stored.
            keeps_family: !cache.state.generations.has_any_ended(looked),
            requested: cache.now(),
            cache,
            lookup,
            stored,
            leader,
            is_background,
        });
        let request = Request::from_parts(parts, body);
        let answer = match ready(&mut inner).await {
            Ok(ready) => {
                exchange.begin();
                let answer = ready.call(request);
                // A readiness that is not needed any more is given back before the answer comes.
                drop(inner);
                answer.await
            }
            Err(error) => Err(error),
        };
        exchange.receive(answer).await
    }
}

impl Lookup {
    /// Goes to the entry of another variant than `first`, if the request is for one.
    fn is_for_variant(&mut self, first: &Variant, request: &request::Parts) -> bool {
        if self.variant.is_some() {
            return false;
        }
        let Some((key, family)) = first.key(&self.key, &request.headers).zip(first.family()) else {
            return false;
        };
        let place = VariantPlace {
            base: String::new(),
            family: family.to_str().unwrap_or_default().to_owned(),
            names: first.names().cloned().collect(),
        };
        self.go_to_variant(key, place);
        true
    }

    /// Goes to another entry, if nothing is stored under the key: to a variant whose first one is gone, or to the answers
    /// to the request's own method.
    fn is_found_elsewhere(&mut self, request: &request::Parts) -> bool {
        if self.variant.is_none()
            && let Some(list) = &self.list
            && let Some(key) = list.find(&self.key, &request.headers)
        {
            let place = VariantPlace {
                base: String::new(),
                family: list.family().to_owned(),
                names: list.names().to_vec(),
            };
            self.go_to_variant(key, place);
            return true;
        }
        let Some(key) = self.fallback.take() else {
            return false;
        };
        self.key = key;
        self.method = request.method.clone();
        self.variant = None;
        true
    }

    fn go_to_variant(&mut self, key: String, mut place: VariantPlace) {
        self.forward = Forward::VaryMiss;
        place.base = std::mem::replace(&mut self.key, key);
        self.variant = Some(Box::new(place));
    }
}
