//! Why something could not be discovered.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::Text;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde::Deserialize;

use crate::http::uri::host_and_port;
use crate::kube::asked_url::asked_url;
use crate::{BoxError, GroupVersion};

/// Why a discovery request gave nothing of use. Cheap to clone.
///
/// For an answer of the server, the text is the one that kubectl prints.
///
/// ```
/// use discovery_core::Error;
/// use http::Response;
///
/// let answer = Response::builder().status(503).body("down\n".into())?;
/// let failure = Error::status("https://host/apis", &answer);
/// assert_eq!(failure.to_string(), "the server is currently unable to handle the request");
/// assert_eq!(failure.reason(), Some("ServiceUnavailable"));
/// assert!(failure.is_transient());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    url: Text,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Transport,
    Status {
        code: StatusCode,
        reason: Text,
        message: String,
        unexpected: Text,
    },
    Malformed,
    CutShort,
    TooLarge {
        limit: u64,
    },
    EmptyList(GroupVersion),
    Stale(GroupVersion),
}

/// The part of a Kubernetes `Status` object that tells an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    reason: Option<Text>,
    message: Option<String>,
}

impl Error {
    /// The request could not be sent, or no answer came.
    pub fn transport(url: impl Into<Text>, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Transport, url.into(), Some(source.into()))
    }

    /// The server answered with an error.
    pub fn status(url: impl Into<Text>, answer: &Response<Bytes>) -> Self {
        let code = answer.status();
        let status: Status = serde_json::from_slice(answer.body())
            .ok()
            .filter(|status: &Status| status.kind == "Status")
            .unwrap_or_default();
        let Generic {
            reason,
            message: text,
            said,
        } = Generic::of(answer);
        let unexpected = if status.kind.is_empty() {
            said
        } else {
            Text::default()
        };
        let reason = status
            .reason
            .filter(|reason| !reason.is_empty())
            .unwrap_or(reason.into());
        let message = status
            .message
            .filter(|message| !message.is_empty())
            .unwrap_or(text);
        Self::new(
            Kind::Status {
                code,
                reason,
                message,
                unexpected,
            },
            url.into(),
            None,
        )
    }

    /// The server answered with an error to a request for its groups or its version.
    ///
    /// As [`status`](Self::status), but without regard to a `Status` object in the answer: here
    /// kubectl goes by the code alone. The server's own text is the error's source.
    pub fn groups_status(url: impl Into<Text>, answer: &Response<Bytes>) -> Self {
        let Generic {
            reason,
            message,
            said,
        } = Generic::of(answer);
        let own = Self::status("", answer);
        let kind = Kind::Status {
            code: answer.status(),
            reason: reason.into(),
            message,
            unexpected: said,
        };
        Self::new(kind, url.into(), Some(own.to_string().into()))
    }

    /// The server answered with something that is not the document asked for.
    pub fn malformed(url: impl Into<Text>, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Malformed, url.into(), Some(source.into()))
    }

    /// As [`groups_status`](Self::groups_status), for what [`ask`](crate::kube::plan::ask) asked.
    ///
    /// `path` stands for the URL in an answer that came some other way.
    #[doc(hidden)]
    pub fn answered(answer: &Response<Bytes>, path: &str) -> Self {
        Self::groups_status(asked_url(answer, || path.into()), answer)
    }

    /// As [`malformed`](Self::malformed), for what [`ask`](crate::kube::plan::ask) asked.
    #[doc(hidden)]
    pub fn malformed_answer(
        answer: &Response<Bytes>,
        path: &str,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::malformed(asked_url(answer, || path.into()), source)
    }

    /// The answer broke off.
    pub fn cut_short(url: impl Into<Text>, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::CutShort, url.into(), Some(source.into()))
    }

    /// The answer has more than `limit` bytes.
    pub fn too_large(url: impl Into<Text>, limit: u64) -> Self {
        Self::new(Kind::TooLarge { limit }, url.into(), None)
    }

    /// A legacy server has no resources in a group version that it lists.
    #[must_use]
    pub fn empty_list(group_version: GroupVersion) -> Self {
        Self::new(Kind::EmptyList(group_version), Text::default(), None)
    }

    /// An aggregated answer marks the group version as stale.
    #[must_use]
    pub fn stale(group_version: GroupVersion) -> Self {
        Self::new(Kind::Stale(group_version), Text::default(), None)
    }

    fn new(kind: Kind, url: Text, source: Option<BoxError>) -> Self {
        Self {
            kind,
            url,
            source: source.map(Arc::from),
        }
    }

    /// The URL of the request, where one was sent.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        Some(self.url.as_str()).filter(|url| !url.is_empty())
    }

    /// The status code that the server answered with.
    #[must_use]
    pub const fn code(&self) -> Option<StatusCode> {
        match self.kind {
            Kind::Status { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Kubernetes' name for the reason of a status, for example `NotFound`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.kind {
            Kind::Status { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// The body of an error answer that kubectl does not take for a `Status` object, if it is text, and otherwise
    /// `unknown`. In client-go it is a cause of the error, of the type `UnexpectedServerResponse`.
    #[must_use]
    pub fn unexpected_response(&self) -> Option<&str> {
        match &self.kind {
            Kind::Status { unexpected, .. } => Some(&**unexpected).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// Whether no answer came.
    #[must_use]
    pub const fn is_transport(&self) -> bool {
        matches!(self.kind, Kind::Transport)
    }

    /// Whether the server said that there is no such thing: by the reason, then by the code.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &self.kind {
            Kind::Status { code, reason, .. } => {
                let by_code = || *code == StatusCode::NOT_FOUND && !REASONS.contains(&&**reason);
                reason == "NotFound" || by_code()
            }
            _ => false,
        }
    }

    /// Whether an aggregated answer marked the group version as stale.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self.kind, Kind::Stale(_))
    }

    /// Whether the group version was listed but has no resources.
    #[must_use]
    pub const fn is_empty_list(&self) -> bool {
        matches!(self.kind, Kind::EmptyList(_))
    }

    /// Whether it may be gone at the next try: no answer, a broken one, 429 or 5xx.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Transport | Kind::CutShort => true,
            Kind::Status { code, .. } => is_transient(*code),
            _ => false,
        }
    }
}

