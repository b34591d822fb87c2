//! What happens on a miss.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, Request, Response, StatusCode, request};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::ask::{Ask, Goal};
use super::exchange::exchange;
use super::handle::Counters;
use super::lookup::{Shared, status};
use super::outcome::{Outcome, refusal};
use super::{Body, Cache, Collected, ParsedAnswer};
use crate::flight::{FollowerOutcome, Leader, Role};
use crate::key::RedactedError;
use crate::kube::endpoint::with_path;
use crate::kube::error::url_text;
use crate::plan::take_list;
use crate::store::Op;
use crate::{Accept, Endpoint, Format, GroupVersion, Plan, Snapshot};

pub(super) type Answer<RB, E> = Result<Response<Body<RB>>, E>;

/// A request that the cache may have to send on.
pub(super) struct Miss<S, B, C> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) ask: Ask,
    pub(super) request: Request<B>,
    /// The service that was waited for, and one that was not.
    pub(super) ready: S,
    pub(super) spare: S,
    /// What the cache knew, where that was no answer.
    pub(super) known: Option<Arc<Snapshot>>,
    /// What [`Shared::saves`] was before the cache was asked.
    pub(super) saves: u64,
}

impl<S, B, C, RB> Miss<S, B, C>
where
    C: Cache,
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    B: From<Bytes>,
    RB: HttpBody<Data = Bytes>,
{
    /// Answers once the cache has told what it knows.
    pub(super) async fn after(mut self, load: Option<Op<Arc<Snapshot>>>) -> Answer<RB, S::Error> {
        if let Some(load) = load {
            let snapshot = load.await;
            if let Some(answer) = self.shared.answer(&self.ask, &snapshot, true) {
                Counters::count(&self.shared.counters.hits);
                return Ok(answer);
            }
            self.known = Some(snapshot);
        }
        self.run().await
    }

    /// Leads a fetch, or waits for the one that is under way.
    async fn run(mut self) -> Answer<RB, S::Error> {
        let shared = Arc::clone(&self.shared);
        Counters::count(&shared.counters.misses);
        let mut is_ready = true;
        let goal = self.ask.goal();
        let mut lead = None;
        // Whom the result of another's fetch does not help joins once more: of several such callers
        // one asks for all.
        for _ in 0..2 {
            match shared.flights.join(goal.clone()) {
                Role::Leader(new) => lead = Some(new),
                Role::Follower(follow) => {
                    // Whoever waits for another caller must not keep a readiness from it.
                    if std::mem::take(&mut is_ready) {
                        self.ready = self.spare.clone();
                    }
                    match follow.await {
                        FollowerOutcome::Promoted(new) => lead = Some(new),
                        FollowerOutcome::Released => return self.alone(is_ready).await,
                        FollowerOutcome::Completed(()) => {
                            let found = match shared.recent.found(&goal) {
                                Some(found) => found,
                                None => shared.cache.load(&self.ask.need()).await,
                            };
                            if let Some(answer) = shared.answer(&self.ask, &found, false) {
                                Counters::count(&shared.counters.coalesced);
                                return Ok(answer);
                            }
                        }
                    }
                }
            }
            if lead.is_some() {
                break;
            }
        }
        if let Some(took) = lead.take() {
            if let Some(answer) = self.look_again().await {
                Counters::count(&shared.counters.coalesced);
                took.complete_with(());
                return Ok(answer);
            }
            lead = Some(took);
        }
        match self.ask.list().cloned() {
            Some(group_version) => self.list(group_version, is_ready, lead).await,
            None => self.groups(is_ready, lead).await,
        }
    }

    /// What another caller has fetched between this one's look at the cache and its taking the lead.
    async fn look_again(&mut self) -> Option<Response<Body<RB>>> {
        let shared = &self.shared;
        if shared.saves() == self.saves {
            return None;
        }
        let snapshot = shared.load(&self.ask)?.await;
        let answer = shared.answer(&self.ask, &snapshot, true);
        if answer.is_none() {
            self.known = Some(snapshot);
        }
        answer
    }

    /// After another caller's fetch has failed.
    async fn alone(self, is_ready: bool) -> Answer<RB, S::Error> {
        let Self {
            shared,
            ask,
            request,
            ready,
            known,
            ..
        } = self;
        if let Some(answer) = shared.last_resort(&ask, known.as_ref()) {
            return Ok(answer);
        }
        if let Some(answer) = shared.recent.error(&ask.goal(), &ask.endpoint) {
            return Ok(answer);
        }
        send(&shared, ready, is_ready, request).await
    }

    /// Asks for one list.
    async fn list(
        self,
        group_version: GroupVersion,
        is_ready: bool,
        lead: Option<Leader<Goal>>,
    ) -> Answer<RB, S::Error> {
        let Self {
            shared,
            ask,
            mut request,
            ready,
            spare,
            ..
        } = self;
        drop(spare);
        readable(request.headers_mut());
        Counters::count(&shared.counters.sent);
        let (mut parts, collected) = match exchange(ready, is_ready, request, shared.limit).await {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(lead) = lead {
                    lead.release();
                }
                return Err(error);
            }
        };
        let mut snapshot = Snapshot::default();
        if let Collected::Whole(body) = &collected {
            let answer = Response::from_parts(parts.clone(), body.clone());
            let useful = match take_list(&group_version, &answer) {
                Ok(list) => {
                    snapshot.insert_shared(&group_version, list);
                    true
                }
                Err(_) => match refusal(&answer) {
                    Some(refusal) => {
                        snapshot.refuse(&group_version, refusal);
                        true
                    }
                    None => false,
                },
            };
            if useful {
                let snapshot = Arc::new(snapshot);
                shared.keep(&ask, &snapshot).await;
                let cache = shared.cache.name();
                parts.extensions.insert(ParsedAnswer {
                    snapshot,
                    cache,
                    hit: false,
                });
                if let Some(lead) = lead {
                    lead.complete_with(());
                }
                return Ok(Response::from_parts(parts, Body::collected(collected)));
            }
        }
        if let Some(lead) = lead {
            lead.release();
        }
        Ok(Response::from_parts(parts, Body::collected(collected)))
    }

    /// Asks for the groups: `/api` and `/apis` at the same time.
    async fn groups(self, is_ready: bool, lead: Option<Leader<Goal>>) -> Answer<RB, S::Error> {
        let Self {
            shared,
            ask,
            request,
            ready,
            spare,
            known,
            ..
        } = self;
        if lead.is_some() {
            shared.recent.begin(&ask.goal());
        }
        let (template, body) = request.into_parts();
        let base = shared.base_of(&template.uri).unwrap_or_default().to_owned();
        let own = if ask.endpoint == Endpoint::Api {
            Endpoint::Api
        } else {
            Endpoint::Apis
        };
        let accept = if ask.accept.allows(Format::V2Beta1) {
            Accept::WITH_V2BETA1
        } else {
            Accept::KUBECTL
        };
        let mut plan = Plan::groups().accept(accept);
        let (mut ready, mut body) = (Some(ready), Some(body));
        let mut under_way = FuturesUnordered::new();
        while let Some((ticket, request)) = plan.next() {
            Counters::count(&shared.counters.sent);
            let is_own = *ticket.endpoint() == own;
            // The caller's body goes with the caller's request.
            let body = body
                .take_if(|_| is_own)
                .unwrap_or_else(|| Bytes::new().into());
            let request = dress(&request, &template, &base, body);
            let url = url_text(request.uri());
            let (service, is_ready) = ready
                .take()
                .map_or_else(|| (spare.clone(), false), |ready| (ready, is_ready));
            let limit = shared.limit;
            under_way.push(async move {
                let raw = exchange(service, is_ready, request, limit).await;
                (ticket, url, Outcome { raw })
            });
        }
        let mut mine = None;
        while let Some((ticket, url, outcome)) = under_way.next().await {
            let is_own = *ticket.endpoint() == own;
            let answer = outcome.to_answer(url, shared.limit);
            if let (Some(_), Ok((parts, body))) = (&lead, &outcome.raw) {
                shared
                    .recent
                    .add_error(&ask.goal(), ticket.endpoint(), parts, body);
            }
            if is_own {
                mine = Some(outcome);
            } else if let Err(failure) = &answer {
                tracing::debug!(failure = %RedactedError::new(failure, ""), "the other half of the groups could not be had");
            }
            plan.feed(ticket, answer);
            // After an error, what is still under way is of no use to anybody.
            if mine.is_some() && (plan.is_done() || plan.has_failed()) {
                break;
            }
        }
        drop(under_way);
        match plan.finish() {
            Ok(discovered) => {
                let mut found = discovered.snapshot;
                if !found.stale().is_empty() && !shared.cache.tells_stale() {
                    Arc::make_mut(&mut found).set_stale(Vec::new());
                }
                shared.keep(&ask, &found).await;
                if let Some(lead) = lead {
                    lead.complete_with(());
                }
                // The groups are there although the server has no `/api`; the caller that asked for
                // it gets the server's own answer.
                if let Some(outcome) = mine.filter(|mine| ask.endpoint == own && mine.is_error()) {
                    return outcome.into_answer();
                }
                // A cache below may have told the groups alone, as its last resort.
                Ok(shared
                    .answer(&ask, &found, false)
                    .or_else(|| shared.last_resort(&ask, Some(&found)))
                    .unwrap_or_else(not_acceptable))
            }
            Err(failure) => {
                if let Some(lead) = lead {
                    lead.release();
                }
                tracing::debug!(failure = %RedactedError::new(&failure, ""), "the groups could not be had");
                if let Some(answer) = shared.last_resort(&ask, known.as_ref()) {
                    return Ok(answer);
                }
                let answer = mine.and_then(|mine| shared.alone(&ask, &own, mine));
                if let Some(answer) = answer {
                    return answer;
                }
                let request = Request::from_parts(template, Bytes::new().into());
                send(&shared, spare, false, request).await
            }
        }
    }
}

/// Sends the caller's request alone: what others could use, they would have got by now.
async fn send<S, B, C, RB>(
    shared: &Shared<C>,
    mut service: S,
    is_ready: bool,
    request: Request<B>,
) -> Answer<RB, S::Error>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: HttpBody<Data = Bytes>,
{
    Counters::count(&shared.counters.sent);
    if !is_ready {
        poll_fn(|cx| service.poll_ready(cx)).await?;
    }
    Ok(service.call(request).await?.map(Body::inner))
}

/// The caller's request, for another path and with another `Accept`.
fn dress<B>(request: &Request<()>, template: &request::Parts, base: &str, body: B) -> Request<B> {
    let path = format!("{base}{}", request.uri().path());
    let mut parts = template.clone();
    parts.uri = with_path(&template.uri, &path);
    readable(&mut parts.headers);
    for (name, value) in request.headers() {
        parts.headers.insert(name, value.clone());
    }
    Request::from_parts(parts, body)
}

/// The cache can't read what is compressed. What is below may ask for that itself and undo it.
fn readable(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_ENCODING);
}

fn not_acceptable<RB: HttpBody<Data = Bytes>>() -> Response<Body<RB>> {
    status(
        StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    )
}
