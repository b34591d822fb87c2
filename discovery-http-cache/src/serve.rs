//! Stored responses as answers.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Version, header, request};
use tracing::debug;

use crate::body::Body;
use crate::cache::{Ask, Cache, Found};
use crate::mark::{Outcome, Report};
use crate::policy::conditions::{self, Selection};
use crate::policy::storage;
use crate::redact::Redacted;

/// The largest age that everybody can read (RFC 9111 §1.2.2).
const MAX_AGE: u64 = 1 << 31;

/// A stored response on its way out.
pub(crate) struct Answer<'a> {
    pub(crate) found: Found,
    pub(crate) headers: HeaderMap,
    pub(crate) age: u64,
    pub(crate) key: &'a str,
    pub(crate) report: Report<'a>,
    pub(crate) request: Asked<'a>,
}

/// What of the request matters for which part of a stored response answers it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// Whether it has conditions or ranges.
    pub(crate) is_selective: bool,
}

impl Ask {
    /// What of `parts`, the request's, matters.
    pub(crate) fn asked<'a>(&self, parts: &'a request::Parts) -> Asked<'a> {
        Asked {
            method: &parts.method,
            headers: &parts.headers,
            is_selective: self.is_selective,
        }
    }
}

impl Cache {
    /// What of the stored response answers this request.
    pub(crate) fn serve<B: http_body::Body>(
        &self,
        answer: Answer<'_>,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let Answer {
            found,
            mut headers,
            age,
            key,
            mut report,
            request,
        } = answer;
        // kubectl's entries have an Age only if the server has sent one, or is ahead of its time.
        if !self.config.rules.kubectl || headers.contains_key(header::AGE) {
            headers.insert(header::AGE, age.min(MAX_AGE).into());
        }
        let parts = found.entry.head.parts();
        let (mut status, mut body) = (parts.status, found.body);
        if !self.config.rules.kubectl {
            if request.is_selective {
                (status, body) = narrow(request, status, &mut headers, body, now);
            } else if request.method == Method::HEAD {
                body = Bytes::new();
            }
        }
        if self.config.marker.is_some() {
            report.key = Some(key);
            self.mark(&report, &mut headers);
        }
        let mut response = Response::new(Body::stored(body));
        *response.status_mut() = status;
        *response.version_mut() = storage::known_version(parts.version);
        *response.headers_mut() = headers;
        response
    }

    /// Answers a request from the store. `waited` says that it has waited for another one.
    pub(crate) fn hit<B: http_body::Body>(
        &self,
        found: Found,
        outcome: Outcome,
        ask: &Ask,
        parts: &request::Parts,
        waited: bool,
        now: SystemTime,
    ) -> Response<Body<B>> {
        let reason = if waited { "coalesced" } else { "found" };
        debug!(key = %Redacted::new(&ask.key), decision = outcome.as_str(), reason);
        let mut report = Report::new(outcome, None, reason);
        if waited {
            self.state.counters.coalesced.add();
            report.collapsed = true;
            report.forward = Some(ask.forward);
        }
        self.serve_unasked(found, now, &ask.key, report, ask.asked(parts))
    }

    /// Serves a stored response that the server has not been asked about, or has not answered.
    pub(crate) fn serve_unasked<'a, B: http_body::Body>(
        &self,
        found: Found,
        now: SystemTime,
        key: &'a str,
        mut report: Report<'a>,
        request: Asked<'a>,
    ) -> Response<Body<B>> {
        self.state.counters.hits.add();
        let stored = &found.entry.stored;
        let age = stored.freshness.age(now);
        report.ttl = Some(stored.ttl(age));
        let age = age.as_secs();
        let mut headers = found.entry.headers().clone();
        // Fields that may only be reused after validation (RFC 9111 §5.2.2.4).
        for name in &stored.directives.no_cache_fields {
            headers.remove(name);
        }
        let answer = Answer {
            found,
            headers,
            age,
            key,
            report,
            request,
        };
        self.serve(answer, now)
    }

    pub(crate) fn mark(&self, report: &Report<'_>, headers: &mut HeaderMap) {
        if let Some(marker) = &self.config.marker {
            marker.mark(report, headers);
        }
    }

    /// The answer to `only-if-cached` without an entry to use (RFC 9111 §5.2.1.7).
    pub(crate) fn unavailable<B: http_body::Body>(&self, key: &str) -> Response<Body<B>> {
        let mut response = Response::new(Body::stored(Bytes::new()));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        *response.version_mut() = Version::HTTP_11;
        let mut report = Report::new(Outcome::Unavailable, None, "only-if-cached");
        report.key = Some(key);
        self.mark(&report, response.headers_mut());
        response
    }
}

/// Takes what a request selects out of a stored response.
fn narrow(
    request: Asked<'_>,
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
