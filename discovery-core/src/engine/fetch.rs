//! What happens on a miss.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, Request, Response, StatusCode, request, response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::exchange::exchange;
use super::handle::Counters;
use super::lookup::{Ask, Goal, Shared, status};
use super::{Body, Cache, Collected, Known, Refresh};
use crate::endpoint::with_path;
use crate::failure::{is_transient, url_text};
use crate::flight::{Joined, Lead, Turn};
use crate::plan::{Ticket, take_list};
use crate::store::Op;
use crate::{Accept, Endpoint, Failure, Form, GroupVersion, Plan, Refusal, Snapshot};

type Answer<RB, E> = Result<Response<Body<RB>>, E>;

/// A request that the cache may have to send on.
pub(super) struct Miss<S, B, C> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) ask: Ask,
    pub(super) request: Request<B>,
    /// The service that was waited for, and one that was not.
    pub(super) ready: S,
    pub(super) spare: S,
}

/// The answer to a request of the cache's: as it came, for the caller, and as the plan reads it.
struct Outcome<RB: HttpBody, E> {
    raw: Result<(response::Parts, Collected<RB>), E>,
}

impl<S, B, C, RB> Miss<S, B, C>
where
    C: Cache,
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    B: From<Bytes>,
    RB: HttpBody<Data = Bytes>,
{
    /// Answers once the cache has told what it knows.
    pub(super) async fn after(self, load: Option<Op<Arc<Snapshot>>>) -> Answer<RB, S::Error> {
        if let Some(load) = load {
            let snapshot = load.await;
            if let Some(answer) = self.shared.answer(&self.ask, &snapshot, true) {
                Counters::count(&self.shared.counters.hits);
                return Ok(answer);
            }
        }
        self.run().await
    }

    /// Leads a fetch, or waits for the one that is under way.
    async fn run(mut self) -> Answer<RB, S::Error> {
        let shared = Arc::clone(&self.shared);
        Counters::count(&shared.counters.misses);
        let mut is_ready = true;
        let goal = self.ask.goal();
        let lead = match shared.flights.join(goal.clone()) {
            Joined::Lead(lead) => Some(lead),
            Joined::Follow(follow) => {
                // Whoever waits for another caller must not keep a readiness from it.
                self.ready = self.spare.clone();
                is_ready = false;
                match follow.await {
                    Turn::Lead(lead) => Some(lead),
                    Turn::Released => {
                        if let Some(answer) = shared.recent.error(&goal, &self.ask.endpoint) {
                            return Ok(answer);
                        }
                        return send(&shared, self.ready, is_ready, self.request).await;
                    }
                    Turn::Landed => {
                        let found = match shared.recent.found(&goal) {
                            Some(found) => found,
                            None => shared.cache.load(&self.ask.need()).await,
                        };
                        if let Some(answer) = shared.answer(&self.ask, &found, false) {
                            Counters::count(&shared.counters.coalesced);
                            return Ok(answer);
                        }
                        None
                    }
                }
            }
        };
        match self.ask.list().cloned() {
            Some(group_version) => self.list(group_version, is_ready, lead).await,
            None => self.groups(is_ready, lead).await,
        }
    }

    /// Asks for one list.
    async fn list(
        self,
        group_version: GroupVersion,
        is_ready: bool,
        lead: Option<Lead<Goal>>,
    ) -> Answer<RB, S::Error> {
        let Self {
            shared,
            ask,
            mut request,
            ready,
            spare,
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
                parts.extensions.insert(Known {
                    snapshot,
                    cache,
                    hit: false,
                });
                if let Some(lead) = lead {
                    lead.land();
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
    async fn groups(self, is_ready: bool, lead: Option<Lead<Goal>>) -> Answer<RB, S::Error> {
        let Self {
            shared,
            ask,
            request,
            ready,
            spare,
        } = self;
        let (template, body) = request.into_parts();
        let own = if ask.endpoint == Endpoint::Api {
            Endpoint::Api
        } else {
            Endpoint::Apis
        };
        let accept = if ask.accept.allows(Form::V2Beta1) {
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
            let request = dress(&request, &template, &shared.base, &ask, body);
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
            if let Ok((parts, body)) = &outcome.raw {
                shared
                    .recent
                    .add_error(&ask.goal(), ticket.endpoint(), parts, body);
            }
            if is_own {
                mine = Some(outcome);
            } else if let Err(failure) = &answer {
                tracing::debug!(%failure, "the other half of the groups could not be had");
            }
            plan.feed(ticket, answer);
            // After an error, what is still under way is of no use to anybody.
            if mine.is_some() && plan.is_done() {
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
                    lead.land();
                }
                // The groups are there although the server has no `/api`; the caller that asked for
                // it gets the server's own answer.
                if let Some(outcome) = mine.filter(|mine| ask.endpoint == own && mine.is_error()) {
                    return outcome.into_answer();
                }
                Ok(shared
                    .answer(&ask, &found, false)
                    .unwrap_or_else(not_acceptable))
            }
            Err(failure) => {
                if let Some(lead) = lead {
                    lead.release();
                }
                tracing::debug!(%failure, "the groups could not be had");
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

impl<C: Cache> Shared<C> {
    /// What the caller gets when only the half that it asked for is there, or not even that. `None`
    /// if what came is no answer to the caller's request, which was for something else or in
    /// another form.
    fn alone<RB, E>(
        &self,
        ask: &Ask,
        own: &Endpoint,
        outcome: Outcome<RB, E>,
    ) -> Option<Answer<RB, E>>
    where
        RB: HttpBody<Data = Bytes>,
    {
        let half = outcome
            .to_answer(own.path().into(), self.limit)
            .ok()
            .filter(|answer| answer.status().is_success() && !ask.typed)
            .and_then(|answer| half_snapshot(own, answer));
        if let Some(answer) = half.and_then(|half| self.answer(ask, &half, false)) {
            return Some(Ok(answer));
        }
        let fits = match &outcome.raw {
            Ok((parts, Collected::Whole(_) | Collected::TooLarge(..))) => {
                let form = Form::of(&parts.headers);
                ask.endpoint == *own && ask.accept.allows(form) || outcome.is_error()
            }
            Ok((_, Collected::Broken(..))) | Err(_) => true,
        };
        fits.then(|| outcome.into_answer())
    }
}

impl<RB: HttpBody<Data = Bytes>, E> Outcome<RB, E> {
    /// Whether it is an answer, and one that says that something went wrong.
    fn is_error(&self) -> bool {
        matches!(&self.raw, Ok((parts, _)) if !parts.status.is_success())
    }

    fn to_answer(&self, url: smol_str::SmolStr, limit: usize) -> Result<Response<Bytes>, Failure> {
        match &self.raw {
            Ok((parts, Collected::Whole(body))) => {
                let mut answer = Response::from_parts(parts.clone(), body.clone());
                answer.extensions_mut().insert(crate::plan::AskedUrl(url));
                Ok(answer)
            }
            Ok((_, Collected::TooLarge(..))) => Err(Failure::too_large(url, limit)),
            Ok((_, Collected::Broken(..))) => Err(Failure::cut_short(url, "the body broke off")),
            Err(_) => Err(Failure::transport(url, "the service failed")),
        }
    }

    /// What came, as it came.
    fn into_answer(self) -> Answer<RB, E> {
        let (parts, collected) = self.raw?;
        Ok(Response::from_parts(parts, Body::collected(collected)))
    }
}

/// What one half of the groups tells by itself, read as if the other half were empty.
fn half_snapshot(endpoint: &Endpoint, answer: Response<Bytes>) -> Option<Arc<Snapshot>> {
    let mut plan = Plan::groups();
    let mut answer = Some(answer);
    while let Some((ticket, _)) = plan.next() {
        let answer = if ticket.endpoint() == endpoint {
            answer.take()
        } else {
            empty_half(&ticket)
        };
        plan.feed(ticket, Ok(answer?));
    }
    Some(plan.finish().ok()?.snapshot)
}

fn empty_half(ticket: &Ticket) -> Option<Response<Bytes>> {
    if *ticket.endpoint() == Endpoint::Api {
        return Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Bytes::new())
            .ok();
    }
    let empty = Bytes::from_static(br#"{"kind":"APIGroupDiscoveryList","items":[]}"#);
    let content_type = Form::V2.content_type();
    Response::builder()
        .header(http::header::CONTENT_TYPE, content_type)
        .body(empty)
        .ok()
}

/// An error that the next try would meet again. What a credential can change (401) is none.
fn refusal(answer: &Response<Bytes>) -> Option<Refusal> {
    let status = answer.status();
    let lasting = status.is_client_error()
        && status != StatusCode::UNAUTHORIZED
        && status != StatusCode::REQUEST_TIMEOUT
        && !is_transient(status);
    lasting.then(|| Refusal {
        status,
        content_type: answer.headers().get(http::header::CONTENT_TYPE).cloned(),
        body: answer.body().clone(),
    })
}

/// The caller's request, for another path and with another `Accept`.
fn dress<B>(
    request: &Request<()>,
    template: &request::Parts,
    base: &str,
    ask: &Ask,
    body: B,
) -> Request<B> {
    let path = format!("{base}{}", request.uri().path());
    let mut parts = template.clone();
    parts.uri = with_path(&template.uri, &path);
    readable(&mut parts.headers);
    for (name, value) in request.headers() {
        parts.headers.insert(name, value.clone());
    }
    // Two requests, but one refresh for the caches below.
    if ask.no_cache {
        parts.extensions.insert(Refresh::of(ask.generation));
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
