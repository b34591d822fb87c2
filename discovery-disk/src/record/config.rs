//! The settings of a layer, and the decisions that follow from them alone.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use discovery_core::http::dump::{self, DumpError};
use discovery_core::http::headers::{any_member, host_agrees, is_credential};
use discovery_core::http::uri::{self, Origin, Redacted, RedactedError};
use discovery_core::internal::WarnOnce;
use discovery_core::store::{Store, Value};
use discovery_core::sync::clock::{Clock, SystemClock};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request, response,
};
use tracing::{debug, warn};

use super::Replayed;

type KeyOf = dyn Fn(&request::Parts) -> Option<String> + Send + Sync;

type RecordIf = dyn Fn(&response::Parts) -> bool + Send + Sync;

/// When the store is asked, and when the inner service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The store first, and the inner service for what is not there: the default.
    #[default]
    ReadThrough,
    /// The inner service always; what it answers replaces what is stored. An answer that is not recorded leaves the one
    /// that is stored as it is.
    Record,
    /// The inner service first, and what it answers replaces what is stored. Where it gives no answer, or one of 429 or
    /// 5xx, the store's is told, if there is one.
    Refresh,
    /// The store only. A request that is not there, whatever its method, is answered with
    /// 504 Gateway Timeout, as an HTTP cache answers `only-if-cached`, and with a text that says why. The inner service is
    /// never called, and need not be ready.
    Replay,
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) store: Arc<dyn Store>,
    pub(super) mode: Mode,
    pub(super) max_body_size: u64,
    pub(super) max_age: Option<Duration>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) record_if: Arc<RecordIf>,
    pub(super) key: Key,
    pub(super) credentials: bool,
    pub(super) warnings: Arc<Warnings>,
}

/// How the key of a request is made.
#[derive(Clone)]
pub(super) enum Key {
    /// From the URI, which is completed with the origin if it is relative.
    Uri(Option<Origin>),
    /// By the caller of [`DiskStoreLayer::key`](super::DiskStoreLayer::key).
    Custom(Arc<KeyOf>),
}

/// The warnings of a layer and its clones. Each is given once.
#[derive(Default)]
pub(super) struct Warnings {
    no_host: WarnOnce,
    credentials: WarnOnce,
    store: WarnOnce,
    damage: WarnOnce,
}

impl Config {
    pub(super) fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            mode: Mode::default(),
            max_body_size: 64 * 1024 * 1024,
            max_age: None,
            clock: Arc::new(SystemClock),
            record_if: Arc::new(is_recordable),
            key: Key::Uri(None),
            credentials: false,
            warnings: Arc::default(),
        }
    }

    /// The key of a request's answer in the store, or `None` for a request that takes no part.
    pub(super) fn key_of(&self, parts: &request::Parts, has_content: bool) -> Option<String> {
        // A part of a document is not the document (RFC 9110 §14.2).
        if parts.method != Method::GET || parts.headers.contains_key(header::RANGE) {
            return None;
        }
        // The answer may depend on the content, which is not in the key.
        if has_content || announces_content(&parts.headers) {
            return None;
        }
        // No server has such an address, whatever the client makes of it.
        if uri::port(&parts.uri).is_err() {
            return None;
        }
        // The server may answer for the host in the field, and the key is made from the URI.
        if !self.is_for_its_host(parts) {
            return None;
        }
        let takes_credentials = self.credentials || self.mode == Mode::Replay;
        if !takes_credentials && parts.headers.keys().any(is_credential) {
            self.warnings.credentials();
            return None;
        }
        match &self.key {
            Key::Custom(key) => key(parts),
            // kubectl takes empty segments out of a path before it sends the request; here it goes out as it is.
            Key::Uri(_) if parts.uri.path().contains("//") => None,
            Key::Uri(origin) => {
                let key = uri::cache_key(&parts.method, &parts.uri, origin.as_ref());
                if key.is_none() && parts.uri.authority().is_none() {
                    self.warnings.no_host();
                }
                key
            }
        }
    }

    /// Whether the `Host` field, if there is one, names the server that the key is made for.
    fn is_for_its_host(&self, parts: &request::Parts) -> bool {
        let own = match (parts.uri.scheme(), parts.uri.authority(), &self.key) {
            (Some(scheme), Some(authority), _) => Some((scheme, authority)),
            (_, None, Key::Uri(Some(origin))) => Some((origin.scheme(), origin.authority())),
            _ => None,
        };
        own.is_none_or(|(scheme, authority)| host_agrees(&parts.headers, scheme, authority))
    }

    /// Makes the answer to a request from what the store has `found`. `None` if the request has to be sent.
    pub(super) fn answer(
        &self,
        key: &str,
        found: io::Result<Option<Value>>,
    ) -> Option<Response<Bytes>> {
        let found = found.map(|value| value.filter(|value| !self.has_expired(key, value)));
        match found.map(|value| value.map(|value| dump::decode(&Method::GET, &value))) {
            Ok(Some(Ok(mut response))) => {
                debug!(key = %Redacted::new(key), decision = "replayed");
                response.extensions_mut().insert(Replayed);
                return Some(response);
            }
            Ok(Some(Err(error))) => self.warnings.record_damaged(key, &error),
            Ok(None) => debug!(key = %Redacted::new(key), decision = "miss"),
            Err(error) => self.warnings.store_failed(key, "read", &error),
        }
        match self.mode {
            Mode::Replay => Some(miss(&Method::GET)),
            Mode::ReadThrough | Mode::Record | Mode::Refresh => None,
        }
    }

    fn has_expired(&self, key: &str, value: &Value) -> bool {
        let Some(max_age) = self.max_age else {
            return false;
        };
        // One from ahead is as old as that: the clock was set back since.
        let age = value.stored_at.map(|stored| {
            let age = self.clock.now().duration_since(stored);
            age.unwrap_or_else(|ahead| ahead.duration())
        });
        let has_expired = age.is_none_or(|age| age > max_age);
        if has_expired {
            debug!(key = %Redacted::new(key), decision = "expired", ?age);
        }
        has_expired
    }
}

