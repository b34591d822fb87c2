//! What the server's answer to a request means for the cache.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::dump::{self, Framing};
use discovery_core::store::Op;
use http::{HeaderMap, Method, Response, StatusCode, header, response};
use tracing::debug;

use crate::body::Body;
use crate::cache::{Ask, Cache, Found};
use crate::crowd::Lead;
use crate::drain::{self, Drain, Settle};
use crate::epoch::Epoch;
use crate::mark::{Outcome, Report};
use crate::policy::reuse::{AfterFailure, StoredMeta};
use crate::policy::validation::{self, Confirmation};
use crate::policy::{storage, stream, vary};
use crate::redact::Redacted;
use crate::serve::{Answer, Asked};
use crate::sink::{NewEntry, Sink};
use crate::tee::Tee;

/// A request that is with the server.
pub(crate) struct Exchange {
    pub(crate) ask: Ask,
    pub(crate) method: Method,
    /// The request's, without the conditions that the cache has added.
    pub(crate) headers: HeaderMap,
    /// What would have answered it, were it fresh.
    pub(crate) found: Option<Found>,
    /// Whether the request asks if that is still good.
    pub(crate) conditional: bool,
    pub(crate) asked: SystemTime,
    /// What ends it makes the answer too old to be stored.
    pub(crate) epoch: Epoch,
    /// The others that wait for this.
    pub(crate) lead: Option<Lead>,
}

/// What is left to do before the caller gets its response.
pub(crate) enum Step<B: http_body::Body, E> {
    /// Nothing.
    Answer(Result<Response<Body<B>>, E>),
    /// To wait for the store.
    Settle(Settle<B, E>),
    /// To see whether the body is there already, and if others wait, to wait for it.
    Drain(Box<Drain<B>>),
}

impl Exchange {
    pub(crate) fn answer<B, E>(
        mut self: Box<Self>,
        cache: &Arc<Cache>,
        result: Result<Response<B>, E>,
    ) -> Step<B, E>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let now = cache.now();
        let status = result.as_ref().ok().map(Response::status);
        let result = result.map(Response::into_parts);
        let elsewhere = match &result {
            Ok((parts, _)) => cache.is_from_target(&self.ask, parts).err(),
            Err(_) => None,
        };
        let confirms = self.conditional && status == Some(StatusCode::NOT_MODIFIED);
        if let Some(reason) = elsewhere
            && !confirms
        {
            return self.from_elsewhere(cache, result, reason);
        }
        let result = result.map(|(parts, body)| Response::from_parts(parts, body));
        let result = match result {
            Ok(response) if confirms => match self.found.take() {
                Some(found) => {
                    let confirmation = match elsewhere {
                        Some(_) => Confirmation::Other,
                        None => {
                            let stored = found.entry.headers();
                            validation::confirmation(response.headers(), stored, now)
                        }
                    };
                    let update = response.headers();
                    return self.not_modified(cache, found, update, confirmation, now);
                }
                None => Ok(response),
            },
            other => other,
        };
        if let Some(found) = &self.found
            && found.entry.stored.replaces_error(
                status,
                &self.ask.directives,
                now,
                cache.config.rules,
            )
        {
            let reason = status.map_or("unreachable", |_| "server error");
            self.log("stale", reason);
            let found = found.clone();
            if let Some(lead) = self.lead.take() {
                lead.fail(status);
            }
            let mut report = Report::new(Outcome::Stale, Some(self.ask.forward), reason);
            report.forward_status = status;
            let key = &self.ask.key;
            let response = cache.serve_unasked(found, now, key, report, self.request());
            return Step::Answer(Ok(response));
        }

