//! Requests that the cache leaves alone, and what their answers mean for it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::dump::{self, Framing};
use http::{HeaderMap, Method, Request, Response, Uri};
use tracing::debug;

use crate::body::Body;
use crate::cache::Cache;
use crate::drain::Settle;
use crate::policy::request::Bypass;
use crate::policy::{invalidation, storage};
use crate::redact::Redacted;
use crate::sink::{NewEntry, Sink};
use crate::steps::Next;
use crate::tee::Tee;

/// A request that the cache leaves alone.
pub(crate) struct Pass<S, B> {
    pub(crate) inner: S,
    pub(crate) request: Request<B>,
    pub(crate) target: Option<Box<Target>>,
    pub(crate) why: Bypass,
}

/// What an unsafe request is about.
pub(crate) struct Target {
    /// More than one only if it is not certain which one it is.
    pub(crate) uris: Vec<Uri>,
    pub(crate) headers: HeaderMap,
    /// When it was sent, if its answer may be stored for GET.
    pub(crate) stores: Option<SystemTime>,
}

/// What is left to do after a request that is none of the cache's business.
pub(crate) fn passed<S, B, ResB, F, E>(
    cache: &Arc<Cache>,
    target: Option<Box<Target>>,
    why: Bypass,
    result: Result<Response<ResB>, E>,
) -> Next<S, B, ResB, F, E>
where
    ResB: http_body::Body<Data = Bytes>,
{
    let mut ops = Vec::new();
    let result = result.map(|response| {
        let mut response = match &target {
            Some(target) => {
                let (status, headers) = (response.status(), response.headers());
                let named = |uri| invalidation::targets(uri, status, headers);
                for uri in target.uris.iter().flat_map(named) {
                    ops.extend(cache.invalidate(&uri, &target.headers));
                }
                tee(cache, target, response)
            }
            None => response.map(Body::passed),
        };
        let status = response.status();
        cache.mark_passed(why, status, response.headers_mut());
        response
    });
    let key = target.map_or_else(String::new, |target| target.uris[0].to_string());
    if ops.is_empty() {
        return Next::Answer(result);
    }
    Next::State(crate::future::State::Settling {
        settle: Some(Box::new(Settle {
            key,
            ops,
            lead: None,
            lands: false,
            result,
        })),
    })
}

/// Stores the answer to a POST while it is read, if it is what a GET would get
/// (RFC 9110 §9.3.3).
fn tee<B>(cache: &Arc<Cache>, target: &Target, response: Response<B>) -> Response<Body<B>>
where
    B: http_body::Body<Data = Bytes>,
{
    let (now, rules) = (cache.now(), cache.config.rules);
    let (parts, body) = response.into_parts();
    let sink = target.stores.and_then(|asked| {
        let uri = target.uris.first()?;
        let fields = storage::may_store_for_get(uri, &parts, now, rules).ok()?;
        let key = cache.config.key.key(&Method::GET, uri, &target.headers)?;
        let exact = body.size_hint().exact();
        let announced = dump::content_length(&parts.headers).ok()?;
        let expected = announced.or(exact);
        if expected.is_some_and(|size| size > cache.config.max_entry_size) {
            return None;
        }
        let kept = storage::to_store(&parts, &fields, &target.headers, asked, now, rules).ok()?;
        debug!(key = %Redacted::new(&key), decision = "to be stored", reason = "POST");
        let entry = NewEntry {
            epoch: cache.state.epochs.now(&key),
            key,
            method: Method::GET,
            parts: kept,
            framing: Framing::of(&Method::GET, &parts, exact),
            expected,
            replaces: false,
        };
        let sink = Sink::new(Arc::clone(cache), entry);
        Some((sink, expected))
    });
    let body = match sink {
        Some((sink, expected)) => Body::teed(Box::new(Tee::new(body, expected, Box::new(sink)))),
        None => Body::passed(body),
    };
    Response::from_parts(parts, body)
}
