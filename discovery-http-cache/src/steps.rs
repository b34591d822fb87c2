//! The steps of a request through the cache: each decides what comes next.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::flight::Joined;
use discovery_core::store::Value;
use http::{HeaderMap, Request, Response, Uri, request};
use tower_service::Service;
use tracing::debug;

use crate::body::Body;
use crate::cache::{Ask, Cache, Found, Waiting};
use crate::drain::Settle;
use crate::exchange::{Exchange, Lead};
use crate::extend::Outcome;
use crate::future::State;
use crate::policy::stored::Reuse;
use crate::policy::{invalidation, validation};

/// A request that the cache leaves alone.
pub(crate) struct Pass<S, B> {
    pub(crate) inner: S,
    pub(crate) request: Request<B>,
    pub(crate) target: Option<Box<Target>>,
}

/// What an unsafe request is about.
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

/// A request that the cache may answer.
pub(crate) struct Pending<S, B> {
    pub(crate) inner: S,
    /// Whether `inner` is ready.
    pub(crate) ready: bool,
    pub(crate) parts: request::Parts,
    pub(crate) body: B,
    pub(crate) ask: Ask,
}

/// A look into the store.
pub(crate) struct Look<S, B> {
    pub(crate) pending: Pending<S, B>,
    pub(crate) stage: Stage,
    /// How many flights had landed before.
    pub(crate) landings: u64,
}

/// Why a request looks.
pub(crate) enum Stage {
    /// It has just come.
    First,
    /// It leads, and another may have been faster.
    Leading(Lead),
    /// It has waited for another that is done.
    Landed,
}

pub(crate) struct Ready<S, B> {
    pub(crate) pending: Pending<S, B>,
    pub(crate) found: Option<Found>,
    pub(crate) lead: Option<Lead>,
}

pub(crate) type Answer<ResB, E> = Result<Response<Body<ResB>>, E>;

/// What to do next: be in another state, or answer.
#[expect(
    clippy::large_enum_variant,
    reason = "a state moves once; a box would be an allocation for each request"
)]
pub(crate) enum Next<S, B, ResB: http_body::Body, F, E> {
    State(State<S, B, ResB, F, E>),
    Answer(Answer<ResB, E>),
}

/// Looks into the store.
pub(crate) fn look<S, B, ResB: http_body::Body, F, E>(
    cache: &Cache,
    pending: Pending<S, B>,
    stage: Stage,
) -> State<S, B, ResB, F, E> {
    // Before the look: what lands during it may have been missed by it.
    let landings = cache.state.landings();
    State::Looking {
        op: cache.store.get(&pending.ask.key),
        look: Some(Look {
            pending,
            stage,
            landings,
        }),
    }
}

/// Decides by what the store has.
pub(crate) fn looked<S, B, ResB>(
    cache: &Arc<Cache>,
    look: Look<S, B>,
    value: io::Result<Option<Value>>,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let Look {
        pending,
        stage,
        landings,
    } = look;
    let Pending { parts, ask, .. } = &pending;
    let found = cache.found(&ask.key, &parts.method, value);
    let now = cache.now();
    let waited = matches!(stage, Stage::Landed);
    let reuse = found.as_ref().map(|found| {
        let stored = &found.entry.stored;
        stored.reuse(&ask.directives, &parts.headers, now, waited)
    });
    let (found, reason) = match (found, reuse) {
        (Some(found), Some(reuse @ (Reuse::Fresh | Reuse::Shared | Reuse::Stale))) => {
            let outcome = match reuse {
                Reuse::Stale => Outcome::Stale,
                _ => Outcome::Hit,
            };
            let reason = if waited { "coalesced" } else { "found" };
            debug!(key = ask.key, decision = outcome.as_str(), reason);
            match stage {
                Stage::First => {}
                Stage::Landed => cache.state.counters.coalesced.add(),
                Stage::Leading(lead) => lead.land(),
            }
            return Next::Answer(Ok(cache.serve_unasked(found, now, outcome)));
        }
        (found, Some(Reuse::Validate(reason))) => (found, reason),
        // The entry of another variant says nothing about this one.
        (_, Some(_)) => (None, "another variant"),
        (_, None) => (None, "not stored"),
    };
    if ask.directives.only_if_cached {
        debug!(key = ask.key, decision = "unavailable", reason);
        cache.state.counters.misses.add();
        return Next::Answer(Ok(Cache::unavailable()));
    }

    debug!(key = ask.key, decision = "ask", reason);
    match stage {
        Stage::First if ask.shares => join(cache, pending, found, landings),
        Stage::Leading(lead) => go(cache, pending, found, Some(lead)),
        Stage::First | Stage::Landed => go(cache, pending, found, None),
    }
}

/// Leads, or follows another request for the same key.
fn join<S, B, ResB>(
    cache: &Arc<Cache>,
    mut pending: Pending<S, B>,
    found: Option<Found>,
    landings: u64,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let key: Arc<str> = pending.ask.key.as_str().into();
    match cache.state.flights.join(Arc::clone(&key)) {
        Joined::Lead(lead) if cache.state.landings() == landings => {
            go(cache, pending, found, Some(lead))
        }
        Joined::Lead(lead) => Next::State(look(cache, pending, Stage::Leading(lead))),
        Joined::Follow(follow) => {
            debug!(key = pending.ask.key, decision = "wait");
            // While it waits, what the inner service has reserved for it is for others.
            pending.inner = pending.inner.clone();
            pending.ready = false;
            Next::State(State::Following {
                waiting: Waiting::new(follow, Arc::clone(&cache.state), key),
                pending: Some(pending),
                found,
            })
        }
    }
}

/// Asks the inner service, once it is ready.
pub(crate) fn go<S, B, ResB>(
    cache: &Arc<Cache>,
    mut pending: Pending<S, B>,
    found: Option<Found>,
    lead: Option<Lead>,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: http_body::Body<Data = Bytes>,
{
    if !pending.ready {
        return Next::State(State::Readying {
            ready: Some(Ready {
                pending,
                found,
                lead,
            }),
        });
    }
    let Pending {
        ref mut inner,
        mut parts,
        body,
        ask,
        ..
    } = pending;
    let method = parts.method.clone();
    let headers = parts.headers.clone();
    let conditional = found.as_ref().is_some_and(|found| {
        validation::make_conditional(&mut parts.headers, &found.entry.headers)
    });
    let exchange = Exchange {
        ask,
        method,
        headers,
        found,
        conditional,
        asked: cache.now(),
        lead,
    };
    Next::State(State::Asking {
        future: inner.call(Request::from_parts(parts, body)),
        exchange: Some(Box::new(exchange)),
    })
}

/// What is left to do after a request that is none of the cache's business.
pub(crate) fn passed<S, B, ResB, F, E>(
    cache: &Cache,
    target: Option<Box<Target>>,
    result: Result<Response<ResB>, E>,
) -> Next<S, B, ResB, F, E>
where
    ResB: http_body::Body<Data = Bytes>,
{
    let ops = match (&target, &result) {
        (Some(target), Ok(response)) => {
            let uris = invalidation::targets(&target.uri, response.status(), response.headers());
            uris.iter()
                .flat_map(|uri| cache.invalidate(uri, &target.headers))
                .collect()
        }
        _ => Vec::new(),
    };
    let result = result.map(|response| response.map(Body::passed));
    if ops.is_empty() {
        return Next::Answer(result);
    }
    Next::State(State::Settling {
        settle: Some(Settle {
            key: target
                .map(|target| target.uri.to_string())
                .unwrap_or_default(),
            ops,
            lead: None,
            lands: false,
            result,
        }),
    })
}
