//! The steps of a request through the cache: each decides what comes next.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::flight::Joined;
use discovery_core::store::Value;
use http::{Request, Response, header, request};
use tower_service::Service;
use tracing::debug;

use crate::body::Body;
use crate::cache::{Ask, Cache, Found, Waiting};
use crate::exchange::{Exchange, Lead};
use crate::extend::Outcome;
use crate::future::State;
use crate::policy::stored::Reuse;
use crate::policy::validation;

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
pub(crate) enum Next<S, B, ResB: http_body::Body, F, E> {
    State(State<S, B, ResB, F, E>),
    Answer(Answer<ResB, E>),
    /// Both: the state is for a future of its own.
    Refresh(State<S, B, ResB, F, E>, Answer<ResB, E>),
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
    refreshes: bool,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let Look {
        mut pending,
        mut stage,
        landings,
    } = look;
    let Pending { parts, ask, .. } = &mut pending;
    let found = cache.found(&ask.key, &ask.kept, value);
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
            let request = (&parts.method, &parts.headers);
            return Next::Answer(Ok(cache.serve_unasked(found, now, outcome, request)));
        }
        (Some(found), Some(Reuse::StaleWhileRevalidate))
            if refreshes && !ask.directives.only_if_cached =>
        {
            return behind(cache, pending, found, stage, now);
        }
        (found, Some(Reuse::StaleWhileRevalidate)) => (found, "stale"),
        (found, Some(Reuse::Validate(reason))) => (found, reason),
        (Some(found), Some(_))
            if ask.first.is_none()
                && let Some(key) = found.entry.stored.other_variant(&ask.key, &parts.headers) =>
        {
            ask.first = Some(std::mem::replace(&mut ask.key, key));
            if let Stage::Leading(lead) = std::mem::replace(&mut stage, Stage::First) {
                // Those who wait look again, too.
                lead.land();
            }
            return Next::State(self::look(cache, pending, stage));
        }
        (None, _) if let Some(key) = ask.fallback.take() => {
            ask.key = key;
            ask.kept = parts.method.clone();
            ask.first = None;
            return Next::State(self::look(cache, pending, stage));
        }
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
        Stage::First if ask.shares && ask.kept == parts.method => {
            join(cache, pending, found, landings)
        }
        Stage::Leading(lead) => go(cache, pending, found, Some(lead)),
        Stage::First | Stage::Landed => go(cache, pending, found, None),
    }
}

/// Answers with what is stale, and validates it behind, unless somebody does.
fn behind<S, B, ResB>(
    cache: &Arc<Cache>,
    mut pending: Pending<S, B>,
    found: Found,
    stage: Stage,
    now: SystemTime,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let key = &pending.ask.key;
    debug!(key, decision = "stale", reason = "validated behind");
    let request = (&pending.parts.method, &pending.parts.headers);
    let answer = Ok(cache.serve_unasked(found.clone(), now, Outcome::Stale, request));
    let lead = match stage {
        Stage::Leading(lead) => lead,
        Stage::First | Stage::Landed => match cache.state.flights.join(key.as_str().into()) {
            Joined::Lead(lead) => lead,
            Joined::Follow(_) => return Next::Answer(answer),
        },
    };
    // The answer is for the cache: all of it.
    for name in [
        header::RANGE,
        header::IF_RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ] {
        pending.parts.headers.remove(name);
    }
    // It is sent by the refresh: here the caller waits.
    let ready = Ready {
        pending,
        found: Some(found),
        lead: Some(lead),
    };
    let state = State::Readying { ready: Some(ready) };
    Next::Refresh(state, answer)
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
