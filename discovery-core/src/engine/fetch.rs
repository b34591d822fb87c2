//! Fetches: the requests that are sent on a miss, and the use of their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode, request, response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::request::{DiscoveryRequest, FlightKey, Scope};
use super::state::{Cache, Counters, Failed, Inner, Landing, Stale, status};
use crate::http::body::Body;
use crate::http::exchange::{Collected, exchange};
use crate::http::uri::RedactedError;
use crate::internal::reserved::Oneshot;
use crate::kube::asked_url::AskedUrl;
use crate::kube::endpoint::with_path;
use crate::kube::error::{is_success, is_transient, url_text};
use crate::kube::extensions::ParsedAnswer;
use crate::kube::plan::{SharedFailure, Ticket, take_list};
use crate::store::Op;
use crate::sync::single_flight::{FollowerOutcome, Leader, Role};
use crate::{
    Accept, BoxError, Endpoint, Error, Format, GroupVersion, NegativeAnswer, Plan, Snapshot, Text,
};

type Answered<RB, E> = Result<Response<Body<RB>>, E>;

type Lead = Leader<FlightKey, Landing>;

/// A request that the cache may have to send on.
pub(super) struct Miss<S, B, C> {
    pub(super) inner: Arc<Inner<C>>,
    pub(super) discovery: DiscoveryRequest,
    pub(super) parts: request::Parts,
    /// It has no content.
    pub(super) body: B,
    /// Cloned for each request; each clone is made ready and then called.
    pub(super) service: S,
    /// The documents that the cache knew, where they were no answer.
    pub(super) known: Option<Arc<Snapshot>>,
    /// The value of [`Inner::saves`] before the cache was asked.
    pub(super) saves: u64,
}

/// The result of a fetch for the caller that led it or waited for it.
enum Coalesced<RB, E> {
    Answer(Answered<RB, E>),
    /// Another caller's fetch has failed.
    Failed(Arc<[Failed]>),
    /// The caller's own request is still to be sent.
    Nothing,
}

/// The answer to one request, as it came.
struct Exchanged<RB: HttpBody, E>(Result<(response::Parts, Collected<RB>), E>);

/// Ends a fetch in the background, also one that is dropped.
struct Revalidating<C>(Arc<Inner<C>>);

impl<C> Drop for Revalidating<C> {
    fn drop(&mut self) {
        self.0.revalidating.store(false, Ordering::Release);
    }
}

