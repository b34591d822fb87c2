//! What came back, and what can be made of it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode, response};
use http_body::Body as HttpBody;
use smol_str::SmolStr;

use super::ask::Ask;
use super::fetch::Answer;
use super::lookup::Shared;
use super::{Body, Cache, Collected};
use crate::kube::error::is_transient;
use crate::plan::{AskedUrl, Ticket};
use crate::{Endpoint, Error, Format, NegativeAnswer, Plan, Snapshot};

/// The answer to a request of the cache's: as it came, for the caller, and as the plan reads it.
pub(super) struct Outcome<RB: HttpBody, E> {
    pub(super) raw: Result<(response::Parts, Collected<RB>), E>,
}

impl<C: Cache> Shared<C> {
    /// What the caller gets when only the half that it asked for is there, or not even that. `None`
    /// if what came is no answer to the caller's request, which was for something else or in
    /// another form.
    pub(super) fn alone<RB, E>(
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
                let format = Format::from_headers(&parts.headers);
                ask.endpoint == *own && ask.accept.allows(format) || outcome.is_error()
            }
            Ok((_, Collected::Broken(..))) | Err(_) => true,
        };
        fits.then(|| outcome.into_answer())
    }
}

impl<RB: HttpBody<Data = Bytes>, E> Outcome<RB, E> {
    /// Whether it is an answer, and one that says that something went wrong.
    pub(super) fn is_error(&self) -> bool {
        matches!(&self.raw, Ok((parts, _)) if !parts.status.is_success())
    }

    pub(super) fn to_answer(&self, url: SmolStr, limit: usize) -> Result<Response<Bytes>, Error> {
        match &self.raw {
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

    /// What came, as it came.
    pub(super) fn into_answer(self) -> Answer<RB, E> {
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
    let content_type = Format::V2.content_type();
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .body(empty)
        .ok()
}

/// An error that the next try would meet again. What a credential can change (401) is none, and one
/// that would take much memory is not remembered.
pub(super) fn refusal(answer: &Response<Bytes>) -> Option<NegativeAnswer> {
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