impl Error {
    /// Whether the server has given no answer, or none that says anything about discovery.
    pub(crate) fn is_outage(&self) -> bool {
        self.is_transient() || matches!(self.kind, Kind::Malformed)
    }

    /// Whether client-go's memory cache asks again at once: after 429, 5xx, and a connection that was refused or reset.
    pub(crate) fn may_pass_at_once(&self) -> bool {
        if let Kind::Status { code, .. } = &self.kind {
            return is_transient(*code);
        }
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
                )
            {
                return true;
            }
            source = error.source();
        }
        false
    }
}

/// Whether a status may be another at the next try.
pub(crate) fn is_transient(code: StatusCode) -> bool {
    code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error()
}

/// The reasons that say more than the code.
const REASONS: [&str; 19] = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "StoreReadError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
];

/// Whether client-go takes a status for a success: 200 to 206. It knows no 207, 208 and 226.
///
/// ```
/// use discovery_core::kube::is_success;
/// use http::StatusCode;
///
/// assert!(is_success(StatusCode::OK));
/// assert!(!is_success(StatusCode::MULTI_STATUS));
/// ```
#[must_use]
pub fn is_success(code: StatusCode) -> bool {
    (200..=206).contains(&code.as_u16())
}

/// The error that client-go makes of an answer whose body is no `Status` object.
struct Generic {
    reason: &'static str,
    message: String,
    /// The body, if it is text.
    said: Text,
}

impl Generic {
    fn of(answer: &Response<Bytes>) -> Self {
        let is_text = answer.headers().get(CONTENT_TYPE).is_none_or(|value| {
            let value = value.to_str().unwrap_or_default();
            value.len() >= 5 && value.as_bytes()[..5].eq_ignore_ascii_case(b"text/")
        });
        let body = answer.body();
        let body = String::from_utf8_lossy(&body[..body.len().min(2048)]);
        let said = if is_text { body.trim() } else { "unknown" };
        let (reason, message) = generic(answer.status(), said);
        Self {
            reason,
            message,
            said: said.into(),
        }
    }
}

/// The reason and the message for a status.
fn generic(code: StatusCode, said: &str) -> (&'static str, String) {
    let (reason, message) = match code.as_u16() {
        400 => (
            "BadRequest",
            "the server rejected our request for an unknown reason".into(),
        ),
        401 => (
            "Unauthorized",
            "the server has asked for the client to provide credentials".into(),
        ),
        403 => ("Forbidden", said.to_owned()),
        404 => (
            "NotFound",
            "the server could not find the requested resource".into(),
        ),
        405 => (
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".into(),
        ),
        406 => (
            "NotAcceptable",
            if matches!(said, "" | "unknown") {
                "the server was unable to respond with a content type that the client supports"
                    .into()
            } else {
                said.to_owned()
            },
        ),
        409 => ("Conflict", "the server reported a conflict".into()),
        415 => ("UnsupportedMediaType", said.to_owned()),
        422 => (
            "Invalid",
            "the server rejected our request due to an error in our request".into(),
        ),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".into(),
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request".into(),
        ),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be \
             processing the request"
                .into(),
        ),
        500.. => (
            "InternalError",
            format!("an error on the server ({said:?}) has prevented the request from succeeding"),
        ),
        code => (
            "",
            format!(
                "the server responded with the status code {code} but did not return more \
                 information"
            ),
        ),
    };
    (reason, message)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        match &self.kind {
            Kind::Transport => write!(f, "no answer from {url}"),
            Kind::Status { message, .. } => f.write_str(message),
            Kind::Malformed => write!(f, "the answer from {url} is not a discovery document"),
            Kind::CutShort => write!(f, "the answer from {url} broke off"),
            Kind::TooLarge { limit } => {
                write!(f, "the answer from {url} has more than {limit} bytes")
            }
            Kind::EmptyList(group_version) => {
                write!(f, "received empty response for: {group_version}")
            }
            Kind::Stale(group_version) => {
                write!(f, "stale GroupVersion discovery: {group_version}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

/// Tells the URL in messages: path and query alone would not say which server.
pub(crate) fn url_text(uri: &http::Uri) -> Text {
    // User-info is a secret.
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            let host = host_and_port(authority);
            let target = uri
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str);
            Text::format(format_args!("{scheme}://{host}{target}"))
        }
        _ => Text::format(format_args!("{uri}")),
    }
}
