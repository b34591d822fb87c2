//! The steps of a request through the cache: each decides what comes next.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::store::{Op, Value};
use http::{Request, Response, request};
use tower_service::Service;
use tracing::debug;

use crate::body::Body;
use crate::cache::{Ask, Cache, Found};
use crate::crowd::Lead;
use crate::exchange::{Exchange, Step};
use crate::future::State;
use crate::mark::{Forward, Outcome};
use crate::policy::reuse::{Reuse, RevalidateReason};
use crate::policy::validation;
use crate::redact::Redacted;
use crate::share::{behind, join};

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
    /// It has waited under this key for another that is done.
    Landed { key: String },
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

/// Looks into the store when a request has come, and answers it if it can at once. All else is for when
/// the answer is polled: until then nobody may wait for it.
pub(crate) fn first<S, B, ResB: http_body::Body, F, E>(
    cache: &Cache,
    pending: Pending<S, B>,
) -> State<S, B, ResB, F, E> {
    let landings = cache.state.crowds.landings();
    let Pending { parts, ask, .. } = &pending;
    let op = cache.store.get(&ask.key);
    let Op::Ready(value) = op else {
        let stage = Stage::First;
        let look = Look {
            pending,
            stage,
            landings,
        };
        return State::Looking {
            op,
            look: Some(Box::new(look)),
        };
    };
    let now = cache.now();
    let mut found = cache.found(&ask.key, &ask.kept, value, now);
    if let Some(there) = &found {
        let entry = &there.entry;
        let reuse = entry.reuse(&ask.directives, &parts.headers, now, false);
        if let Some(outcome) = reuse.outcome()
            && let Some(found) = found.take()
        {
            let answer = cache.hit(found, outcome, ask, parts, false, now);
            return State::Answered {
                answer: Some(Ok(answer)),
            };
        }
    }
    let look = Look {
        pending,
        stage: Stage::First,
        landings,
    };
    State::Found {
        both: Some(Box::new((look, found))),
    }
}

/// Looks into the store after the wait for another request. That one may have got an answer for all
/// variants, which is stored under the key of the first: so the look starts there.
pub(crate) fn look_again<S, B, ResB>(
    cache: &Arc<Cache>,
    mut pending: Pending<S, B>,
    refreshes: bool,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let ask = &mut pending.ask;
    let key = match ask.first.take() {
        Some(first) => std::mem::replace(&mut ask.key, first),
        None => ask.key.clone(),
    };
    look(cache, pending, Stage::Landed { key }, refreshes)
}

/// Looks into the store again, and decides if that need not be waited for.
pub(crate) fn look<S, B, ResB>(
    cache: &Arc<Cache>,
    pending: Pending<S, B>,
    stage: Stage,
    refreshes: bool,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    // Before the look: what lands during it may have been missed by it.
    let landings = cache.state.crowds.landings();
    let op = cache.store.get(&pending.ask.key);
    let look = Look {
        pending,
        stage,
        landings,
    };
    match op {
        Op::Ready(value) => looked(cache, look, value, refreshes),
        Op::Wait(_) => Next::State(State::Looking {
            op,
            look: Some(Box::new(look)),
        }),
    }
}

/// Makes sense of what the store has, and decides.
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
    let ask = &look.pending.ask;
    let found = cache.found(&ask.key, &ask.kept, value, cache.now());
    decide(cache, look, found, refreshes)
}