/// The answer to a request that was never recorded: that of an HTTP cache to a request which it must not send
/// (RFC 9111 §5.2.1.7).
pub(super) fn miss(method: &Method) -> Response<Bytes> {
    const WHY: &str = "this request has no record, and is not sent\n";
    let body = if *method == Method::HEAD { "" } else { WHY };
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let content_type = HeaderValue::from_static("text/plain");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Whether the header says that content follows (RFC 9112 §6.3), or may say so.
fn announces_content(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || !matches!(dump::content_length(headers), Ok(None | Some(0)))
}

impl Warnings {
    fn credentials(&self) {
        const MESSAGE: &str = "requests with credentials are not recorded unless that is allowed";
        if self.credentials.is_first() {
            warn!("{MESSAGE}; further cases are logged at DEBUG");
        } else {
            debug!("{MESSAGE}");
        }
    }

    fn no_host(&self) {
        const MESSAGE: &str = "requests without a host are not recorded: give the layer an origin";
        if self.no_host.is_first() {
            warn!("{MESSAGE}; further cases are logged at DEBUG");
        } else {
            debug!("{MESSAGE}");
        }
    }

    /// The store could not be `read` or `written`.
    pub(super) fn store_failed(&self, key: &str, done: &'static str, error: &io::Error) {
        let error = RedactedError::new(error, key);
        let key = Redacted::new(key);
        if self.store.is_first() {
            warn!(
                %key, %error,
                "the store could not be {done}; further cases are logged at DEBUG"
            );
        } else {
            debug!(%key, %error, "the store could not be {done}");
        }
    }

    /// A value in the store is no response.
    fn record_damaged(&self, key: &str, error: &DumpError) {
        let key = Redacted::new(key);
        if self.damage.is_first() {
            warn!(
                %key, %error,
                "a damaged record is treated as missing; further cases are logged at DEBUG"
            );
        } else {
            debug!(%key, %error, "a damaged record is treated as missing");
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStoreLayer")
            .field("mode", &self.mode)
            .field("max_body_size", &self.max_body_size)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// Which responses [`DiskStoreLayer`](super::DiskStoreLayer) records if nothing else is set: successes but 206 Partial
/// Content, unless they have `Set-Cookie`, `Cache-Control` has `no-store`, or `Vary` names
/// `Authorization`, `Cookie`, `Proxy-Authorization` or an `Impersonate` header. Those are not for
/// everybody who can read the files.
///
/// `Cache-Control: private` is no hindrance: Kubernetes' API servers send it with everything.
///
/// ```
/// use discovery_disk::record::is_recordable;
/// use http::Response;
///
/// let (mut response, ()) = Response::new(()).into_parts();
/// assert!(is_recordable(&response));
/// response.headers.insert("vary", "accept, authorization".parse().unwrap());
/// assert!(!is_recordable(&response));
/// ```
#[must_use]
pub fn is_recordable(response: &response::Parts) -> bool {
    let credential = |name: &[u8]| {
        // No header has a name that is not one.
        HeaderName::from_bytes(name).is_ok_and(|name| is_credential(&name))
    };
    response.status.is_success()
        && response.status != StatusCode::PARTIAL_CONTENT
        && !response.headers.contains_key(header::SET_COOKIE)
        && !any_member(&response.headers, &header::CACHE_CONTROL, |directive| {
            directive.eq_ignore_ascii_case(b"no-store")
        })
        && !any_member(&response.headers, &header::VARY, credential)
}
