//! Markers, which tell callers where a response came from, and `Cache-Status`.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The field that kubectl marks its hits with, and stores with a response that it has revalidated.
pub(crate) const FROM_CACHE: HeaderName = HeaderName::from_static("x-from-cache");

/// Tells the caller of a response where it came from, in the header fields.
///
/// Responses to requests that bypass the cache are marked, too: see [`Outcome::Bypass`].
///
/// ```
/// use discovery_http_cache::{CacheDecision, HttpCacheLayer, MapStore};
/// use http::{HeaderMap, HeaderValue};
///
/// let mark = |decision: &CacheDecision<'_>, headers: &mut HeaderMap| {
///     let value = if decision.outcome.is_from_cache() { "hit" } else { "miss" };
///     headers.insert("x-cache", HeaderValue::from_static(value));
/// };
/// let layer = HttpCacheLayer::new(MapStore::new()).marker(mark);
/// ```
pub trait ResponseMarker: Send + Sync + 'static {
    /// Changes the headers of a response on its way to the caller.
    fn mark(&self, decision: &CacheDecision<'_>, headers: &mut HeaderMap);
}

impl<F> ResponseMarker for F
where
    F: Fn(&CacheDecision<'_>, &mut HeaderMap) + Send + Sync + 'static,
{
    fn mark(&self, decision: &CacheDecision<'_>, headers: &mut HeaderMap) {
        self(decision, headers);
    }
}

/// The cache's decision about a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheDecision<'a> {
    /// Where the response came from.
    pub outcome: Outcome,
    /// Why the request was forwarded, or would have been without another one under way. `None` if it
    /// was not.
    pub forward: Option<Forward>,
    /// The server's status, if the caller gets another.
    pub forward_status: Option<StatusCode>,
    /// For how many more seconds the stored response is fresh. Negative when it is stale.
    pub ttl: Option<i64>,
    /// Whether the server's response is stored, or will be once it has been read.
    pub stored: bool,
    /// Whether the response is the answer to another request (RFC 9211 §2.6).
    pub collapsed: bool,
    /// The key of the entry, if the request has one.
    pub key: Option<&'a str>,
    /// The reason, in words for people. They may change.
    pub reason: &'a str,
}

/// Where a response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// From the cache, without asking the server.
    Hit,
    /// From the cache although it is no longer fresh, because the request or the response allows it.
    Stale,
    /// From the cache, after the server has confirmed it.
    Revalidated,
    /// From the server.
    Miss,
    /// From the server, because the request bypasses the cache.
    Bypass,
    /// From the cache itself: a 504, because the request must not be forwarded (`only-if-cached`).
    Unavailable,
}

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// It bypasses the cache.
    Bypass,
    /// Its method is not one that a cache answers.
    Method,
    /// Nothing is stored for its URI.
    UriMiss,
    /// Something is stored for its URI, but for other requests.
    VaryMiss,
    /// Something is stored and fresh, but the request does not allow its use.
    Request,
    /// The stored response is not fresh.
    Stale,
}

