//! Stored responses as answers.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::http::body::Body;
use discovery_core::http::uri::Redacted;
use http::{HeaderMap, Method, Response, StatusCode, Version, header, request};
use tracing::debug;

use crate::bypass::Lookup;
use crate::cache::Cache;
use crate::cache_status::{CacheDecision, Outcome};
use crate::entry::{Entry, StoredResponse};
use crate::policy::conditions::{self, Selection};
use crate::policy::storage;

/// The largest age that every recipient can read, in seconds (RFC 9111 §1.2.2).
const MAX_AGE: u64 = 1 << 31;

/// A stored response on its way out.
pub(crate) struct Outgoing<'a> {
    pub(crate) entry: &'a Entry,
    /// In place of the entry's, without the right `Age`.
    pub(crate) headers: HeaderMap,
    /// In seconds.
    pub(crate) age: u64,
    pub(crate) key: &'a str,
    pub(crate) decision: CacheDecision<'a>,
    pub(crate) request: RequestView<'a>,
}

/// The parts of a request that decide which part of a stored response answers it.
#[derive(Clone, Copy)]
pub(crate) struct RequestView<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// Whether it has conditions or ranges.
    pub(crate) is_selective: bool,
}

impl Lookup {
    pub(crate) fn view<'a>(&self, request: &'a request::Parts) -> RequestView<'a> {
        RequestView {
            method: &request.method,
            headers: &request.headers,
            is_selective: self.is_selective,
        }
    }
}

impl Cache {
    /// Answers a request from what was found, if that needs neither the server nor another look. The error is what was
    /// found.
    pub(crate) fn hit<B>(
        &self,
        stored: Option<StoredResponse>,
        lookup: &Lookup,
        request: &request::Parts,
        now: SystemTime,
    ) -> Result<Response<Body<B>>, Option<StoredResponse>> {
        let Some(stored) = stored else {
            return Err(None);
        };
        let entry = &stored.entry;
        let reuse = entry.reuse(&lookup.directives, &request.headers, now, false);
        match reuse.outcome() {
            Some(outcome) => {
                Ok(self.respond_hit(stored, outcome, lookup, lookup.view(request), now))
            }
            None => Err(Some(stored)),
        }
    }

    /// Answers a request with a stored response that needs no validation.
    pub(crate) fn respond_hit<B>(
        &self,
        stored: StoredResponse,
        outcome: Outcome,
        lookup: &Lookup,
        request: RequestView<'_>,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let reason = "found";
        debug!(key = %Redacted::new(&lookup.key), decision = outcome.as_str(), reason);
        let decision = CacheDecision::new(outcome, None, reason);
        self.respond_unvalidated(stored, now, &lookup.key, decision, request)
    }

    /// Answers a request with the response that another one got.
    pub(crate) fn respond_coalesced<B>(
        &self,
        entry: &Entry,
        body: Body<B>,
        outcome: Outcome,
        lookup: &Lookup,
        request: RequestView<'_>,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let reason = "coalesced";
        debug!(key = %Redacted::new(&lookup.key), decision = outcome.as_str(), reason);
        self.state.counters.coalesced.add();
        let mut decision = CacheDecision::new(outcome, Some(lookup.forward), reason);
        decision.collapsed = true;
        let outgoing = self.unvalidated(entry, now, &lookup.key, decision, request);
        let (status, headers) = self.head(outgoing);
        response(entry, status, headers, body)
    }

