//! The meaning of the server's answer: it is stored, it updates or outdates what is stored, and it may be shared with
//! requests that wait.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::Body;
use discovery_core::http::dump::{self, Framing};
use discovery_core::http::headers::remove_overridden_length;
use discovery_core::http::uri::Redacted;
use discovery_core::internal::entry_writer::{EntryWriter, HOLD, NewEntry};
use discovery_core::internal::tee::Reader;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, response};
use http_body::Body as HttpBody;
use tracing::debug;

use crate::bypass::Lookup;
use crate::cache::Cache;
use crate::cache_status::{CacheDecision, Outcome};
use crate::coalesce::{Activity, Leader};
use crate::entry::{NewHead, StoredResponse};
use crate::generation::Generation;
use crate::policy::cache_control::ResponseDirectives;
use crate::policy::reuse::{AfterFailure, StoredMeta};
use crate::policy::validation::{self, Confirmation};
use crate::policy::{storage, vary};
use crate::publication::{Publication, Variants};
use crate::respond::{Outgoing, RequestView};
use crate::variants::VariantPlace;

pub(crate) type Answer<ResB, E> = Result<Response<Body<ResB>>, E>;

/// How much of a body is read ahead of the caller, in bytes, if it is there already. A small response is thus stored
/// although nobody may read it.
const READ_AHEAD: u64 = 64 * 1024;

/// A request that is with the server.
pub(crate) struct Exchange {
    pub(crate) cache: Arc<Cache>,
    pub(crate) lookup: Lookup,
    pub(crate) method: Method,
    /// The headers of the request, without the conditions that the cache has added.
    pub(crate) headers: HeaderMap,
    /// The stored response that would have answered the request, were it fresh.
    pub(crate) stored: Option<StoredResponse>,
    /// Whether the request asks if that is still good.
    pub(crate) is_validation: bool,
    /// When it was sent.
    pub(crate) requested: SystemTime,
    /// If this has ended, the answer is too old to be stored.
    pub(crate) generation: Generation,
    /// Whether the stored response was invalidated before the request was sent.
    pub(crate) is_outdated: bool,
    /// Whether a family of variants that was found may go on: no change has come between the look and the generation, so
    /// that no variant can be from before it.
    pub(crate) keeps_family: bool,
    /// The lead, if others may wait for the answer.
    pub(crate) leader: Option<Leader>,
    /// Whether no caller waits for the answer.
    pub(crate) is_background: bool,
}

/// A response that may be stored.
struct Storable {
    /// The head as it is stored.
    parts: response::Parts,
    meta: StoredMeta,
    /// The size of the body in bytes, if it is known.
    expected: Option<u64>,
    variants: Variants,
}

/// A stored response with the headers of a newer answer.
struct Update {
    response: StoredResponse,
    /// In place of the entry's, for this caller.
    headers: HeaderMap,
    meta: StoredMeta,
    /// Whether requests that wait can use it.
    is_shareable: bool,
}

impl Exchange {
    /// Notes that the request is sent now.
    pub(crate) fn begin(&mut self) {
        self.requested = self.cache.now();
        if !self.generation.is_current() {
            self.is_outdated = true;
            self.keeps_family = false;
            self.generation = self.cache.state.generations.current(&self.lookup.key);
        }
    }

    /// Understands the answer, or the error that came in place of one.
    pub(crate) async fn receive<B, E>(
        mut self: Box<Self>,
        answer: Result<Response<B>, E>,
    ) -> Answer<B, E>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let now = self.cache.now();
        let answer = answer.map(|mut response| {
            remove_overridden_length(response.headers_mut());
            response.into_parts()
        });
        let status = answer.as_ref().ok().map(|(parts, _)| parts.status);
        let elsewhere = answer
            .as_ref()
            .ok()
            .and_then(|(parts, _)| self.elsewhere(parts));
        if let Ok((parts, _)) = &answer
            && self.is_validation
            && parts.status == StatusCode::NOT_MODIFIED
            && let Some(stored) = self.stored.take()
        {
            let meaning = match elsewhere {
                Some(_) => Confirmation::Other,
                None => validation::confirmation(&parts.headers, stored.entry.headers(), now),
            };
            let update = parts.headers.clone();
            drop(answer);
            return Ok(self.not_modified(stored, &update, meaning, now).await);
        }
        if elsewhere.is_none()
            && let Some(response) = self.stale_in_place_of_error(status, now)
        {
            return Ok(response);
        }

