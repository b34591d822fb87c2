//! Fetches: the requests that are sent on a miss, and the use of their answers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode, request, response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::request::{DiscoveryRequest, FlightKey};
use super::state::{Cache, Counters, ErrorAnswer, Inner, Landing, status};
use crate::http::body::Body;
use crate::http::exchange::{Collected, exchange};
use crate::http::uri::RedactedError;
use crate::internal::reserved::Oneshot;
use crate::kube::endpoint::with_path;
use crate::kube::error::{is_transient, url_text};
use crate::kube::extensions::ParsedAnswer;
use crate::kube::plan::{AskedUrl, Ticket, take_list};
use crate::store::Op;
use crate::sync::single_flight::{FollowerOutcome, Leader, Role};
use crate::{
    Accept, BoxError, Endpoint, Error, Format, GroupVersion, NegativeAnswer, Plan, Snapshot,
};

type Answered<RB, E> = Result<Response<Body<RB>>, E>;

type Lead = Leader<FlightKey, Landing>;

/// A request that the cache may have to send on.
pub(super) struct Miss<S, B, C> {
    pub(super) inner: Arc<Inner<C>>,
    pub(super) discovery: DiscoveryRequest,
    pub(super) request: Request<B>,
    /// Cloned for each request; each clone is made ready and then called.
    pub(super) service: S,
    /// The documents that the cache knew, where they were no answer.
    pub(super) known: Option<Arc<Snapshot>>,
    /// The value of [`Inner::saves`] before the cache was asked.
    pub(super) saves: u64,
}

/// The answer to one request, as it came.
struct Exchanged<RB: HttpBody, E>(Result<(response::Parts, Collected<RB>), E>);