    /// Answers a request with a stored response that the server has not been asked about, or has not answered for.
    pub(crate) fn respond_unvalidated<'a, B>(
        &self,
        stored: StoredResponse,
        now: SystemTime,
        key: &'a str,
        decision: CacheDecision<'a>,
        request: RequestView<'a>,
    ) -> Response<Body<B>> {
        let entry = Arc::clone(&stored.entry);
        let outgoing = self.unvalidated(&entry, now, key, decision, request);
        self.respond(outgoing, stored.body, now)
    }

    fn unvalidated<'a>(
        &self,
        entry: &'a Entry,
        now: SystemTime,
        key: &'a str,
        mut decision: CacheDecision<'a>,
        request: RequestView<'a>,
    ) -> Outgoing<'a> {
        self.state.counters.hits.add();
        let age = entry.meta.freshness.age(now);
        decision.ttl = Some(entry.meta.ttl(age));
        let mut headers = entry.headers().clone();
        // Fields that may only be reused after validation (RFC 9111 §5.2.2.4).
        for name in &entry.meta.directives.no_cache_fields {
            headers.remove(name);
        }
        Outgoing {
            entry,
            headers,
            age: age.as_secs(),
            key,
            decision,
            request,
        }
    }

    /// The part of a stored response that answers the request.
    pub(crate) fn respond<B>(
        &self,
        mut outgoing: Outgoing<'_>,
        body: Bytes,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let (entry, request) = (outgoing.entry, outgoing.request);
        let (mut status, mut body) = (entry.parts.status, body);
        self.set_age(&mut outgoing);
        if !self.config.rules.kubectl {
            if request.is_selective {
                let headers = &mut outgoing.headers;
                (status, body) = narrow(request, status, headers, body, now);
            } else if request.method == Method::HEAD {
                body = Bytes::new();
            }
        }
        let headers = self.marked(outgoing);
        response(entry, status, headers, Body::full(body))
    }

    /// Status and headers of a response that is not narrowed.
    fn head(&self, mut outgoing: Outgoing<'_>) -> (StatusCode, HeaderMap) {
        self.set_age(&mut outgoing);
        (outgoing.entry.parts.status, self.marked(outgoing))
    }

    /// kubectl's entries have an `Age` only if the server has sent one, or is ahead of its time.
    fn set_age(&self, outgoing: &mut Outgoing<'_>) {
        let headers = &mut outgoing.headers;
        if !self.config.rules.kubectl || headers.contains_key(header::AGE) {
            let age = outgoing.age.min(MAX_AGE).to_string();
            headers.insert(header::AGE, age.try_into().expect("digits"));
        }
    }

    fn marked(&self, outgoing: Outgoing<'_>) -> HeaderMap {
        let Outgoing {
            mut headers,
            mut decision,
            key,
            ..
        } = outgoing;
        if self.config.marker.is_some() {
            decision.key = Some(key);
            self.mark(&decision, &mut headers);
        }
        headers
    }

    pub(crate) fn mark(&self, decision: &CacheDecision<'_>, headers: &mut HeaderMap) {
        if let Some(marker) = &self.config.marker {
            marker.mark(decision, headers);
        }
    }

    /// The answer to `only-if-cached` without an entry to use (RFC 9111 §5.2.1.7).
    pub(crate) fn unavailable<B>(&self, key: &str) -> Response<Body<B>> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        *response.version_mut() = Version::HTTP_11;
        let mut decision = CacheDecision::new(Outcome::Unavailable, None, "only-if-cached");
        decision.key = Some(key);
        self.mark(&decision, response.headers_mut());
        response
    }
}

fn response<B>(
    entry: &Entry,
    status: StatusCode,
    headers: HeaderMap,
    body: Body<B>,
) -> Response<Body<B>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.version_mut() = storage::known_version(entry.parts.version);
    *response.headers_mut() = headers;
    response
}

/// Takes the part out of a stored response that a request selects.
fn narrow(
    request: RequestView<'_>,
    status: StatusCode,
    headers: &mut HeaderMap,
    body: Bytes,
    now: SystemTime,
) -> (StatusCode, Bytes) {
    let size = body.len() as u64;
    match conditions::select(request.method, request.headers, status, headers, size, now) {
        Selection::Whole => (status, body),
        Selection::Head => (status, Bytes::new()),
        Selection::NotModified => {
            conditions::retain_for_not_modified(headers);
            (StatusCode::NOT_MODIFIED, Bytes::new())
        }
        Selection::Part(range) => {
            conditions::describe_part(headers, &range, size);
            let [start, end] = [range.start, range.end]
                .map(|at| usize::try_from(at).expect("not beyond the body's end"));
            (StatusCode::PARTIAL_CONTENT, body.slice(start..end))
        }
        Selection::Unsatisfiable => {
            conditions::describe_refusal(headers, size);
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
        }
    }
}
