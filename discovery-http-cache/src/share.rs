//! The steps of a request beside others for the same key: who asks for all, who waits, and who need not.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use tower_service::Service;
use tracing::debug;

use crate::cache::{Cache, Found};
use crate::crowd::Place;
use crate::epoch::Epoch;
use crate::future::State;
use crate::mark::{Forward, Outcome, Report};
use crate::redact::Redacted;
use crate::steps::{Next, Pending, Ready, Stage, go, look};

/// Answers with what is stale, and validates it behind, unless somebody does.
pub(crate) fn behind<S, B, ResB>(
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
    let reason = "validated behind";
    debug!(key = %Redacted::new(key), decision = "stale", reason);
    let report = Report::new(Outcome::Stale, None, reason);
    let request = pending.ask.asked(&pending.parts);
    let answer = Ok(cache.serve_unasked(found.clone(), now, key, report, request));
    let epoch = cache.state.epochs.now(key);
    let lead = match stage {
        Stage::Leading(lead) => lead,
        Stage::First | Stage::Landed { .. } => match cache.state.crowds.join(key, epoch) {
            Place::Lead(lead) => lead,
            Place::Follow(_) => return Next::Answer(answer),
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
    pending.ask.forward = Forward::Stale;
    pending.ask.is_selective = false;
    let ready = Ready {
        pending,
        found: Some(found),
        lead: Some(lead),
    };
    let state = State::Readying {
        ready: Some(Box::new(ready)),
    };
    Next::Refresh(state, answer)
}

/// Leads, or follows another request for the same key.
pub(crate) fn join<S, B, ResB>(
    cache: &Arc<Cache>,
    mut pending: Pending<S, B>,
    found: Option<Found>,
    landings: u64,
    refreshes: bool,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>> + Clone,
    ResB: http_body::Body<Data = Bytes>,
{
    let epoch = cache.state.epochs.now(&pending.ask.key);
    match cache.state.crowds.join(&pending.ask.key, epoch) {
        Place::Lead(lead) if cache.state.crowds.landings() == landings => {
            go(cache, pending, found, Some(lead))
        }
        Place::Lead(lead) => look(cache, pending, Stage::Leading(lead), refreshes),
        Place::Follow(follower) => {
            debug!(key = %Redacted::new(&pending.ask.key), decision = "wait");
            // While it waits, what the inner service has reserved for it is for others.
            pending.inner = pending.inner.clone();
            pending.ready = false;
            let patience = cache.config.patience.as_ref();
            Next::State(State::Following {
                follower: Box::new(follower),
                timeout: patience.map(|patience| patience.timer.sleep(patience.limit)),
                pending: Some(Box::new(pending)),
                found,
            })
        }
    }
}

/// The server has failed, says another request. What is stale is taken if it may be: else this request
/// asks, too.
pub(crate) fn failed<S, B, ResB>(
    cache: &Arc<Cache>,
    pending: Pending<S, B>,
    found: Option<Found>,
    status: Option<StatusCode>,
    epoch: &Epoch,
) -> Next<S, B, ResB, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: http_body::Body<Data = Bytes>,
{
    let (now, rules) = (cache.now(), cache.config.rules);
    let ask = &pending.ask;
    let may_stand_in = |found: &Found| {
        let stored = &found.entry.stored;
        stored.replaces_error(status, &ask.directives, now, rules)
    };
    match found {
        // Found before the wait: it may have been invalidated.
        Some(found) if may_stand_in(&found) && epoch.is_now() => {
            let reason = status.map_or("unreachable", |_| "server error");
            debug!(key = %Redacted::new(&ask.key), decision = "stale", reason);
            cache.state.counters.coalesced.add();
            let mut report = Report::new(Outcome::Stale, Some(ask.forward), reason);
            report.forward_status = status;
            report.collapsed = true;
            let request = ask.asked(&pending.parts);
            let response = cache.serve_unasked(found, now, &ask.key, report, request);
            Next::Answer(Ok(response))
        }
        found => go(cache, pending, found, None),
    }
}
