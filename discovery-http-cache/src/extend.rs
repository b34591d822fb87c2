//! The decisions of the layer that users can replace: small traits, which closures implement.

use std::sync::Arc;
use std::time::Duration;

use discovery_core::Endpoint;
use discovery_core::http::uri;
use http::{HeaderMap, Method, Uri, request, response};

/// Names the entry for a request.
///
/// Requests with the same key share an entry, within what `Vary` allows. A key that leaves out what
/// tells two resources or two users apart mixes them up.
///
/// ```
/// use discovery_http_cache::{HttpCacheLayer, MapStore};
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
    /// The key for a request with `method` to `uri`, or `None` if the cache is to leave it alone. A key has
    /// no line feed in it.
    ///
    /// `uri` has a scheme and an authority, with which a `Host` field agrees. `method` need not be that of the request which
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

/// Decides which requests the cache may handle. The others pass through untouched.
///
/// Requests for an upgrade, with a body or with conditions on the resource are never answered from the
/// cache, and need not be looked for here. Nor are unsafe requests: the entries that they invalidate are
/// removed in any case.
///
/// ```
/// use discovery_http_cache::{HttpCacheLayer, MapStore};
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

/// Decides for how long a stored response is fresh.
///
/// The other demands of the response and the request stay as they are: a `no-store` response is not stored,
/// and a `no-cache` one is validated each time.
///
/// ```
/// use std::time::Duration;
///
/// use discovery_http_cache::{HttpCacheLayer, MapStore};
/// use http::response::Parts;
///
/// // At least an hour for the description of an API; otherwise as long as the response says.
/// let hour = |key: &str, _: &Parts, said: Duration| {
///     if key.ends_with("/openapi.json") { said.max(Duration::from_secs(3600)) } else { said }
/// };
/// let layer = HttpCacheLayer::new(MapStore::new()).lifetime(hour);
/// ```
pub trait Lifetime: Send + Sync + 'static {
    /// The freshness lifetime (RFC 9111 §4.2.1), which is compared with the age.
    ///
    /// It is called when a response is stored, and once for each entry that is read; the result stays in
    /// memory with the decoded entry.
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

/// Tells which URI a response came from, if a layer below the cache may have followed a redirect.
///
/// A redirect has rules of its own for a cache: a `302` with `no-store` that leads to an immutable document
/// must not become an immutable entry of the first URI. So a layer that follows redirects, such as
/// tower-http's `FollowRedirect`, belongs *outside* of the cache: there the cache sees each step, and stores
/// it under its own URI.
///
/// ```text
/// ServiceBuilder::new()
///     .layer(FollowRedirectLayer::new()) // outside
///     .layer(HttpCacheLayer::new(store))
///     .service(client)
/// ```
///
/// Where the order cannot be changed, most followers tell the last URI, and the cache can be told where to
/// find it. A response from another URI than that of the request is then passed on, and neither stored nor
/// used to update or replace an entry. tower-http's `FollowRedirect` leaves a `RequestUri` among the
/// extensions of the response:
///
/// ```
/// use discovery_http_cache::{HttpCacheLayer, MapStore};
/// use http::Uri;
/// use http::response::Parts;
///
/// // In place of `tower_http::follow_redirect::RequestUri`.
/// #[derive(Clone)]
/// struct RequestUri(Uri);
///
/// let layer = HttpCacheLayer::new(MapStore::new())
///     .response_uri(|response: &Parts| Some(response.extensions.get::<RequestUri>()?.0.clone()));
/// ```
pub trait ResponseUri: Send + Sync + 'static {
    /// The URI that a response came from, absolute or in relation to the request's. `None` if there is no
    /// sign that it is another than the request's.
    fn response_uri(&self, response: &response::Parts) -> Option<Uri>;
}

impl<F> ResponseUri for F
where
    F: Fn(&response::Parts) -> Option<Uri> + Send + Sync + 'static,
{
    fn response_uri(&self, response: &response::Parts) -> Option<Uri> {
        self(response)
    }
}

/// A key of the user's, for URIs with a port that is one.
pub(crate) struct CustomKey(pub(crate) Arc<dyn RequestKey>);

impl RequestKey for CustomKey {
    fn key(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        uri::port(uri).ok()?;
        self.0.key(method, uri, headers)
    }
}

/// The method and the URI. Equivalent URIs have one key (RFC 9110 §4.2.3).
pub(crate) struct UriKey;

impl RequestKey for UriKey {
    fn key(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<String> {
        uri::normalized(method, uri)
    }
}

/// kubectl's keys, for the URIs that kubectl can send. kubectl takes empty segments out of a path before it
/// sends the request; here the request goes out as it is. Such a path has no key, because its answer may be
/// another than that for the path without them.
pub(crate) struct KubectlKey;

impl RequestKey for KubectlKey {
    fn key(&self, method: &Method, uri: &Uri, _: &HeaderMap) -> Option<String> {
        if uri.path().contains("//") {
            return None;
        }
        uri::cache_key(method, uri, None)
    }
}

/// kubectl's preset: the requests of discovery, and no others. All responses of an API server may be stored
/// in a private cache, Secrets included.
pub(crate) struct OnlyDiscovery;

impl Cacheable for OnlyDiscovery {
    fn is_cacheable(&self, request: &request::Parts) -> bool {
        Endpoint::parse(request.uri.path(), "").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(key: &dyn RequestKey, uri: &str) -> Option<String> {
        key.key(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new())
    }

    /// RFC 9110 §4.2.3.
    #[test]
    fn equivalent_uris_have_one_key() {
        for uri in ["http://h/~a", "http://H:80/%7ea", "HTTP://h:/b/../%7Ea"] {
            assert_eq!(keys(&UriKey, uri).unwrap(), "http://h/~a");
            let uri: Uri = uri.parse().unwrap();
            let head = UriKey.key(&Method::HEAD, &uri, &HeaderMap::new()).unwrap();
            assert_eq!(head, "HEAD http://h/~a");
        }
        let usual = "https://u:p@h:6443/a//b?b=2&a=1";
        assert_eq!(keys(&UriKey, usual).unwrap(), usual);
    }

    #[test]
    fn kubectl_keys_are_as_kubectl_makes_them_and_mix_no_paths() {
        let key = |uri| keys(&KubectlKey, uri);
        assert_eq!(
            key("https://H:443/a/./%7e?b&a").unwrap(),
            "https://H:443/a/%7e?a&b"
        );
        assert_eq!(key("https://h").unwrap(), "https://h/");
        for uri in ["https://h/a//b", "https://h//a", "https://h/a//"] {
            assert_eq!(key(uri), None, "{uri}");
        }
    }
}
