//! Answers made to order, and ways to misbehave.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::json;

/// A fault that takes the place of the answer to a path.
///
/// Answers that have no body by nature, those to HEAD and with 304, are whole with their head:
/// [`CutBody`](Self::CutBody), [`Endless`](Self::Endless) and [`Stall`](Self::Stall) change nothing
/// about them.
///
/// ```
/// use embedded_apiserver::{Canned, Fault};
/// use http::StatusCode;
///
/// let busy = Fault::Answer(Canned::status(StatusCode::TOO_MANY_REQUESTS).retry_after(1));
/// let garbled = Fault::Answer(Canned::json("{\"kind\":"));
/// # drop((busy, garbled));
/// ```
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this.
    Answer(Canned),
    /// Closes the connection without an answer.
    Cut,
    /// Sends the right head and so many bytes of the right body, then closes the connection.
    CutBody(usize),
    /// Sends the right head, and the right body again and again without end.
    Endless,
    /// Sends the right head and so many bytes of the right body, then nothing; the connection
    /// stays open.
    Stall(usize),
    /// Answers as it should, but later.
    Delay(Duration),
}

/// A ready-made answer.
#[derive(Clone, Debug)]
pub struct Canned {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Canned {
    /// 200 with this body and no `Content-Type`.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
        }
        .header(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        )
    }

    /// 200 with this body as `application/json`, whether or not it is JSON.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(body).header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )
    }

    /// An error in plain text, as the aggregation layer sends it for a dead backend.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(text)
            .code(status)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            )
            .header(
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            )
    }

    /// An error as a `Status` object with the message and the reason that a real server would give.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        let (reason, message) = match status.as_u16() {
            400 => (
                "BadRequest",
                "the server rejected our request for an unknown reason",
            ),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => (
                "NotFound",
                "the server could not find the requested resource",
            ),
            405 => (
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            406 => (
                "NotAcceptable",
                "the server was unable to respond with a content type that the client supports",
            ),
            409 => ("Conflict", "the server reported a conflict"),
            410 => ("Gone", "the server reported that the resource is gone"),
            429 => (
                "TooManyRequests",
                "Too many requests, please try again later.",
            ),
            500 => ("InternalError", "Internal error occurred"),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "the server was unable to return a response in the time allotted",
            ),
            _ => ("", status.canonical_reason().unwrap_or("unknown")),
        };
        Self::json(status_object(status, reason, message, Some("{}"))).code(status)
    }

    /// Replaces the status.
    #[must_use]
    pub fn code(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets a header. `Content-Length` and `Transfer-Encoding` are those of the body, whatever is
    /// set.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets `Content-Type`; a value that is no header value is left out.
    #[must_use]
    pub fn content_type(mut self, value: &str) -> Self {
        self.headers.remove(header::CONTENT_TYPE);
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.insert(header::CONTENT_TYPE, value);
        }
        self
    }

    /// Sets `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

/// A `Status` object in compact form with a trailing newline; `details` is JSON.
pub(super) fn status_object(
    status: StatusCode,
    reason: &str,
    message: &str,
    details: Option<&str>,
) -> String {
    let mut out = String::from(
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",",
    );
    json::field(&mut out, "message", message);
    if !reason.is_empty() {
        out.push(',');
        json::field(&mut out, "reason", reason);
    }
    if let Some(details) = details {
        out.push_str(",\"details\":");
        out.push_str(details);
    }
    out.push_str(&format!(",\"code\":{}}}\n", status.as_u16()));
    out
}