impl<S, B, C, RB> Miss<S, B, C>
where
    C: Cache,
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    B: From<Bytes>,
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    /// Answers from the cache once it has loaded, and otherwise from a fetch.
    pub(super) async fn answer(
        mut self,
        load: Option<Op<Arc<Snapshot>>>,
    ) -> Answered<RB, S::Error> {
        let cache = self.inner.cache.name();
        let mut reason = match &self.known {
            Some(_) => "its documents are not known",
            None => "the request asks for a fetch",
        };
        if let Some(load) = load {
            let snapshot = load.await;
            if let Some(answer) = self.inner.answer(&self.discovery, &snapshot, true) {
                Counters::count(&self.inner.counters.hits);
                tracing::debug!(cache, decision = "hit", path = %self.path());
                return Ok(answer);
            }
            self.known = Some(snapshot);
            reason = "its documents are not known";
        }
        Counters::count(&self.inner.counters.misses);
        tracing::debug!(cache, decision = "miss", reason, path = %self.path());
        self.coalesce().await
    }

    fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Leads a fetch, or waits for the one that is under way.
    async fn coalesce(mut self) -> Answered<RB, S::Error> {
        let inner = Arc::clone(&self.inner);
        let cache = inner.cache.name();
        let key = self.discovery.flight_key();
        // A caller that the result of another's fetch does not help joins once more: of several such callers
        // one asks for all.
        for _ in 0..2 {
            let leader = match inner.flights.join(key.clone()) {
                Role::Leader(leader) => leader,
                Role::Follower(follower) => {
                    let reason = "another request fetches its documents";
                    tracing::debug!(cache, decision = "wait", reason, path = %self.path());
                    match follower.await {
                        FollowerOutcome::Promoted(leader) => leader,
                        FollowerOutcome::Released => return self.alone(&[]).await,
                        FollowerOutcome::Completed(Landing::Errors(errors)) => {
                            return self.alone(&errors).await;
                        }
                        FollowerOutcome::Completed(Landing::Found(found)) => {
                            if let Some(answer) = inner.answer(&self.discovery, &found, false) {
                                Counters::count(&inner.counters.coalesced);
                                return Ok(answer);
                            }
                            continue;
                        }
                    }
                }
            };
            if let Some((answer, snapshot)) = self.look_again().await {
                Counters::count(&inner.counters.coalesced);
                leader.complete_with(Landing::Found(snapshot));
                return Ok(answer);
            }
            return self.fetch(Some(leader)).await;
        }
        self.fetch(None).await
    }

    /// Looks for documents that another caller has fetched between this one's look at the cache and its taking
    /// the lead.
    async fn look_again(&mut self) -> Option<(Response<Body<RB>>, Arc<Snapshot>)> {
        let inner = &self.inner;
        if inner.saves() == self.saves {
            return None;
        }
        let snapshot = inner.load(&self.discovery)?.await;
        let answer = inner.answer(&self.discovery, &snapshot, true);
        if answer.is_none() {
            self.known = Some(Arc::clone(&snapshot));
        }
        Some((answer?, snapshot))
    }

    /// Answers a follower after another caller's fetch has failed.
    async fn alone(self, errors: &[ErrorAnswer]) -> Answered<RB, S::Error> {
        let Self {
            inner,
            discovery,
            request,
            service,
            known,
            ..
        } = self;
        if let Some(answer) = inner.last_resort(&discovery, known.as_ref()) {
            return Ok(answer);
        }
        let cache = inner.cache.name();
        let mut errors = errors.iter();
        if let Some(error) = errors.find(|error| error.endpoint == discovery.endpoint) {
            let reason = "the server is in trouble, and has told another request so";
            tracing::debug!(cache, decision = "share", reason, status = %error.parts.status);
            return Ok(error.to_response());
        }
        let reason = "the fetch of another request has failed";
        tracing::debug!(cache, decision = "forward", reason, path = %request.uri().path());
        send(&inner, service, request).await
    }

    async fn fetch(self, leader: Option<Lead>) -> Answered<RB, S::Error> {
        match self.discovery.list().cloned() {
            Some(group_version) => self.fetch_list(group_version, leader).await,
            None => self.fetch_groups(leader).await,
        }
    }

    /// Fetches one list.
    async fn fetch_list(
        self,
        group_version: GroupVersion,
        leader: Option<Lead>,
    ) -> Answered<RB, S::Error> {
        let Self {
            inner,
            discovery,
            mut request,
            service,
            ..
        } = self;
        make_readable(request.headers_mut());
        Counters::count(&inner.counters.sent);
        let limit = inner.options.max_body_size;
        let exchanged = exchange(service, request, limit).await;
        let found = match &exchanged {
            Ok((parts, Collected::Whole(body))) => {
                let answer = Response::from_parts(parts.clone(), body.clone());
                read_list(&group_version, &answer).map(Arc::new)
            }
            Ok(_) | Err(_) => None,
        };
        let Some(snapshot) = found else {
            release(leader);
            return Exchanged(exchanged).into_answer();
        };
        let (mut parts, collected) = exchanged?;
        inner.keep(&discovery, &snapshot).await;
        if let Some(leader) = leader {
            leader.complete_with(Landing::Found(Arc::clone(&snapshot)));
        }
        let cache = inner.cache.name();
        parts.extensions.insert(ParsedAnswer {
            snapshot,
            cache,
            hit: false,
        });
        Exchanged(Ok((parts, collected))).into_answer()
    }

    /// Fetches the groups: `/api` and `/apis` at the same time.
    async fn fetch_groups(self, leader: Option<Lead>) -> Answered<RB, S::Error> {
        let Self {
            inner,
            discovery,
            request,
            service,
            known,
            ..
        } = self;
        let cache = inner.cache.name();
        let limit = inner.options.max_body_size;
        // It has no content.
        let (template, _) = request.into_parts();
        let base = inner.options.base_of(&template.uri).unwrap_or_default();
        let own = if discovery.endpoint == Endpoint::Api {
            Endpoint::Api
        } else {
            Endpoint::Apis
        };
        let accept = if discovery.accept.allows(Format::V2Beta1) {
            Accept::WITH_V2BETA1
        } else {
            Accept::KUBECTL
        };
        let mut plan = Plan::groups().accept(accept);
        let mut under_way = FuturesUnordered::new();
        while let Some((ticket, request)) = plan.next() {
            Counters::count(&inner.counters.sent);
            let body = Bytes::new().into();
            let request = with_template(&request, &template, base, body);
            let url = url_text(request.uri());
            let service = service.clone();
            under_way.push(async move {
                let exchanged = Exchanged(exchange(service, request, limit).await);
                (ticket, url, exchanged)
            });
        }
        let (mut mine, mut errors) = (None, Vec::new());
        while let Some((ticket, url, exchanged)) = under_way.next().await {
            let is_own = *ticket.endpoint() == own;
            let answer = exchanged.to_answer(url.into(), limit);
            errors.extend(exchanged.to_error(ticket.endpoint()));
            if is_own {
                mine = Some(exchanged);
            } else if let Err(error) = &answer {
                let error = RedactedError::new(error, "");
                tracing::debug!(cache, %error, "the other half of the groups failed");
            }
            plan.feed(ticket, answer);
            // After an error, the request that is still under way is of no use to anybody.
            if mine.is_some() && (plan.is_done() || plan.has_failed()) {
                break;
            }
        }
        drop(under_way);
        let mut found = match plan.finish() {
            Ok(discovered) => discovered.snapshot,
            Err(error) => {
                tracing::debug!(
                    cache,
                    decision = "forward",
                    reason = %RedactedError::new(&error, ""),
                );
                match leader {
                    Some(leader) if !errors.is_empty() => {
                        leader.complete_with(Landing::Errors(errors.into()));
                    }
                    leader => release(leader),
                }
                if let Some(answer) = inner.last_resort(&discovery, known.as_ref()) {
                    return Ok(answer);
                }
                let answer = mine.and_then(|mine| inner.answer_half(&discovery, &own, mine));
                if let Some(answer) = answer {
                    return answer;
                }
                let request = Request::from_parts(template, Bytes::new().into());
                return send(&inner, service, request).await;
            }
        };
        if !found.stale().is_empty() && !inner.cache.tells_stale() {
            Arc::make_mut(&mut found).set_stale(Vec::new());
        }
        inner.keep(&discovery, &found).await;
        if let Some(leader) = leader {
            leader.complete_with(Landing::Found(Arc::clone(&found)));
        }
        // The groups are there although the server has no `/api`; the caller that asked for it gets the
        // server's own answer.
        if let Some(mine) = mine.filter(|mine| discovery.endpoint == own && mine.is_error()) {
            return mine.into_answer();
        }
        // A cache below may have told the groups alone, as its last resort.
        Ok(inner
            .answer(&discovery, &found, false)
            .or_else(|| inner.last_resort(&discovery, Some(&found)))
            .unwrap_or_else(not_acceptable))
    }
}

