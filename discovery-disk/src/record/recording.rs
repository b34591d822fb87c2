//! Requests that the store does not answer, and the record of their answers.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::{Body, has_content};
use discovery_core::http::dump::{self, Framing};
use discovery_core::http::headers::remove_overridden_length;
use discovery_core::http::uri::Redacted;
use discovery_core::internal::entry_writer::{Abandoned, EntryObserver, EntryWriter, NewEntry};
use discovery_core::internal::reserved::Oneshot;
use discovery_core::internal::tee::Reader;
use discovery_core::store::{Op, PutOptions, Value};
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, Method, Request, Response, StatusCode, response};
use http_body::Body as HttpBody;
use tower_service::Service;
use tracing::debug;

use super::config::{Config, Mode};

/// A request whose answer is recorded.
pub(super) struct Recorded<S, B> {
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
    pub(super) request: Request<B>,
    pub(super) key: String,
}

/// Watches a record on its way into the store.
struct Recording {
    config: Arc<Config>,
}

impl<S, B, ResB> Recorded<S, B>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: HttpBody<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
{
    /// Waits for the store, if it has been asked; sends the request, if the store does not answer it; and begins to
    /// record the answer.
    pub(super) async fn run(
        self,
        lookup: Option<Op<io::Result<Option<Value>>>>,
    ) -> Result<Response<Body<ResB>>, S::Error> {
        let Self {
            inner,
            config,
            request,
            key,
        } = self;
        if let Some(lookup) = lookup {
            let found = lookup.await;
            if let Some(response) = config.answer(&key, found) {
                return Ok(response.map(Body::full));
            }
        }
        let is_conditional = is_conditional(request.headers());
        let response = Oneshot::new(inner, request).await;
        let is_outage = match &response {
            Ok(response) => {
                let status = response.status();
                status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
            }
            Err(_) => true,
        };
        if is_outage && config.mode == Mode::Refresh {
            let found = config.store.get(&key).await;
            if let Some(stored) = config.answer(&key, found) {
                return Ok(stored.map(Body::full));
            }
        }
        let response = response?;
        // It says something about the caller's copy, in place of the document that the key stands for.
        if is_conditional
            && matches!(
                response.status(),
                StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED
            )
        {
            not_recorded(&key, "the request had a condition");
            return Ok(response.map(Body::passed));
        }
        Ok(record(response, key, config).await)
    }
}

/// Whether a request is for a document only if the caller's copy is another (RFC 9110 §13.1).
fn is_conditional(headers: &HeaderMap) -> bool {
    [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

/// Begins to record a response, if it may be recorded.
async fn record<B>(response: Response<B>, key: String, config: Arc<Config>) -> Response<Body<B>>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = response.into_parts();
    remove_overridden_length(&mut parts.headers);
    let expected = match expected_size(&parts, &body, &config) {
        Ok(expected) => expected,
        Err(reason) => {
            not_recorded(&key, reason);
            return Response::from_parts(parts, Body::passed(body));
        }
    };
    // Nobody may read a body without content to its end.
    let is_empty = expected == Some(0) || !has_content(&body);
    let entry = NewEntry {
        key,
        method: Method::GET,
        framing: Framing::of(&Method::GET, &parts, body.size_hint().exact()),
        parts: Arc::new(parts.clone()),
        expected,
        max_body_size: config.max_body_size,
        options: PutOptions::new(),
    };
    let store = Arc::clone(&config.store);
    let writer = EntryWriter::new(store, entry, Box::new(Recording { config }));
    let mut reader = Reader::new(body, writer);
    if is_empty {
        poll_fn(|cx| reader.poll_read_ahead(cx, 1)).await;
    }
    Response::from_parts(parts, Body::teed(reader))
}

/// Decides whether a response is recorded. Returns the size of its body in bytes, if that is known.
fn expected_size(
    parts: &response::Parts,
    body: &impl HttpBody,
    config: &Config,
) -> Result<Option<u64>, &'static str> {
    // A 101 Switching Protocols has no body: other bytes follow it.
    if parts.status.is_informational() || !(config.record_if)(parts) {
        return Err("its head does not allow it");
    }
    let exact = body.size_hint().exact();
    let expected = match parts.status {
        // A 304 may have the length of the content that it does not send (RFC 9110 §8.6).
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Some(0),
        _ => dump::content_length(&parts.headers)
            .map_err(|_| "odd Content-Length")?
            .or(exact),
    };
    if exact.is_some() && exact != expected {
        return Err("Content-Length is wrong");
    }
    if expected.is_some_and(|size| size > config.max_body_size) {
        return Err("too large");
    }
    Ok(expected)
}

fn not_recorded(key: &str, reason: &'static str) {
    debug!(key = %Redacted::new(key), decision = "not recorded", reason);
}

impl EntryObserver for Recording {
    /// A record without the trailers would not be the answer word for word.
    fn may_drop_trailers(&self) -> bool {
        false
    }

    fn on_stored(&mut self, key: &str) {
        debug!(key = %Redacted::new(key), decision = "recorded");
    }

    fn on_abandoned(&mut self, key: &str, reason: Abandoned<'_>) -> Op<()> {
        match reason {
            Abandoned::Store(error) => self.config.warnings.store_failed(key, "written", error),
            Abandoned::Because(reason) => not_recorded(key, reason),
            _ => not_recorded(key, "abandoned"),
        }
        Op::Ready(())
    }
}