impl<S, B, C, RB> Miss<S, B, C>
where
    C: Cache,
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    B: From<Bytes> + Send + 'static,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
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
        if let Some(answer) = self.stale_while_revalidate().await {
            return Ok(answer);
        }
        Counters::count(&self.inner.counters.misses);
        tracing::debug!(cache, decision = "miss", reason, path = %self.path());
        self.ask().await
    }

    /// Answers from a fetch.
    async fn ask(mut self) -> Answered<RB, S::Error> {
        match self.discovery.list().cloned() {
            None => match self.coalesce(Scope::Groups).await {
                Coalesced::Answer(answer) => answer,
                Coalesced::Failed(failed) => self.after_failure(&failed).await,
                Coalesced::Nothing => self.send().await,
            },
            Some(group_version) => self.answer_list(group_version).await,
        }
    }

    /// Answers with documents that have expired, and has them fetched in the background, once for all callers.
    async fn stale_while_revalidate(&mut self) -> Option<Response<Body<RB>>> {
        let inner = Arc::clone(&self.inner);
        if self.discovery.no_cache {
            return None;
        }
        let snapshot = inner.cache.stale(&self.discovery.scope())?.await;
        let answer = inner.answer(&self.discovery, &snapshot, true)?;
        let cache = inner.cache.name();
        if !inner.revalidating.swap(true, Ordering::AcqRel) {
            let revalidating = Revalidating(Arc::clone(&inner));
            let miss = Self {
                inner: Arc::clone(&inner),
                discovery: self.discovery.clone(),
                parts: self.parts.clone(),
                body: Bytes::new().into(),
                service: self.service.clone(),
                known: self.known.clone(),
                saves: self.saves,
            };
            let refresh = async move {
                let _revalidating = revalidating;
                if miss.ask().await.is_err() {
                    tracing::debug!(cache, "stale documents could not be fetched anew");
                }
            };
            if !inner.cache.spawn(Box::pin(refresh)) {
                return None;
            }
        }
        Counters::count(&inner.counters.hits);
        let reason = "its documents have expired and are fetched anew meanwhile";
        tracing::debug!(cache, decision = "hit", reason, path = %self.path());
        Some(inner.marked(answer, Stale::WhileRevalidate))
    }

    /// Answers a request for one list, from all lists at once if the cache prefers that.
    async fn answer_list(mut self, group_version: GroupVersion) -> Answered<RB, S::Error> {
        let inner = Arc::clone(&self.inner);
        // The documents that were loaded for the list need not have the groups, which may tell that there is no such list.
        if !self.discovery.no_cache && inner.cache.answers_unknown() {
            let groups = inner.cache.load(&Scope::Groups).await;
            if let Some(answer) = inner.answer(&self.discovery, &groups, true) {
                return Ok(answer);
            }
        }
        let is_legacy = |known: &Arc<Snapshot>| known.format() == Some(Format::Legacy);
        // A request that asks for one list anew asks for no others.
        if inner.cache.prefers_aggregated()
            && !self.discovery.no_cache
            && !self.known.as_ref().is_some_and(is_legacy)
            && let Coalesced::Answer(answer) = self.coalesce(Scope::Groups).await
        {
            return answer;
        }
        match self.coalesce(Scope::Resources(group_version)).await {
            Coalesced::Answer(answer) => answer,
            Coalesced::Failed(failed) => self.after_failure(&failed).await,
            Coalesced::Nothing => self.send().await,
        }
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Leads a fetch of `scope`, or waits for the one that is under way.
    async fn coalesce(&mut self, scope: Scope) -> Coalesced<RB, S::Error> {
        let inner = Arc::clone(&self.inner);
        let cache = inner.cache.name();
        let key = self
            .discovery
            .flight_key(scope.clone(), &self.parts.headers);
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
                        FollowerOutcome::Released => return Coalesced::Nothing,
                        FollowerOutcome::Completed(Landing::Failed(failed)) => {
                            return Coalesced::Failed(failed);
                        }
                        FollowerOutcome::Completed(Landing::Found(found)) => {
                            if let Some(answer) = inner.answer(&self.discovery, &found, false) {
                                Counters::count(&inner.counters.coalesced);
                                return Coalesced::Answer(Ok(answer));
                            }
                            if self.discovery.list().is_some() && scope == Scope::Groups {
                                return Coalesced::Nothing;
                            }
                            continue;
                        }
                    }
                }
            };
            if let Some((answer, snapshot)) = self.look_again().await {
                Counters::count(&inner.counters.coalesced);
                leader.complete_with(Landing::Found(snapshot));
                return Coalesced::Answer(Ok(answer));
            }
            let permit = inner.cache.begin_fetch(&scope).await;
            if permit.may_be_late()
                && let Some((answer, snapshot)) = self.look().await
            {
                Counters::count(&inner.counters.coalesced);
                leader.complete_with(Landing::Found(snapshot));
                return Coalesced::Answer(Ok(answer));
            }
            return self.fetch(&scope, Some(leader)).await;
        }
        self.fetch(&scope, None).await
    }

    /// Looks for documents that another caller has fetched between this one's look at the cache and its taking
    /// the lead.
    async fn look_again(&mut self) -> Option<(Response<Body<RB>>, Arc<Snapshot>)> {
        let inner = &self.inner;
        let saves = inner.saves();
        if saves == self.saves {
            return None;
        }
        self.saves = saves;
        self.look().await
    }

    /// Looks into the cache once more.
    async fn look(&mut self) -> Option<(Response<Body<RB>>, Arc<Snapshot>)> {
        let inner = &self.inner;
        let snapshot = inner.load(&self.discovery)?.await;
        let answer = inner.answer(&self.discovery, &snapshot, true);
        if answer.is_none() {
            self.known = Some(Arc::clone(&snapshot));
        }
        Some((answer?, snapshot))
    }

    /// Answers a follower after another caller's fetch has failed.
    async fn after_failure(self, failed: &[Failed]) -> Answered<RB, S::Error> {
        let (inner, discovery) = (&self.inner, &self.discovery);
        if let Some(answer) = inner.last_resort(discovery, self.known.as_ref()) {
            return Ok(answer);
        }
        let cache = inner.cache.name();
        let asked = discovery.asked();
        let shared = failed.iter().find(|failed| failed.endpoint == asked);
        if let Some(answer) = shared.and_then(|failed| inner.share(discovery, failed)) {
            let reason = "another request has got it";
            tracing::debug!(cache, decision = "share", reason, path = %self.path());
            return answer;
        }
        self.send().await
    }

    /// Sends the caller's request as it is. Its answer is not kept.
    async fn send(self) -> Answered<RB, S::Error> {
        let inner = &self.inner;
        if let Some(answer) = inner.last_resort(&self.discovery, self.known.as_ref()) {
            return Ok(answer);
        }
        let cache = inner.cache.name();
        let reason = "a fetch has not brought it";
        tracing::debug!(cache, decision = "forward", reason, path = %self.path());
        Counters::count(&inner.counters.sent);
        let request = Request::from_parts(self.parts, self.body);
        let response = Oneshot::new(self.service, request).await?;
        Ok(response.map(Body::passed))
    }

    async fn fetch(&mut self, scope: &Scope, leader: Option<Lead>) -> Coalesced<RB, S::Error> {
        match scope {
            Scope::Resources(group_version) => {
                Coalesced::Answer(self.fetch_list(group_version, leader).await)
            }
            Scope::Groups | Scope::Core | Scope::Everything => self.fetch_groups(leader).await,
        }
    }

    /// Fetches one list.
    async fn fetch_list(
        &mut self,
        group_version: &GroupVersion,
        leader: Option<Lead>,
    ) -> Answered<RB, S::Error> {
        let (inner, discovery) = (&self.inner, &self.discovery);
        let mut parts = self.parts.clone();
        make_readable(&mut parts.headers);
        let request = Request::from_parts(parts, Bytes::new().into());
        let url = url_text(request.uri());
        Counters::count(&inner.counters.sent);
        let limit = inner.options.max_body_size;
        let exchanged = Exchanged(exchange(self.service.clone(), request, limit).await);
        let answer = exchanged.to_answer(url, limit);
        if exchanged.is_error()
            && let Ok(answer) = &answer
        {
            inner.note_failure(discovery, group_version, answer).await;
        }
        let found = answer.as_ref().ok();
        let Some(snapshot) = found.and_then(|answer| read_list(group_version, answer)) else {
            if let Some(leader) = leader {
                let failed = Failed::of(&discovery.endpoint, &answer);
                leader.complete_with(Landing::Failed([failed].into()));
            }
            if is_outage(group_version, &answer)
                && let Some(answer) = inner.last_good(discovery)
            {
                return Ok(answer);
            }
            return exchanged.into_answer();
        };
        let snapshot = Arc::new(snapshot);
        inner.keep(discovery, &snapshot).await;
        if let Some(leader) = leader {
            leader.complete_with(Landing::Found(Arc::clone(&snapshot)));
        }
        // A refusal is told as it came; a list as it will be told at the next hit.
        let document = inner.answer(discovery, &snapshot, false);
        match document.filter(|_| !exchanged.is_error()) {
            Some(answer) => Ok(answer),
            None => exchanged.into_answer().map(|mut answer| {
                let cache = inner.cache.name();
                let parsed = ParsedAnswer::new(snapshot, cache, false);
                answer.extensions_mut().insert(parsed);
                answer
            }),
        }
    }

    /// Fetches the groups: `/api` and `/apis` at the same time.
    async fn fetch_groups(&mut self, leader: Option<Lead>) -> Coalesced<RB, S::Error> {
        let (inner, discovery) = (Arc::clone(&self.inner), &self.discovery);
        let cache = inner.cache.name();
        let limit = inner.options.max_body_size;
        let base = inner.options.base_of(&self.parts.uri).unwrap_or_default();
        let own = discovery.half();
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
            let request = with_template(&request, &self.parts, base, body);
            let url = url_text(request.uri());
            let service = self.service.clone();
            under_way.push(async move {
                let exchanged = Exchanged(exchange(service, request, limit).await);
                (ticket, url, exchanged)
            });
        }
        let (mut mine, mut failed) = (None, Vec::new());
        while let Some((ticket, url, exchanged)) = under_way.next().await {
            let endpoint = ticket.endpoint().clone();
            let answer = exchanged.to_answer(url.clone(), limit);
            if endpoint == own {
                failed.push(Failed::of(&endpoint, &answer));
                mine = Some(exchanged);
            } else {
                if let Err(error) = &answer {
                    let error = RedactedError::new(error, "");
                    tracing::debug!(cache, %error, "the other half of the groups failed");
                }
                failed.push(exchanged.into_failed(&endpoint, url, limit));
            }
            plan.feed(ticket, answer);
            // After an error, the request that is still under way is of no use to anybody.
            if mine.is_some() && (plan.is_done() || plan.has_failed()) {
                break;
            }
        }
        drop(under_way);
        let found = match plan.finish() {
            Ok(discovered) => discovered.snapshot,
            Err(error) => {
                let reason = RedactedError::new(&error, "");
                tracing::debug!(cache, decision = "forward", %reason);
                if let Some(leader) = leader {
                    leader.complete_with(Landing::Failed(failed.into()));
                }
                if let Some(answer) = inner.last_resort(discovery, self.known.as_ref()) {
                    return Coalesced::Answer(Ok(answer));
                }
                if error.is_outage()
                    && let Some(answer) = inner.last_good(discovery)
                {
                    return Coalesced::Answer(Ok(answer));
                }
                let answer = mine.and_then(|mine| inner.answer_half(discovery, &own, mine));
                return answer.map_or(Coalesced::Nothing, Coalesced::Answer);
            }
        };
        inner.keep(discovery, &found).await;
        if let Some(leader) = leader {
            leader.complete_with(Landing::Found(Arc::clone(&found)));
        }
        // The groups are there although the server has no `/api`; the caller that asked for it gets the
        // server's own answer.
        if let Some(mine) = mine.filter(|mine| discovery.endpoint == own && mine.is_error()) {
            return Coalesced::Answer(mine.into_answer());
        }
        let answer = inner.answer(discovery, &found, false);
        if discovery.list().is_some() {
            return answer.map_or(Coalesced::Nothing, |answer| Coalesced::Answer(Ok(answer)));
        }
        // A cache below may have told the groups alone, as its last resort.
        let answer = answer
            .or_else(|| inner.last_resort(discovery, Some(&found)))
            .unwrap_or_else(not_acceptable);
        Coalesced::Answer(Ok(answer))
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
            .filter(|answer| is_success(answer.status()) && !discovery.want_parsed)
            .and_then(|answer| half_snapshot(own, answer));
        if let Some(answer) = half.and_then(|half| self.answer(discovery, &half, false)) {
            return Some(Ok(answer));
        }
        let is_asked = discovery.endpoint == *own;
        let fits = match &exchanged.0 {
            Ok((parts, Collected::Whole(_) | Collected::TooLarge(..))) => {
                let format = Format::from_headers(&parts.headers);
                let is_taken = format.is_some_and(|format| discovery.accept.allows(format));
                is_asked && (is_taken || exchanged.is_error())
            }
            // Another request is not likely to fare better.
            Ok((_, Collected::Broken(..))) | Err(_) => discovery.list().is_none(),
        };
        fits.then(|| exchanged.into_answer())
    }

    /// Gives a follower what the leader of its fetch has got for the same endpoint. `None` if that is no answer to the
    /// follower's request.
    fn share<RB, E>(&self, discovery: &DiscoveryRequest, failed: &Failed) -> Option<Answered<RB, E>>
    where
        RB: HttpBody<Data = Bytes>,
        RB::Error: Into<BoxError>,
        E: 'static,
    {
        match &failed.result {
            Ok((parts, body)) => {
                let body = Collected::Whole(body.clone());
                let exchanged = Exchanged(Ok((parts.clone(), body)));
                if discovery.list().is_some() {
                    return Some(exchanged.into_answer());
                }
                self.answer_half(discovery, &failed.endpoint, exchanged)
            }
            Err(no_answer) => match no_answer.take_cause() {
                Some(error) => Some(Err(error)),
                // Somebody who reads the bytes may make more of them, or have more luck.
                None if !discovery.want_parsed => None,
                None => {
                    let mut response = status(
                        StatusCode::BAD_GATEWAY,
                        "ServiceUnavailable",
                        "a request that several callers shared has failed",
                    );
                    let failure = SharedFailure(no_answer.error.clone());
                    response.extensions_mut().insert(failure);
                    Some(Ok(response))
                }
            },
        }
    }
}

