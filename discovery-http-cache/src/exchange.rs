//! What the server's answer to a request means for the cache.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::dump::{self, Framing};
use discovery_core::flight;
use discovery_core::store::Op;
use http::{HeaderMap, Method, Response, StatusCode, header, response};
use tracing::debug;

use crate::body::Body;
use crate::cache::{Ask, Cache, Found};
use crate::drain::{Drain, Settle};
use crate::extend::Outcome;
use crate::policy::stored::Stored;
use crate::policy::{storing, validation, vary};
use crate::sink::Sink;
use crate::tee::Tee;

pub(crate) type Lead = flight::Lead<Arc<str>>;

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
        mut self,
        cache: &Arc<Cache>,
        result: Result<Response<B>, E>,
    ) -> Step<B, E>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let now = cache.now();
        let status = result.as_ref().ok().map(Response::status);
        let result = match result {
            Ok(response) if self.conditional && status == Some(StatusCode::NOT_MODIFIED) => {
                match self.found.take() {
                    Some(found) => {
                        return self.not_modified(cache, found, response.headers(), now);
                    }
                    None => Ok(response),
                }
            }
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
            self.log("stale", "error");
            let (found, request) = (found.clone(), (&self.method, &self.headers));
            let response = cache.serve_unasked(found, now, Outcome::Stale, request);
            return Step::Answer(Ok(response));
        }

        cache.state.counters.misses.add();
        match result {
            Err(error) => {
                self.log("miss", "the request failed");
                self.give_up(cache, Err(error))
            }
            Ok(response) => self.fresh(cache, response, now),
        }
    }

    /// The server has sent a response of its own.
    fn fresh<B, E>(
        mut self,
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
        let rules = cache.config.rules;
        let size = body.size_hint().exact();
        let storable = storing::may_store(parts.status, &parts.headers, now, rules)
            .and_then(|()| self.expected_size(&parts.headers, size))
            .and_then(|expected| match expected {
                Some(size) if size > cache.config.max_entry_size => Err("too large"),
                expected => Ok(expected),
            });
        let expected = match storable {
            Ok(expected) => expected,
            Err(reason) => {
                self.log("miss", reason);
                cache.mark(Outcome::Miss, &mut parts.headers);
                let response = Response::from_parts(parts, Body::passed(body));
                return self.give_up(cache, Ok(response));
            }
        };
        self.log("miss", "to be stored");
        if let Some(first) = self
            .ask
            .first
            .take_if(|_| !parts.headers.contains_key(header::VARY))
        {
            // It is for all requests.
            self.ask.key = first;
        }

        let kept = self.to_store(cache, &parts, now);
        let shareable = Stored::of(kept.status, &kept.headers, rules).is_shareable()
            && !is_stream(&parts.headers);
        let lead = release_unless(shareable, self.lead);
        let framing = Framing::of(&self.method, &parts, size);
        let key = self.ask.key;
        let sink = Sink::new(
            Arc::clone(cache),
            key.clone(),
            self.method,
            kept,
            framing,
            expected,
        );
        cache.mark(Outcome::Miss, &mut parts.headers);
        Step::Drain(Box::new(Drain {
            tee: Tee::new(body, expected, Box::new(sink)),
            parts,
            key,
            lead,
        }))
    }

    /// How many bytes the body will have, if that is known.
    fn expected_size(
        &self,
        headers: &HeaderMap,
        exact: Option<u64>,
    ) -> Result<Option<u64>, storing::Refusal> {
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
        self,
        cache: &Arc<Cache>,
        found: Found,
        update: &HeaderMap,
        now: SystemTime,
    ) -> Step<B, E>
    where
        B: http_body::Body<Data = Bytes>,
    {
        cache.state.counters.revalidations.add();
        let entry = &found.entry;
        if !validation::is_about(update, &entry.headers) {
            // Whatever it is about, it says that this body will do; but it tells nothing new.
            self.log("revalidated", "a 304 with another ETag");
            let age = entry.stored.freshness.age(now).as_secs();
            let headers = entry.headers.clone();
            let request = (&self.method, &self.headers);
            let response = cache.serve(found, headers, Some(age), Outcome::Revalidated, request);
            return self.settle(Vec::new(), false, Ok(response));
        }

        let update = self.update(cache, &found, update, now);
        self.log("revalidated", update.reason);
        let request = (&self.method, &self.headers);
        let (headers, age) = (update.headers, Some(update.age));
        let response = cache.serve(found, headers, age, Outcome::Revalidated, request);
        self.settle(update.ops, update.lands, Ok(response))
    }

    /// The answer to a HEAD for which there was an answer to a GET, though not a fresh one
    /// (RFC 9111 §4.3.5).
    fn head<B, E>(
        mut self,
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
                let (stored, size) = (&found.entry.headers, found.body.len() as u64);
                if validation::is_confirmed_by_head(&parts.headers, stored, size) {
                    let update = self.update(cache, &found, &parts.headers, now);
                    self.log("updated", update.reason);
                    update.ops
                } else {
                    self.log("outdated", "HEAD");
                    vec![cache.remove(&self.ask.key)]
                }
            }
            None => Vec::new(),
        };
        cache.mark(Outcome::Miss, &mut parts.headers);
        let result = Ok(Response::from_parts(parts, Body::passed(body)));
        if ops.is_empty() {
            return self.give_up(cache, result);
        }
        self.settle(ops, false, result)
    }

    /// The head to store of a new response.
    fn to_store(&self, cache: &Cache, parts: &response::Parts, now: SystemTime) -> response::Parts {
        let rules = cache.config.rules;
        let mut kept = storing::to_store(parts, &self.headers, self.asked, now, rules);
        if !rules.kubectl && self.ask.first.is_none() && kept.headers.contains_key(header::VARY) {
            let found = self.found.as_ref();
            let family = found.and_then(|found| found.entry.stored.family().cloned());
            let family = family.unwrap_or_else(|| cache.new_family());
            vary::set_family(&mut kept.headers, family);
        }
        kept
    }

    /// There is nothing for those who wait, and what was stored is no longer to be used: kubectl
    /// deletes it on any other answer than 200 and 304, and a 200 that can't be stored has
    /// outdated it.
    fn give_up<B, E>(self, cache: &Cache, result: Result<Response<Body<B>>, E>) -> Step<B, E>
    where
        B: http_body::Body,
    {
        let rules = cache.config.rules;
        let failed = result
            .as_ref()
            .map_or(true, |response| response.status().is_server_error());
        let outdated = match &result {
            _ if failed && rules.keep_on_error => false,
            // About the client's copy, or a part of what is stored: nothing new.
            Ok(response) if !self.conditional && !rules.kubectl => {
                !matches!(response.status().as_u16(), 206 | 304 | 416)
            }
            _ => true,
        };
        let ops = match &self.found {
            Some(_) if outdated => vec![cache.remove(&self.ask.key)],
            _ => Vec::new(),
        };
        self.settle(ops, false, result)
    }

    fn settle<B, E>(
        self,
        ops: Vec<Op<io::Result<()>>>,
        lands: bool,
        result: Result<Response<Body<B>>, E>,
    ) -> Step<B, E>
    where
        B: http_body::Body,
    {
        Step::Settle(Settle {
            key: self.ask.key,
            ops,
            lead: release_unless(lands, self.lead),
            lands,
            result,
        })
    }

    fn log(&self, decision: &'static str, reason: &'static str) {
        debug!(key = self.ask.key, decision, reason);
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

/// Whether a body is of a kind that need never end.
fn is_stream(headers: &HeaderMap) -> bool {
    const KINDS: [&str; 5] = [
        "text/event-stream",
        "multipart/x-mixed-replace",
        "application/x-ndjson",
        "application/json-seq",
        "application/grpc",
    ];
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let kind = kind.to_ascii_lowercase();
            KINDS.iter().any(|stream| kind.starts_with(stream)) || kind.contains("stream=watch")
        })
}
