//! The routes of requests, and the requests that the cache does not answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::Body;
use discovery_core::http::dump::{self, Framing};
use discovery_core::http::headers::remove_overridden_length;
use discovery_core::http::uri::Redacted;
use discovery_core::internal::entry_writer::{EntryWriter, NewEntry};
use discovery_core::internal::reserved::Oneshot;
use discovery_core::internal::tee::Reader;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, request};
use http_body::Body as HttpBody;
use tower_service::Service;
use tracing::{debug, warn};

use crate::cache::Cache;
use crate::cache_status::{CacheDecision, Forward, Outcome};
use crate::policy::cache_control::RequestDirectives;
use crate::policy::request::{
    Bypass, Purpose, RequestConstraints, possible_targets, purpose, target_uri,
};
use crate::policy::variants::VariantIndex;
use crate::policy::{invalidation, storage};
use crate::publication::Publication;
use crate::variants::VariantPlace;

/// The way of a request.
pub(crate) enum Route {
    /// To the store first.
    Lookup(Lookup),
    /// Straight to the inner service.
    Bypass(Bypass),
    /// Straight to the inner service, with a change of what is stored.
    Change(Change),
}

/// The place of a request's answer in the store, and what the request allows.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The request's URI, where it has to be known whether the answer came from there.
    pub(crate) target: Option<Box<Uri>>,
    /// The key to look for, and to store under.
    pub(crate) key: String,
    /// The method of the requests whose answers are there. A HEAD is answered from the answer to a GET, too.
    pub(crate) method: Method,
    /// The key to look for next, if nothing is there.
    pub(crate) fallback: Option<String>,
    /// The place among the variants, if `key` is that of another variant than the first.
    pub(crate) variant: Option<Box<VariantPlace>>,
    /// The list of the variants in the store, if the first one is gone.
    pub(crate) list: Option<Box<VariantIndex>>,
    pub(crate) directives: RequestDirectives,
    /// Whether it may wait for the answer to another request.
    pub(crate) may_coalesce: bool,
    /// Whether it has conditions or ranges, to which a stored response has to be narrowed.
    pub(crate) is_selective: bool,
    /// Why the request is forwarded, if it is.
    pub(crate) forward: Forward,
}

/// A change that a request makes in the store.
pub(crate) struct Change {
    reason: Bypass,
    /// A key to remove before the request is sent.
    remove: Option<String>,
    /// The targets that a successful answer invalidates: more than one only if it is not certain which one it is.
    invalidate: Vec<Uri>,
    /// Whether the answer may be stored for GET.
    may_store: bool,
}

/// A request with a [`Change`].
pub(crate) struct Bypassed<S, B> {
    pub(crate) inner: S,
    pub(crate) cache: Arc<Cache>,
    pub(crate) request: Request<B>,
    pub(crate) change: Change,
}

impl Cache {
    /// Decides the way of a request, and counts those that the cache leaves alone.
    pub(crate) fn route(&self, request: &request::Parts, has_content: bool) -> Route {
        let route = self.decide_route(request, has_content);
        let reason = match &route {
            Route::Lookup(_) => return route,
            Route::Bypass(reason) | Route::Change(Change { reason, .. }) => *reason,
        };
        self.state.counters.bypassed.add();
        debug!(
            method = %request.method,
            uri = %Redacted::new(&request.uri.to_string()),
            decision = "bypass",
            reason = reason.as_str()
        );
        route
    }

    fn decide_route(&self, request: &request::Parts, has_content: bool) -> Route {
        let rules = self.config.rules;
        let purpose = match purpose(request, rules) {
            // The answer may depend on the content.
            Purpose::Lookup(_) if has_content => Purpose::Pass(Bypass::RequestBody),
            purpose => purpose,
        };
        let cacheable = self.config.cacheable.as_deref();
        // Unsafe requests invalidate stored responses, whether the cache may look at them or not.
        if purpose != Purpose::Unsafe
            && cacheable.is_some_and(|policy| !policy.is_cacheable(request))
        {
            return Route::Bypass(Bypass::Policy);
        }
        let origin = &self.config.origin;
        let uri = match &purpose {
            Purpose::Lookup(constraints)
                if !constraints.has_host && request.uri.scheme().is_some() =>
            {
                Ok(Cow::Borrowed(&request.uri))
            }
            _ => target_uri(&request.uri, &request.headers, origin),
        };
        let uri = match uri {
            Ok(uri) => uri,
            Err(reason) => {
                if reason == Bypass::RelativeUri && matches!(purpose, Purpose::Lookup(_)) {
                    self.warn_of_relative_uris(&request.uri);
                }
                if purpose != Purpose::Unsafe {
                    return Route::Bypass(reason);
                }
                return Route::Change(Change {
                    reason,
                    remove: None,
                    invalidate: possible_targets(&request.uri, &request.headers, origin),
                    may_store: false,
                });
            }
        };
        let uri = &*uri;
        let key = self.config.key.key(&request.method, uri, &request.headers);

        let (reason, key) = match (purpose, key) {
            (Purpose::Lookup(constraints), Some(key)) => {
                return Route::Lookup(self.lookup(request, uri, key, constraints));
            }
            (Purpose::Lookup(_), None) => return Route::Bypass(Bypass::NoKey),
            (Purpose::Unsafe, key) => {
                let posts = self.config.posts && request.method == Method::POST;
                return Route::Change(Change {
                    reason: Bypass::Method,
                    remove: key.filter(|_| rules.kubectl),
                    invalidate: vec![uri.clone()],
                    // RFC 9111 §5.2.1.5.
                    may_store: posts && !RequestDirectives::parse(&request.headers).no_store,
                });
            }
            (Purpose::Pass(reason), key) => (reason, key),
        };
        let removes = match request.method {
            Method::GET | Method::HEAD => matches!(reason, Bypass::Range | Bypass::NoStore),
            _ => true,
        };
        match key {
            Some(key) if rules.kubectl && removes => Route::Change(Change {
                reason,
                remove: Some(key),
                invalidate: Vec::new(),
                may_store: false,
            }),
            _ => Route::Bypass(reason),
        }
    }