        if !self.is_background {
            self.cache.state.counters.misses.add();
        }
        match (answer, elsewhere) {
            (Err(error), _) => {
                self.log("miss", "the request failed");
                self.give_up(None, now).await;
                Err(error)
            }
            // The response is that of another URI: it is passed on, and says nothing about what is stored.
            (Ok((parts, body)), Some(reason)) => {
                self.release_all();
                let parts = self.missed(parts, false, reason);
                Ok(Response::from_parts(parts, Body::passed(body)))
            }
            (Ok((parts, body)), None) if self.method != self.lookup.method => {
                let response = Response::from_parts(parts, Body::passed(body));
                Ok(self.head(response, now).await)
            }
            (Ok((parts, body)), None) => Ok(self.new_response(parts, body, now).await),
        }
    }

    /// Why the response is not that of the request's URI, if it is not.
    fn elsewhere(&self, parts: &response::Parts) -> Option<&'static str> {
        let target = self.lookup.target.as_deref()?;
        let uri = self.cache.config.response_uri.as_ref()?.response_uri(parts);
        storage::is_from_target(target, uri.as_ref()).err()
    }

    /// Answers with the stored response in place of an error, if that is allowed (RFC 5861 §4, RFC 9111 §4.2.4).
    fn stale_in_place_of_error<B>(
        &mut self,
        status: Option<StatusCode>,
        now: SystemTime,
    ) -> Option<Response<Body<B>>> {
        let stored = self.stored.as_ref()?;
        let (rules, directives) = (self.cache.config.rules, &self.lookup.directives);
        let meta = &stored.entry.meta;
        // RFC 9111 §4.4: an invalidated response has to be validated.
        if self.is_outdated
            || !self.generation.is_current()
            || !meta.replaces_error(status, directives, now, rules)
        {
            return None;
        }
        let reason = status.map_or("unreachable", |_| "server error");
        self.log("stale", reason);
        let mut decision = CacheDecision::new(Outcome::Stale, Some(self.lookup.forward), reason);
        decision.forward_status = status;
        let (stored, key) = (stored.clone(), &self.lookup.key);
        let response = self
            .cache
            .respond_unvalidated(stored, now, key, decision, self.request());
        if let Some(leader) = self.leader.take() {
            leader.fail(status);
        }
        Some(response)
    }

    /// The server has sent a response of its own.
    async fn new_response<B>(
        mut self: Box<Self>,
        parts: response::Parts,
        body: B,
        now: SystemTime,
    ) -> Response<Body<B>>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let exact = body.size_hint().exact();
        let storable = self.storable(&parts, exact, now);
        let reason = storable
            .as_ref()
            .map_or_else(|reason| *reason, |_| "to be stored");
        let framing = Framing::of(&self.method, &parts, exact);
        let parts = self.missed(parts, storable.is_ok(), reason);
        let Ok(storable) = storable else {
            self.give_up(Some(parts.status), now).await;
            return Response::from_parts(parts, Body::passed(body));
        };
        let reader = self.store(body, storable, framing, now).await;
        Response::from_parts(parts, Body::teed(reader))
    }

    /// Begins to store a response, and shares it with the requests that wait, if they can use it.
    async fn store<B>(
        self: Box<Self>,
        body: B,
        storable: Storable,
        framing: Framing,
        now: SystemTime,
    ) -> Reader
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let exchange = *self;
        let cache = exchange.cache;
        let is_for_all = matches!(storable.variants, Variants::Replaced { .. });
        let key = match &storable.variants {
            Variants::Replaced { base } => base.clone(),
            _ => exchange.lookup.key,
        };
        // A larger body is not held, so that requests which come later could not read it from its beginning.
        let is_held = storable.expected.is_none_or(|size| size <= HOLD);
        let is_shareable =
            is_held && exchange.generation.is_current() && storable.meta.is_shareable(now);
        let leader = match exchange.leader {
            Some(leader) if is_shareable => Some(leader),
            Some(leader) => {
                leader.release();
                None
            }
            None => None,
        };
        let activity = leader.as_ref().map(|_| {
            let limit = cache.config.wait_limit.as_ref();
            Arc::new(Activity::new(limit.map(|limit| Arc::clone(&limit.timer))))
        });
        let mut publication = Publication::new(Arc::clone(&cache), exchange.generation);
        publication.supersedes = exchange.stored.is_some() || is_for_all;
        publication.shared = leader
            .as_ref()
            .zip(activity.as_ref())
            .map(|(leader, activity)| (leader.flight().clone(), Arc::clone(activity)));
        publication.variants = storable.variants;
        let parts = Arc::new(storable.parts);
        let entry = NewEntry {
            key,
            method: exchange.method,
            parts: Arc::clone(&parts),
            framing,
            expected: storable.expected,
            max_body_size: cache.config.max_body_size,
            options: storage::put_options(&parts, &storable.meta, now),
        };
        let store = Arc::clone(&cache.store);
        let is_head = entry.method == Method::HEAD;
        let writer = EntryWriter::new(store, entry, Box::new(publication));
        let mut reader = if is_head {
            // It has no content, whatever comes with it (RFC 9110 §9.3.2).
            Reader::new(Body::<B>::default(), writer)
        } else {
            Reader::new(body, writer)
        };

        let rules = cache.config.rules;
        let head = || NewHead::new(parts, framing, storable.meta, rules);
        let Some((leader, activity)) = leader.zip(activity) else {
            poll_fn(|cx| reader.poll_read_ahead(cx, READ_AHEAD)).await;
            return reader;
        };
        if leader.has_followers() {
            leader.share(head(), &reader, &activity);
            poll_fn(|cx| reader.poll_read_ahead(cx, READ_AHEAD)).await;
            return reader;
        }
        // Mostly nobody waits, and the body is there already.
        poll_fn(|cx| reader.poll_read_ahead(cx, READ_AHEAD)).await;
        if reader.is_stored() {
            leader.look();
        } else {
            leader.share(head(), &reader, &activity);
        }
        reader
    }

    /// Decides whether a response may be stored, and as what.
    fn storable(
        &self,
        parts: &response::Parts,
        exact: Option<u64>,
        now: SystemTime,
    ) -> Result<Storable, storage::Refusal> {
        let (cache, lookup) = (&self.cache, &self.lookup);
        let rules = cache.config.rules;
        let fields = storage::may_store(parts.status, &parts.headers, rules)?;
        if self.headers.contains_key(header::RANGE) {
            storage::may_store_in_place_of_part(parts.status)?;
        }
        let expected = self.expected_size(&parts.headers, exact)?;
        if expected.is_some_and(|size| size > cache.config.max_body_size) {
            return Err("too large");
        }
        let mut stored =
            storage::to_store(parts, &fields, &self.headers, self.requested, now, rules)?;
        let meta = cache.understand(&lookup.key, &stored, fields.directives, now);
        storage::is_worth_storing(&stored, meta.freshness.lifetime(), rules)?;
        let varies = stored.headers.contains_key(header::VARY);
        let variants = match &lookup.variant {
            _ if rules.kubectl => Variants::Unchanged,
            Some(place) if varies => Variants::Added(VariantPlace::clone(place)),
            Some(place) => Variants::Replaced {
                base: place.base.clone(),
            },
            None if varies => {
                let before = self.stored.as_ref().filter(|_| self.keeps_family);
                let family = before.and_then(|before| before.entry.variant.family().cloned());
                let family = match family {
                    Some(family) => family,
                    None => self.family(fields.vary.names()),
                };
                vary::set_family(&mut stored.headers, family);
                Variants::Unchanged
            }
            None if self.has_family() => Variants::Replaced {
                base: lookup.key.clone(),
            },
            None => Variants::Unchanged,
        };
        Ok(Storable {
            parts: stored,
            meta,
            expected,
            variants,
        })
    }

    /// The family for a first variant: that of the variants in the store whose first one is gone, if they vary by the
    /// same fields, so that they can still be found; else a new one.
    fn family(&self, names: &[HeaderName]) -> HeaderValue {
        let list = self.lookup.list.as_ref();
        let list = list.filter(|list| self.keeps_family && list.names() == names);
        let family = list.and_then(|list| HeaderValue::from_str(list.family()).ok());
        family.unwrap_or_else(|| self.cache.new_family())
    }

    /// Whether the stored response is the first of several variants.
    fn has_family(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|stored| stored.entry.variant.family().is_some())
    }

    /// The size of the body in bytes, if it is known.
    fn expected_size(
        &self,
        headers: &HeaderMap,
        exact: Option<u64>,
    ) -> Result<Option<u64>, storage::Refusal> {
        if self.method == Method::HEAD {
            return Ok(Some(0));
        }
        let announced = dump::content_length(headers).map_err(|_| "odd Content-Length")?;
        match (announced, exact) {
            (Some(announced), Some(exact)) if announced != exact => Err("Content-Length is wrong"),
            (Some(size), _) | (None, Some(size)) => Ok(Some(size)),
            (None, None) => Ok(None),
        }
    }

    /// The server has answered that the stored response may be used (RFC 9111 §4.3.4).
    async fn not_modified<B>(
        mut self: Box<Self>,
        stored: StoredResponse,
        update: &HeaderMap,
        meaning: Confirmation,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let cache = Arc::clone(&self.cache);
        if !self.is_background {
            cache.state.counters.revalidations.add();
        }
        let leader = self.leader.take();
        if meaning == Confirmation::Other {
            // The server says that this body will do for this request. The next one fetches anew.
            self.log("revalidated", "a 304 about another representation");
            if let Some(leader) = leader {
                leader.release();
            }
            cache.remove(&self.lookup.key).await;
            let (headers, meta) = (stored.entry.headers().clone(), stored.entry.meta.clone());
            return self.revalidated(&stored, headers, &meta, now);
        }
        let updated = self.update(&stored, update, meaning, now).await;
        if let Some(leader) = leader {
            if updated.is_shareable {
                leader.complete(&updated.response);
            } else {
                leader.release();
            }
        }
        self.revalidated(&stored, updated.headers, &updated.meta, now)
    }

    fn revalidated<B>(
        &self,
        stored: &StoredResponse,
        headers: HeaderMap,
        meta: &StoredMeta,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let age = meta.freshness.age(now);
        let forward = Some(self.lookup.forward);
        let mut decision = CacheDecision::new(Outcome::Revalidated, forward, "not modified");
        decision.forward_status = Some(StatusCode::NOT_MODIFIED);
        decision.ttl = Some(meta.ttl(age));
        let outgoing = Outgoing {
            entry: &stored.entry,
            headers,
            age: age.as_secs(),
            key: &self.lookup.key,
            decision,
            request: self.request(),
        };
        self.cache.respond(outgoing, stored.body.clone(), now)
    }

    /// The answer to a HEAD for which there is an answer to a GET, though not a fresh one (RFC 9111 §4.3.5).
    async fn head<B>(
        mut self: Box<Self>,
        response: Response<Body<B>>,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let (parts, body) = response.into_parts();
        // This answer is not stored, and is newer than one that is stored for HEAD alone.
        if let Some(own) = self.lookup.fallback.take() {
            let known = self.cache.take_list(&own);
            self.cache.remove(&own).await;
            self.cache.remove_all_variants(&own, known).await;
        }
        let stored = self.stored.take_if(|_| parts.status == StatusCode::OK);
        let has_stored = stored.is_some();
        if let Some(stored) = stored {
            let size = stored.body.len() as u64;
            let headers = stored.entry.headers();
            match validation::confirmation_by_head(&parts.headers, headers, size, now) {
                Confirmation::Unrelated => {}
                Confirmation::Other => {
                    self.log("outdated", "HEAD");
                    self.cache.remove(&self.lookup.key).await;
                }
                meaning @ (Confirmation::Same | Confirmation::OtherForm) => {
                    self.update(&stored, &parts.headers, meaning, now).await;
                }
            }
        }
        let parts = self.missed(parts, false, "HEAD");
        if !has_stored {
            self.give_up(Some(parts.status), now).await;
        }
        Response::from_parts(parts, body)
    }

    /// Gives a stored response newer headers, and stores it again if that changes anything (RFC 9111 §3.2).
    async fn update(
        &self,
        stored: &StoredResponse,
        update: &HeaderMap,
        meaning: Confirmation,
        now: SystemTime,
    ) -> Update {
        let (cache, entry) = (&self.cache, &stored.entry);
        let key = &self.lookup.key;
        let mut parts = entry.parts.clone();
        // The stored age was that of the old date.
        parts.headers.remove(header::AGE);
        if !update.contains_key(header::DATE) {
            // Then it was sent now (RFC 9110 §6.6.1).
            parts.headers.remove(header::DATE);
        }
        let is_mergeable = validation::apply(meaning, &mut parts.headers, update)
            && !storage::names_what_decides(update);
        let headers = parts.headers.clone();
        let (kept, directives) = match self.updated(stored, &parts, is_mergeable, now) {
            Ok(kept) => kept,
            Err(reason) => {
                self.log("outdated", reason);
                cache.remove(key).await;
                return Update {
                    response: stored.clone(),
                    headers,
                    meta: entry.meta.clone(),
                    is_shareable: false,
                };
            }
        };
        let meta = cache.understand(key, &kept, directives, now);
        let mut is_shareable = meta.is_shareable(now);
        // A 304 that reveals a greater age has to be stored.
        let is_older = meta.freshness.age(now) > entry.meta.freshness.age(now);
        let is_unchanged = !meta.depends_on_time()
            && !is_older
            && validation::is_unchanged(&kept.headers, entry.headers());
        let framing = match entry.framing {
            // The connection that the body came on is gone.
            Framing::Bare => Framing::Close,
            framing => framing,
        };
        if is_unchanged {
            self.log("revalidated", "unchanged");
        } else {
            self.log("revalidated", "updated");
            let value = dump::encode(&self.lookup.method, &kept, framing, stored.body.clone());
            let options = storage::put_options(&kept, &meta, now);
            cache.put(key, value, options, &self.generation).await;
        }
        // Not if it came too late to be stored.
        is_shareable &= self.generation.is_current();
        let head = NewHead::new(Arc::new(kept), framing, meta.clone(), cache.config.rules);
        Update {
            response: StoredResponse {
                entry: Arc::clone(head.entry()),
                body: stored.body.clone(),
            },
            headers,
            meta,
            is_shareable,
        }
    }

    /// The head to store in place of the one that there is.
    fn updated(
        &self,
        stored: &StoredResponse,
        parts: &response::Parts,
        is_mergeable: bool,
        now: SystemTime,
    ) -> Result<(response::Parts, ResponseDirectives), storage::Refusal> {
        let rules = self.cache.config.rules;
        if !is_mergeable {
            return Err("headers that can't be stored");
        }
        let fields = storage::may_store(parts.status, &parts.headers, rules)?;
        let requested = self.requested;
        let mut kept = storage::to_store(parts, &fields, &self.headers, requested, now, rules)?;
        if let Some(family) = stored.entry.variant.family() {
            let family = match self.keeps_family {
                true => family.clone(),
                false => self.cache.new_family(),
            };
            vary::set_family(&mut kept.headers, family);
        }
        Ok((kept, fields.directives))
    }

    /// There is nothing for those who wait, and the stored response may have to be removed.
    async fn give_up(&mut self, status: Option<StatusCode>, now: SystemTime) {
        let is_failure = status.is_none_or(|status| status.is_server_error());
        match self.leader.take() {
            Some(leader) if is_failure => leader.fail(status),
            leader => {
                self.leader = leader;
                self.release_all();
            }
        }
        let Some(stored) = &self.stored else {
            return;
        };
        let (meta, rules) = (&stored.entry.meta, self.cache.config.rules);
        match meta.after_failure(status, self.is_validation, now, rules) {
            AfterFailure::Remove => self.cache.remove(&self.lookup.key).await,
            AfterFailure::Keep => {}
        }
    }

    /// The answer is for its own caller only, and the next one may be, too.
    fn release_all(&mut self) {
        if let Some(leader) = self.leader.take() {
            self.cache.state.hit_for_miss.insert(&self.lookup.key);
            leader.release();
        }
    }

    fn request(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            headers: &self.headers,
            is_selective: self.lookup.is_selective,
        }
    }

    fn log(&self, decision: &'static str, reason: &'static str) {
        debug!(key = %Redacted::new(&self.lookup.key), decision, reason);
    }

    /// Logs and marks the answer of the server.
    fn missed(
        &self,
        mut parts: response::Parts,
        is_stored: bool,
        reason: &'static str,
    ) -> response::Parts {
        self.log("miss", reason);
        let mut decision = CacheDecision::new(Outcome::Miss, Some(self.lookup.forward), reason);
        decision.stored = is_stored;
        decision.key = Some(&self.lookup.key);
        self.cache.mark(&decision, &mut parts.headers);
        parts
    }
}
