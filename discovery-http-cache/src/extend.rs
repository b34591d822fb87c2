//! What a user of the layer can replace: small traits, which closures implement.

use std::time::Duration;

use discovery_core::{Endpoint, key};
use http::{HeaderMap, Method, Uri, request, response};

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
/// Requests for an upgrade, with a body or with conditions on the resource are never answered from the
/// cache, and need not be looked for here. Nor are unsafe requests: what they invalidate is removed
/// whatever this says.
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

/// Says for how long a stored response is fresh.
///
/// What the response and the request say otherwise stays as it is: what is `no-store` is not stored,
/// what is `no-cache` is validated each time.
///
/// ```
/// use std::time::Duration;
///
/// use discovery_core::store::MapStore;
/// use discovery_http_cache::HttpCacheLayer;
/// use http::response::Parts;
///
/// // At least an hour for what an API tells about itself; for the rest, what the response says.
/// let hour = |key: &str, _: &Parts, said: Duration| {
///     if key.ends_with("/openapi.json") { said.max(Duration::from_secs(3600)) } else { said }
/// };
/// let layer = HttpCacheLayer::new(MapStore::new()).lifetime(hour);
/// ```
pub trait Lifetime: Send + Sync + 'static {
    /// The freshness lifetime (RFC 9111 §4.2.1), which is compared with the age.
    ///
    /// It is asked for when a response is stored, and once for each entry that is read; what it says is
    /// kept in memory with the decoded entry.
    ///
    /// `key` is that of the entry: the URI, unless [another key](RequestKey) was chosen. `stored`
    /// is the response as it is stored, `said` the lifetime by `max-age`, `Expires` or heuristics.
    fn lifetime(&self, key: &str, stored: &response::Parts, said: Duration) -> Duration;
}

impl<F> Lifetime for F
where
    F: Fn(&str, &response::Parts, Duration) -> Duration + Send + Sync + 'static,
{
    fn lifetime(&self, key: &str, stored: &response::Parts, said: Duration) -> Duration {
        self(key, stored, said)
    }
}

/// The method and the URI as they are. GET goes without saying.
pub(crate) struct ExactKey;

impl RequestKey for ExactKey {
    fn key(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<String> {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        let method = match *method {
            Method::GET => ["", ""],
            _ => [method.as_str(), " "],
        };
        let query = uri.query().map_or(["", ""], |query| ["?", query]);
        let parts = [method, [scheme, "://"], [authority, uri.path()], query];
        Some(parts.as_flattened().concat())
    }
}

/// kubectl's keys.
pub(crate) struct KubectlKey;

impl RequestKey for KubectlKey {
    fn key(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<String> {
        key::of(method, uri, None)
    }
}

/// kubectl's preset: what discovery asks for. All that an API server sends may be stored in a
/// private cache, Secrets included.
pub(crate) struct OnlyDiscovery;

impl Cacheable for OnlyDiscovery {
    fn is_cacheable(&self, request: &request::Parts) -> bool {
        Endpoint::parse(request.uri.path(), "").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_keys_are_what_was_asked_for() {
        let uris = [
            "http://host/",
            "https://u:p@Host:6443/a//b/../c?b=2&a=1",
            "http://host?a=1",
            "http://[::1]:80/?",
        ];
        for uri in uris {
            let uri: Uri = uri.parse().unwrap();
            let key = |method| ExactKey.key(&method, &uri, &HeaderMap::new()).unwrap();
            assert_eq!(key(Method::GET), uri.to_string());
            assert_eq!(key(Method::HEAD), format!("HEAD {uri}"));
        }
    }
}
