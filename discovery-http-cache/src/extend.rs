//! What a user of the layer can replace: small traits, which closures implement.

use discovery_core::key;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};

use crate::policy::storing::FROM_CACHE;

/// Names the entry for a request.
///
/// Requests with the same key share an entry, within what `Vary` allows. A key that leaves out what
/// tells two resources or two users apart mixes them up.
///
/// ```
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::HttpCacheLayer;
/// use http::{HeaderMap, Method, Uri};
///
/// // One cache for the users of a cluster, with entries for each of them.
/// let by_user = |method: &Method, uri: &Uri, headers: &HeaderMap| {
///     let user = headers.get("impersonate-user")?.to_str().ok()?;
///     Some(format!("{user} {method} {uri}"))
/// };
/// let layer = HttpCacheLayer::new(MapStore::new()).key(by_user);
/// ```
pub trait RequestKey: Send + Sync + 'static {
    /// The key for a request with `method` to `uri`, or `None` if the cache is to leave it alone.
    ///
    /// `uri` has a scheme and an authority. `method` need not be that of the request which
    /// `headers` are from: after a POST, the keys for GET and HEAD are asked for to remove their
    /// entries.
    fn key(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String>;
}

impl<F> RequestKey for F
where
    F: Fn(&Method, &Uri, &HeaderMap) -> Option<String> + Send + Sync + 'static,
{
    fn key(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        self(method, uri, headers)
    }
}

/// Says which requests are the cache's business. The others pass through untouched.
///
/// Requests for an upgrade, with a body, with a range or with conditions are never cached, and need
/// not be looked for here.
///
/// ```
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::HttpCacheLayer;
/// use http::request::Parts;
///
/// let layer = HttpCacheLayer::new(MapStore::new())
///     .cacheable(|request: &Parts| request.uri.path().starts_with("/openapi/"));
/// ```
pub trait Cacheable: Send + Sync + 'static {
    /// Whether the cache may look at this request.
    fn is_cacheable(&self, request: &request::Parts) -> bool;
}

impl<F> Cacheable for F
where
    F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
{
    fn is_cacheable(&self, request: &request::Parts) -> bool {
        self(request)
    }
}

/// Marks a response with where it came from. Responses to requests that are not the cache's
/// business are not marked.
///
/// ```
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::{HttpCacheLayer, Outcome};
/// use http::{HeaderMap, HeaderValue};
///
/// let mark = |outcome: Outcome, headers: &mut HeaderMap| {
///     let value = if outcome.is_from_cache() { "hit" } else { "miss" };
///     headers.insert("x-cache", HeaderValue::from_static(value));
/// };
/// let layer = HttpCacheLayer::new(MapStore::new()).marker(mark);
/// ```
pub trait Marker: Send + Sync + 'static {
    /// Changes the headers of a response on its way to the caller.
    fn mark(&self, outcome: Outcome, headers: &mut HeaderMap);
}

impl<F> Marker for F
where
    F: Fn(Outcome, &mut HeaderMap) + Send + Sync + 'static,
{
    fn mark(&self, outcome: Outcome, headers: &mut HeaderMap) {
        self(outcome, headers);
    }
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
        !matches!(self, Self::Miss)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
        }
    }
}

/// Marks responses with `Cache-Status` (RFC 9211): whether the cache answered, or why it did not.
///
/// What caches further in have said is kept, in front.
///
/// ```
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::{CacheStatus, HttpCacheLayer, Marker, Outcome};
/// use http::HeaderMap;
///
/// let status = CacheStatus::new("ExampleCache").unwrap();
/// let mut headers = HeaderMap::new();
/// status.mark(Outcome::Revalidated, &mut headers);
/// assert_eq!(headers["cache-status"], "ExampleCache; fwd=stale; fwd-status=304");
/// let layer = HttpCacheLayer::new(MapStore::new()).marker(status);
/// ```
#[derive(Clone, Debug)]
pub struct CacheStatus {
    hit: HeaderValue,
    revalidated: HeaderValue,
    miss: HeaderValue,
}

impl CacheStatus {
    /// A mark under the cache's name, or `None` if the name is no token.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_token = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~*!:/".contains(&b));
        let value = |parameters| HeaderValue::try_from(format!("{name}; {parameters}")).ok();
        is_token.then_some(())?;
        Some(Self {
            hit: value("hit")?,
            revalidated: value("fwd=stale; fwd-status=304")?,
            miss: value("fwd=miss")?,
        })
    }
}

impl Marker for CacheStatus {
    fn mark(&self, outcome: Outcome, headers: &mut HeaderMap) {
        let value = match outcome {
            Outcome::Hit | Outcome::Stale => &self.hit,
            Outcome::Revalidated => &self.revalidated,
            Outcome::Miss => &self.miss,
        };
        headers.append(HeaderName::from_static("cache-status"), value.clone());
    }
}

/// The method and the URI as they are.
pub(crate) struct ExactKey;

impl RequestKey for ExactKey {
    fn key(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<String> {
        Some(match *method {
            Method::GET => uri.to_string(),
            _ => format!("{method} {uri}"),
        })
    }
}

/// kubectl's keys.
pub(crate) struct KubectlKey;

impl RequestKey for KubectlKey {
    fn key(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<String> {
        key::of(method, uri, None)
    }
}

/// kubectl's mark.
pub(crate) struct FromCache;

impl Marker for FromCache {
    fn mark(&self, outcome: Outcome, headers: &mut HeaderMap) {
        if outcome.is_from_cache() {
            headers.insert(FROM_CACHE, HeaderValue::from_static("1"));
        }
    }
}

/// Kubernetes' streams, which end when the server or the client wants them to.
pub(crate) struct NoWatch;

impl Cacheable for NoWatch {
    fn is_cacheable(&self, request: &request::Parts) -> bool {
        let is_stream = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            matches!(name, "watch" | "follow") && !matches!(value, "false" | "0")
        };
        !request
            .uri
            .query()
            .is_some_and(|query| query.split('&').any(is_stream))
    }
}