impl Outcome {
    /// Whether the body came from the cache.
    ///
    /// ```
    /// use discovery_http_cache::Outcome;
    ///
    /// assert!(Outcome::Revalidated.is_from_cache());
    /// assert!(!Outcome::Miss.is_from_cache());
    /// ```
    #[must_use]
    pub const fn is_from_cache(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Revalidated)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Forward {
    /// The token in `Cache-Status`.
    ///
    /// ```
    /// assert_eq!(discovery_http_cache::Forward::UriMiss.as_str(), "uri-miss");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

impl CacheDecision<'_> {
    /// A decision with nothing but this.
    pub(crate) fn new(outcome: Outcome, forward: Option<Forward>, reason: &'static str) -> Self {
        Self {
            outcome,
            forward,
            forward_status: None,
            ttl: None,
            stored: false,
            collapsed: false,
            key: None,
            reason,
        }
    }
}

/// Marks responses with `Cache-Status` (RFC 9211): whether the cache answered, or why it did not.
///
/// The marks of caches further in stay in front.
///
/// ```
/// use bytes::Bytes;
/// use discovery_http_cache::{CacheStatus, HttpCacheLayer, MapStore};
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use tower::{Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let server = tower::service_fn(|_: Request<Empty<Bytes>>| async {
///     let response = Response::builder().header("cache-control", "max-age=60");
///     Ok::<_, std::convert::Infallible>(response.body(Full::from("hello")).unwrap())
/// });
/// let status = CacheStatus::new("ExampleCache").unwrap();
/// let service = HttpCacheLayer::new(MapStore::new()).marker(status).layer(server);
///
/// let request = || Request::get("http://example.com/").body(Empty::new()).unwrap();
/// let first = service.clone().oneshot(request()).await.unwrap();
/// assert_eq!(first.headers()["cache-status"], "ExampleCache; fwd=uri-miss; stored");
/// let second = service.clone().oneshot(request()).await.unwrap();
/// let status = second.headers()["cache-status"].to_str().unwrap();
/// assert!(status.starts_with("ExampleCache; hit; ttl="));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct CacheStatus {
    name: Box<str>,
    key: bool,
}

impl CacheStatus {
    /// A marker with this name of the cache, or `None` if the name is no token (RFC 9211 §2).
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_token = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
        is_token.then(|| Self {
            name: name.into(),
            key: false,
        })
    }

    /// Sets whether the entry's key is shown (RFC 9211 §2.7). Off by default, because a key may tell more than the
    /// request's URI does.
    #[must_use]
    pub fn show_key(mut self, show: bool) -> Self {
        self.key = show;
        self
    }

    fn value(&self, decision: &CacheDecision<'_>) -> String {
        use std::fmt::Write;

        let mut value = String::from(&*self.name);
        let written = match decision.forward {
            Some(forward) => write!(value, "; fwd={}", forward.as_str()),
            None if decision.outcome.is_from_cache() => value.write_str("; hit"),
            None => Ok(()),
        }
        .and_then(|()| match decision.forward_status {
            Some(status) => write!(value, "; fwd-status={}", status.as_u16()),
            None => Ok(()),
        })
        .and_then(|()| match decision.ttl {
            Some(ttl) => write!(value, "; ttl={ttl}"),
            None => Ok(()),
        });
        debug_assert!(written.is_ok(), "a string takes all");
        if decision.stored {
            value.push_str("; stored");
        }
        if decision.collapsed {
            value.push_str("; collapsed");
        }
        let mut string = |name: &str, text: &str| {
            if text.bytes().all(|b| (b' '..0x7f).contains(&b)) {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                value.extend(["; ", name, "=\"", &text, "\""]);
            }
        };
        if let (true, Some(key)) = (self.key, decision.key) {
            string("key", key);
        }
        // RFC 9211 §2.8: the reason, where the other parameters do not tell it.
        let unreachable = decision.outcome == Outcome::Stale
            && decision.forward.is_some()
            && decision.forward_status.is_none();
        let bypassed = decision.forward == Some(Forward::Bypass);
        if decision.outcome == Outcome::Unavailable || unreachable || bypassed {
            string("detail", decision.reason);
        }
        value
    }
}

impl ResponseMarker for CacheStatus {
    fn mark(&self, decision: &CacheDecision<'_>, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.value(decision)) {
            // A response with too many headers for one more is none that needs it.
            let _ = headers.try_append(HeaderName::from_static("cache-status"), value);
        }
    }
}

/// kubectl's marker.
pub(crate) struct FromCache;

impl ResponseMarker for FromCache {
    fn mark(&self, decision: &CacheDecision<'_>, headers: &mut HeaderMap) {
        if decision.outcome.is_from_cache() {
            headers.insert(FROM_CACHE, HeaderValue::from_static("1"));
        }
    }
}