impl<C: Cache> Inner<C> {
    /// Answers a caller when only the half of the groups that it asked for is there, or not even that. `None`
    /// if the server's answer does not answer the caller's request, which was for another path or form.
    fn answer_half<RB, E>(
        &self,
        discovery: &DiscoveryRequest,
        own: &Endpoint,
        exchanged: Exchanged<RB, E>,
    ) -> Option<Answered<RB, E>>
    where
        RB: HttpBody<Data = Bytes>,
        RB::Error: Into<BoxError>,
    {
        let half = exchanged
            .to_answer(own.path().into(), self.options.max_body_size)
            .ok()
            .filter(|answer| answer.status().is_success() && !discovery.want_parsed)
            .and_then(|answer| half_snapshot(own, answer));
        if let Some(answer) = half.and_then(|half| self.answer(discovery, &half, false)) {
            return Some(Ok(answer));
        }
        let fits = match &exchanged.0 {
            Ok((parts, Collected::Whole(_) | Collected::TooLarge(..))) => {
                let format = Format::from_headers(&parts.headers);
                let is_taken = format.is_some_and(|format| discovery.accept.allows(format));
                discovery.endpoint == *own && is_taken || exchanged.is_error()
            }
            Ok((_, Collected::Broken(..))) | Err(_) => true,
        };
        fits.then(|| exchanged.into_answer())
    }
}