/// Decides by what was found.
pub(crate) fn decide<S, B, ResB>(
    cache: &Arc<Cache>,
    look: Look<S, B>,
    found: Option<Found>,
    refreshes: bool,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let Look {
        mut pending,
        stage,
        landings,
    } = look;
    let Pending { parts, ask, .. } = &mut pending;
    let now = cache.now();
    let waited = matches!(stage, Stage::Landed { .. });
    let reuse = found.as_ref().map(|found| {
        let entry = &found.entry;
        entry.reuse(&ask.directives, &parts.headers, now, waited)
    });
    let (found, reason) = match (found, reuse) {
        (Some(found), Some(reuse)) if let Some(outcome) = reuse.outcome() => {
            match stage {
                Stage::First | Stage::Landed { .. } => {}
                // What this caller takes although it is stale, those who wait may not.
                Stage::Leading(lead) if outcome == Outcome::Stale => lead.release(),
                Stage::Leading(lead) => lead.land(),
            }
            let response = cache.hit(found, outcome, ask, parts, waited, now);
            return Next::Answer(Ok(response));
        }
        (Some(found), Some(Reuse::StaleWhileRevalidate))
            if refreshes && !ask.directives.only_if_cached =>
        {
            return behind(cache, pending, found, stage, now);
        }
        (found, Some(Reuse::StaleWhileRevalidate)) => {
            ask.forward = Forward::Stale;
            (found, RevalidateReason::Stale.as_str())
        }
        (found, Some(Reuse::Validate(because))) => {
            let is_fresh = |found: &Found| found.entry.stored.is_fresh(now);
            ask.forward = if because.is_requests() && found.as_ref().is_some_and(is_fresh) {
                Forward::Request
            } else {
                Forward::Stale
            };
            (found, because.as_str())
        }
        (Some(found), Some(_))
            if ask.first.is_none()
                && let Some(key) = found.entry.variant.key(&ask.key, &parts.headers) =>
        {
            ask.forward = Forward::VaryMiss;
            ask.first = Some(std::mem::replace(&mut ask.key, key));
            let stage = match stage {
                // The answer that it has waited for is an answer to this variant.
                Stage::Landed { key } if key == ask.key => Stage::Landed { key },
                Stage::Leading(lead) => {
                    // Nothing has come for those who wait, whose variants may be others.
                    lead.release();
                    Stage::First
                }
                Stage::First | Stage::Landed { .. } => Stage::First,
            };
            return self::look(cache, pending, stage, refreshes);
        }
        (None, _) if let Some(key) = ask.fallback.take() => {
            ask.key = key;
            ask.kept = parts.method.clone();
            ask.first = None;
            // It has not waited for the answers to this method.
            let stage = match stage {
                Stage::Landed { .. } => Stage::First,
                stage => stage,
            };
            return self::look(cache, pending, stage, refreshes);
        }
        // The entry of another variant says nothing about this one.
        (_, Some(_)) => {
            ask.forward = Forward::VaryMiss;
            (None, "another variant")
        }
        (_, None) => (None, "not stored"),
    };
    if ask.directives.only_if_cached {
        debug!(key = %Redacted::new(&ask.key), decision = "unavailable", reason);
        cache.state.counters.misses.add();
        return Next::Answer(Ok(cache.unavailable(&ask.key)));
    }

    debug!(key = %Redacted::new(&ask.key), decision = "ask", reason);
    // There is no point in waiting for an answer that will be for one request only.
    let is_for_others = |found: &Found| found.entry.stored.may_become_shareable();
    match stage {
        Stage::First
            if ask.shares
                && ask.kept == parts.method
                && !cache.state.alone.contains(&ask.key)
                && found.as_ref().is_none_or(is_for_others) =>
        {
            join(cache, pending, found, landings, refreshes)
        }
        Stage::Leading(lead) => go(cache, pending, found, Some(lead)),
        Stage::First | Stage::Landed { .. } => go(cache, pending, found, None),
    }
}

/// The inner service will not be ready, so that the request has failed before it was sent.
pub(crate) fn unsent<S, B, ResB, E>(
    cache: &Arc<Cache>,
    ready: Ready<S, B>,
    error: E,
) -> Step<ResB, E>
where
    ResB: http_body::Body<Data = Bytes>,
{
    let Ready {
        pending: Pending { parts, ask, .. },
        found,
        lead,
    } = ready;
    let exchange = Exchange {
        epoch: cache.state.epochs.now(&ask.key),
        ask,
        method: parts.method,
        headers: parts.headers,
        found,
        conditional: false,
        asked: cache.now(),
        lead,
    };
    Box::new(exchange).answer::<ResB, E>(cache, Err(error))
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
        let ready = Ready {
            pending,
            found,
            lead,
        };
        return Next::State(State::Readying {
            ready: Some(Box::new(ready)),
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
        validation::make_conditional(&mut parts.headers, found.entry.headers())
    });
    let led = lead.as_ref().map(Lead::epoch);
    let exchange = Exchange {
        epoch: match led.filter(|epoch| epoch.is_now()) {
            Some(epoch) => epoch.clone(),
            None => cache.state.epochs.now(&ask.key),
        },
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
