//! Stored responses as answers.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Version, header};

use crate::body::Body;
use crate::cache::{Cache, Found};
use crate::extend::Outcome;
use crate::policy::selection::{self, Selection};

impl Cache {
    /// What of the stored response answers this request, with these headers.
    pub(crate) fn serve<B: http_body::Body>(
        &self,
        found: Found,
        mut headers: HeaderMap,
        age: Option<u64>,
        outcome: Outcome,
        (method, asked): (&Method, &HeaderMap),
    ) -> Response<Body<B>> {
        if let (true, Some(age)) = (!self.config.rules.kubectl, age) {
            headers.insert(header::AGE, age.into());
        }
        let parts = found.entry.head.parts();
        let (mut status, mut body) = (parts.status, found.body);
        if !self.config.rules.kubectl {
            (status, body) = narrow(method, asked, status, &mut headers, body);
        }
        self.mark(outcome, &mut headers);
        let mut response = Response::new(Body::stored(body));
        *response.status_mut() = status;
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
        request: (&Method, &HeaderMap),
    ) -> Response<Body<B>> {
        self.state.counters.hits.add();
        let stored = &found.entry.stored;
        let age = stored.freshness.age(now).as_secs();
        let mut headers = found.entry.headers.clone();
        // Fields that may only be reused after validation (RFC 9111 §5.2.2.4).
        for name in &stored.directives.no_cache_fields {
            headers.remove(name);
        }
        self.serve(found, headers, Some(age), outcome, request)
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
}

/// Takes what a request selects out of a stored response.
fn narrow(
    method: &Method,
    asked: &HeaderMap,
    status: StatusCode,
    headers: &mut HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let size = body.len() as u64;
    match selection::select(method, asked, status, headers, size) {
        Selection::Whole => (status, body),
        Selection::Head => (status, Bytes::new()),
        Selection::NotModified => {
            selection::retain_for_not_modified(headers);
            (StatusCode::NOT_MODIFIED, Bytes::new())
        }
        Selection::Part(range) => {
            selection::describe_part(headers, &range, size);
            let [start, end] = [range.start, range.end]
                .map(|at| usize::try_from(at).expect("not beyond the body's end"));
            (StatusCode::PARTIAL_CONTENT, body.slice(start..end))
        }
        Selection::Unsatisfiable => {
            selection::describe_refusal(headers, size);
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
        }
    }
}