        cache.state.counters.misses.add();
        match result {
            Err(error) => {
                self.log("miss", "the request failed");
                self.give_up(cache, Err(error), now)
            }
            Ok(response) => self.fresh(cache, response, now),
        }
    }

    /// The response is that of another URI: passed on, and nothing else.
    fn from_elsewhere<B, E>(
        self: Box<Self>,
        cache: &Cache,
        result: Result<(response::Parts, B), E>,
        reason: &'static str,
    ) -> Step<B, E>
    where
        B: http_body::Body,
    {
        cache.state.counters.misses.add();
        self.log("miss", reason);
        let result = result.map(|(mut parts, body)| {
            self.mark_miss(cache, false, reason, &mut parts.headers);
            Response::from_parts(parts, Body::passed(body))
        });
        self.settle(Vec::new(), false, result)
    }

    /// The server has sent a response of its own.
    fn fresh<B, E>(
        mut self: Box<Self>,
        cache: &Arc<Cache>,
        response: Response<B>,
        now: SystemTime,
    ) -> Step<B, E>
    where
        B: http_body::Body<Data = Bytes>,
    {
        if self.method != self.ask.kept {
            return self.head(cache, response, now);
        }
        let (mut parts, body) = response.into_parts();
        let size = body.size_hint().exact();
        let storable = self.storable(cache, &parts, size, now);
        let reason = storable
            .as_ref()
            .map_or_else(|reason| *reason, |_| "to be stored");
        self.log("miss", reason);
        self.mark_miss(cache, storable.is_ok(), reason, &mut parts.headers);
        let Ok((kept, stored, expected)) = storable else {
            let response = Response::from_parts(parts, Body::passed(body));
            return self.give_up(cache, Ok(response), now);
        };
        let first = self
            .ask
            .first
            .take_if(|_| !kept.headers.contains_key(header::VARY));
        let is_for_all = first.is_some();
        if let Some(first) = first {
            self.ask.key = first;
        }

        let shareable = stored.is_shareable(now) && !stream::is_stream(&parts.headers);
        let entry = NewEntry {
            framing: Framing::of(&self.method, &parts, size),
            key: self.ask.key,
            method: self.method,
            parts: kept,
            expected,
            epoch: self.epoch,
            replaces: self.found.is_some() || is_for_all,
        };
        Step::Drain(Box::new(Drain {
            tee: Box::new(Tee::new(
                body,
                expected,
                Box::new(Sink::new(Arc::clone(cache), entry)),
            )),
            parts,
            lead: release_unless(shareable, self.lead),
        }))
    }

    /// The head to store of a new response, what it means, and the size of the body, if that is known.
    fn storable(
        &self,
        cache: &Cache,
        parts: &response::Parts,
        size: Option<u64>,
        now: SystemTime,
    ) -> Result<(response::Parts, StoredMeta, Option<u64>), storage::Refusal> {
        let rules = cache.config.rules;
        let fields = storage::may_store(parts.status, &parts.headers, rules)?;
        if self.headers.contains_key(header::RANGE) {
            storage::may_store_in_place_of_part(parts.status)?;
        }
        let expected = self.expected_size(&parts.headers, size)?;
        if expected.is_some_and(|size| size > cache.config.max_entry_size) {
            return Err("too large");
        }
        let mut kept = storage::to_store(parts, &fields, &self.headers, self.asked, now, rules)?;
        if !rules.kubectl && self.ask.first.is_none() && kept.headers.contains_key(header::VARY) {
            let found = self.found.as_ref();
            let family = found.and_then(|found| found.entry.variant.family().cloned());
            let family = family.unwrap_or_else(|| cache.new_family());
            vary::set_family(&mut kept.headers, family);
        }
        let stored = cache.understand(&self.ask.key, &kept, fields.directives, now);
        storage::is_worth_storing(&kept, stored.freshness.lifetime(), rules)?;
        Ok((kept, stored, expected))
    }

    /// How many bytes the body will have, if that is known.
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

    /// The stored response is still good (RFC 9111 §4.3.4).
    fn not_modified<B, E>(
        self: Box<Self>,
        cache: &Arc<Cache>,
        found: Found,
        update: &HeaderMap,
        confirmation: Confirmation,
        now: SystemTime,
    ) -> Step<B, E>
    where
        B: http_body::Body<Data = Bytes>,
    {
        cache.state.counters.revalidations.add();
        let entry = &found.entry;
        if confirmation == Confirmation::Other {
            // The server says that this body will do for this request. The next one fetches anew.
            self.log("revalidated", "a 304 about another representation");
            let stored = &entry.stored;
            let age = stored.freshness.age(now);
            let times = (age.as_secs(), stored.ttl(age));
            let headers = entry.headers().clone();
            let ops = vec![cache.remove(&self.ask.key)];
            let response = self.revalidated(cache, found, headers, times, now);
            return self.settle(ops, false, Ok(response));
        }

        let update = self.update(cache, &found, update, confirmation, now);
        self.log("revalidated", update.reason);
        let times = (update.age, update.ttl);
        let response = self.revalidated(cache, found, update.headers, times, now);
        self.settle(update.ops, update.lands, Ok(response))
    }

    fn revalidated<B: http_body::Body>(
        &self,
        cache: &Cache,
        found: Found,
        headers: HeaderMap,
        (age, ttl): (u64, i64),
        now: SystemTime,
    ) -> Response<Body<B>> {
        let forward = Some(self.ask.forward);
        let mut report = Report::new(Outcome::Revalidated, forward, "not modified");
        report.forward_status = Some(StatusCode::NOT_MODIFIED);
        report.ttl = Some(ttl);
        let answer = Answer {
            found,
            headers,
            age,
            key: &self.ask.key,
            report,
            request: self.request(),
        };
        cache.serve(answer, now)
    }

    /// The answer to a HEAD for which there was an answer to a GET, though not a fresh one
    /// (RFC 9111 §4.3.5).
    fn head<B, E>(
        mut self: Box<Self>,
        cache: &Arc<Cache>,
        response: Response<B>,
        now: SystemTime,
    ) -> Step<B, E>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let (mut parts, body) = response.into_parts();
        let found = self.found.take_if(|_| parts.status == StatusCode::OK);
        let ops = match found {
            Some(found) => {
                let (stored, size) = (found.entry.headers(), found.body.len() as u64);
                match validation::confirmation_by_head(&parts.headers, stored, size, now) {
                    Confirmation::Unrelated => Vec::new(),
                    Confirmation::Other => {
                        self.log("outdated", "HEAD");
                        vec![cache.remove(&self.ask.key)]
                    }
                    confirmation @ (Confirmation::Same | Confirmation::OtherForm) => {
                        let update = self.update(cache, &found, &parts.headers, confirmation, now);
                        self.log("updated", update.reason);
                        update.ops
                    }
                }
            }
            None => Vec::new(),
        };
        self.mark_miss(cache, false, "HEAD", &mut parts.headers);
        let result = Ok(Response::from_parts(parts, Body::passed(body)));
        if ops.is_empty() {
            return self.give_up(cache, result, now);
        }
        self.settle(ops, false, result)
    }

    /// There is nothing for those who wait, and the stored response may have to go.
    fn give_up<B, E>(
        mut self: Box<Self>,
        cache: &Cache,
        result: Result<Response<Body<B>>, E>,
        now: SystemTime,
    ) -> Step<B, E>
    where
        B: http_body::Body,
    {
        let rules = cache.config.rules;
        let status = result.as_ref().ok().map(Response::status);
        let failed = status.is_none_or(|status| status.is_server_error());
        let after = self.found.as_ref().map(|found| {
            let stored = &found.entry.stored;
            stored.after_failure(status, self.conditional, now, rules)
        });
        let ops = match after {
            Some(AfterFailure::Remove) => vec![cache.remove(&self.ask.key)],
            Some(AfterFailure::Keep) | None => Vec::new(),
        };
        if failed && let Some(lead) = self.lead.take() {
            lead.fail(status);
        } else if self.lead.is_some() {
            cache.state.alone.insert(&self.ask.key);
        }
        self.settle(ops, false, result)
    }

    fn settle<B, E>(
        self: Box<Self>,
        ops: Vec<Op<io::Result<()>>>,
        lands: bool,
        result: Result<Response<Body<B>>, E>,
    ) -> Step<B, E>
    where
        B: http_body::Body,
    {
        let lead = release_unless(lands, self.lead);
        if ops.is_empty() {
            drain::end(lead, lands);
            return Step::Answer(result);
        }
        Step::Settle(Settle {
            key: self.ask.key,
            ops,
            lead,
            lands,
            result,
        })
    }

    fn request(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            headers: &self.headers,
            is_selective: self.ask.is_selective,
        }
    }

    fn log(&self, decision: &'static str, reason: &'static str) {
        debug!(key = %Redacted::new(&self.ask.key), decision, reason);
    }

    fn mark_miss(
        &self,
        cache: &Cache,
        stored: bool,
        reason: &'static str,
        headers: &mut HeaderMap,
    ) {
        let mut report = Report::new(Outcome::Miss, Some(self.ask.forward), reason);
        report.stored = stored;
        report.key = Some(&self.ask.key);
        cache.mark(&report, headers);
    }
}

/// Lets those who wait go at once, if there will be nothing for them.
fn release_unless(lands: bool, lead: Option<Lead>) -> Option<Lead> {
    match lead {
        Some(lead) if !lands => {
            lead.release();
            None
        }
        lead => lead,
    }
}