impl<RB, E> Exchanged<RB, E>
where
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    /// Whether the server answered that something went wrong.
    fn is_error(&self) -> bool {
        matches!(&self.0, Ok((parts, _)) if !parts.status.is_success())
    }

    /// The answer for a [`Plan`].
    fn to_answer(&self, url: String, limit: u64) -> Result<Response<Bytes>, Error> {
        match &self.0 {
            Ok((parts, Collected::Whole(body))) => {
                let mut answer = Response::from_parts(parts.clone(), body.clone());
                answer.extensions_mut().insert(AskedUrl(url.into()));
                Ok(answer)
            }
            Ok((_, Collected::TooLarge(..))) => Err(Error::too_large(url, limit)),
            Ok((_, Collected::Broken(..))) => Err(Error::cut_short(url, "the body broke off")),
            Err(_) => Err(Error::transport(url, "the service failed")),
        }
    }

    /// An answer that says that the server is in trouble. Answers that are about the caller, such as 403, are
    /// not for others.
    fn to_error(&self, endpoint: &Endpoint) -> Option<ErrorAnswer> {
        match &self.0 {
            Ok((parts, Collected::Whole(body))) if is_transient(parts.status) => {
                Some(ErrorAnswer {
                    endpoint: endpoint.clone(),
                    parts: parts.clone(),
                    body: body.clone(),
                })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// The answer for the caller, as it came.
    fn into_answer(self) -> Answered<RB, E> {
        let (parts, collected) = self.0?;
        Ok(Response::from_parts(parts, collected.into_body()))
    }
}

/// Reads the answer to a request for one list: the list, or an answer that the next try would give again.
fn read_list(group_version: &GroupVersion, answer: &Response<Bytes>) -> Option<Snapshot> {
    let mut snapshot = Snapshot::default();
    match take_list(group_version, answer) {
        Ok(list) => snapshot.insert_shared(group_version, list),
        Err(_) => snapshot.refuse(group_version, negative_answer(answer)?),
    }
    Some(snapshot)
}

/// Reads one half of the groups as if the other half were empty.
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
    let content_type = Format::V2.content_type();
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .body(empty)
        .ok()
}

/// An error that the next try would meet again. A credential can change a 401, and an answer that would take
/// much memory is not remembered.
fn negative_answer(answer: &Response<Bytes>) -> Option<NegativeAnswer> {
    let status = answer.status();
    let lasting = status.is_client_error()
        && status != StatusCode::UNAUTHORIZED
        && status != StatusCode::REQUEST_TIMEOUT
        && !is_transient(status)
        && answer.body().len() <= NegativeAnswer::MAX_BODY;
    lasting.then(|| NegativeAnswer {
        status,
        content_type: answer.headers().get(CONTENT_TYPE).cloned(),
        body: answer.body().clone(),
    })
}

fn release(leader: Option<Lead>) {
    if let Some(leader) = leader {
        leader.release();
    }
}

/// Sends the caller's request as it is. Its answer is not kept.
async fn send<S, B, C, RB>(
    inner: &Inner<C>,
    service: S,
    request: Request<B>,
) -> Answered<RB, S::Error>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    Counters::count(&inner.counters.sent);
    let response = Oneshot::new(service, request).await?;
    Ok(response.map(Body::passed))
}

/// Makes the caller's request one for another path and with another `Accept`.
fn with_template<B>(
    request: &Request<()>,
    template: &request::Parts,
    base: &str,
    body: B,
) -> Request<B> {
    let path = format!("{base}{}", request.uri().path());
    let mut parts = template.clone();
    parts.uri = with_path(&template.uri, &path);
    make_readable(&mut parts.headers);
    for (name, value) in request.headers() {
        parts.headers.insert(name, value.clone());
    }
    Request::from_parts(parts, body)
}

/// Asks for an answer that is not compressed, because the cache can't read another. A layer below may ask for
/// compression itself and undo it.
fn make_readable(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_ENCODING);
}

fn not_acceptable<RB>() -> Response<Body<RB>> {
    status(
        StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    )
}