impl<RB, E> Exchanged<RB, E>
where
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    /// Whether the server answered that something went wrong.
    fn is_error(&self) -> bool {
        matches!(&self.0, Ok((parts, _)) if !is_success(parts.status))
    }

    /// The answer for a [`Plan`].
    fn to_answer(&self, url: Text, limit: u64) -> Result<Response<Bytes>, Error> {
        if let Ok((parts, _)) = &self.0
            && let Some(SharedFailure(error)) = parts.extensions.get()
        {
            return Err(error.clone());
        }
        match &self.0 {
            Ok((parts, Collected::Whole(body))) => {
                let mut answer = Response::from_parts(parts.clone(), body.clone());
                answer.extensions_mut().insert(AskedUrl(url));
                Ok(answer)
            }
            Ok((_, Collected::TooLarge(..))) => Err(Error::too_large(url, limit)),
            Ok((_, Collected::Broken(..))) => Err(Error::cut_short(url, "the body broke off")),
            Err(_) => Err(Error::transport(url, "the service failed")),
        }
    }

    /// The answer for the caller, as it came.
    fn into_answer(self) -> Answered<RB, E> {
        let (parts, collected) = self.0?;
        Ok(Response::from_parts(parts, collected.into_body()))
    }
}

impl<RB, E> Exchanged<RB, E>
where
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
    E: Send + 'static,
{
    /// For the callers that wait: this one does not need it.
    fn into_failed(self, endpoint: &Endpoint, url: Text, limit: u64) -> Failed {
        let answer = self.to_answer(url.clone(), limit);
        let failed = Failed::of(endpoint, &answer);
        match self.0 {
            Err(error) => failed.with_cause(Box::new(error)),
            Ok((_, Collected::Broken(_, error))) => {
                Failed::of(endpoint, &Err(Error::cut_short(url, error)))
            }
            Ok(_) => failed,
        }
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

/// Whether the server is in trouble, rather than having said something about the list.
fn is_outage(group_version: &GroupVersion, answer: &Result<Response<Bytes>, Error>) -> bool {
    match answer {
        Ok(answer) => take_list(group_version, answer).is_err_and(|error| error.is_outage()),
        Err(error) => error.is_outage(),
    }
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