    fn lookup(
        &self,
        request: &request::Parts,
        uri: &Uri,
        key: String,
        constraints: RequestConstraints,
    ) -> Lookup {
        let get = if request.method == Method::HEAD && !self.config.rules.kubectl {
            self.config.key.key(&Method::GET, uri, &request.headers)
        } else {
            None
        };
        let (key, method, fallback) = match get {
            Some(get) => (get, Method::GET, Some(key)),
            None => (key, request.method.clone(), None),
        };
        Lookup {
            target: self
                .config
                .response_uri
                .is_some()
                .then(|| Box::new(uri.clone())),
            key,
            method,
            fallback,
            variant: None,
            list: None,
            may_coalesce: constraints.may_share(),
            is_selective: constraints.is_selective,
            directives: constraints.directives,
            forward: Forward::UriMiss,
        }
    }

    fn warn_of_relative_uris(&self, uri: &Uri) {
        if self.state.relative_uris.is_first() {
            warn!(
                path = %Redacted::new(uri.path()),
                "requests with relative URIs are not cached: \
                 put the cache inside the layer that completes them, or give it an authority"
            );
        }
    }

    /// Marks the answer to a request that the cache leaves alone.
    pub(crate) fn mark_bypassed(
        &self,
        reason: Bypass,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) {
        // The bytes after a switch of protocols are no HTTP.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let forward = match reason {
            Bypass::Method => Forward::Method,
            _ => Forward::Bypass,
        };
        if let Some(marker) = &self.config.marker {
            let decision = CacheDecision::new(Outcome::Bypass, Some(forward), reason.as_str());
            marker.mark(&decision, headers);
        }
    }
}

impl<S, B, ResB> Bypassed<S, B>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: HttpBody<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
{
    /// Sends the request, and makes its change in the store.
    pub(crate) async fn run(self) -> Result<Response<Body<ResB>>, S::Error> {
        let Self {
            inner,
            cache,
            request,
            change,
        } = self;
        if let Some(key) = &change.remove {
            cache.remove(key).await;
        }
        let headers = request.headers().clone();
        let requested = cache.now();
        let response = Oneshot::new(inner, request).await?;

        let status = response.status();
        let named = |uri| invalidation::targets(uri, status, response.headers());
        let invalidated: Vec<Uri> = change.invalidate.iter().flat_map(named).collect();
        cache.invalidate(&invalidated, &headers).await;
        let target = change.invalidate.first().filter(|_| change.may_store);
        let mut response = match target {
            Some(target) => store_for_get(&cache, target, &headers, requested, response),
            None => response.map(Body::passed),
        };
        cache.mark_bypassed(change.reason, status, response.headers_mut());
        Ok(response)
    }
}

/// Stores the answer to a POST while it is read, if a GET would get the same (RFC 9110 §9.3.3).
fn store_for_get<B>(
    cache: &Arc<Cache>,
    target: &Uri,
    request: &HeaderMap,
    requested: SystemTime,
    response: Response<B>,
) -> Response<Body<B>>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (now, rules) = (cache.now(), cache.config.rules);
    let (mut parts, body) = response.into_parts();
    remove_overridden_length(&mut parts.headers);
    let exact = body.size_hint().exact();
    let entry = || {
        let fields = storage::may_store_for_get(target, &parts, now, rules).ok()?;
        let key = cache.config.key.key(&Method::GET, target, request)?;
        let expected = dump::content_length(&parts.headers).ok()?.or(exact);
        if expected.is_some_and(|size| size > cache.config.max_body_size) {
            return None;
        }
        let stored = storage::to_store(&parts, &fields, request, requested, now, rules).ok()?;
        let meta = cache.understand(&key, &stored, fields.directives, now);
        debug!(key = %Redacted::new(&key), decision = "to be stored", reason = "POST");
        Some(NewEntry {
            options: storage::put_options(&stored, &meta, now),
            key,
            method: Method::GET,
            parts: Arc::new(stored),
            framing: Framing::of(&Method::GET, &parts, exact),
            expected,
            max_body_size: cache.config.max_body_size,
        })
    };
    let body = match entry() {
        Some(entry) => {
            let generation = cache.state.generations.current(&entry.key);
            let publication = Publication::new(Arc::clone(cache), generation);
            let store = Arc::clone(&cache.store);
            Body::teed(Reader::new(
                body,
                EntryWriter::new(store, entry, Box::new(publication)),
            ))
        }
        None => Body::passed(body),
    };
    Response::from_parts(parts, body)
}
