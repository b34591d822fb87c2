use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use http::{Response, response};
use http_body::Body as HttpBody;

use super::ask::Goal;
use super::{Body, Collected};
use crate::kube::error::is_transient;
use crate::{Endpoint, Snapshot};

/// What the last fetch brought, for callers that waited for it.
#[derive(Default)]
pub(super) struct Recent {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<(Goal, Weak<Snapshot>)>,
    /// Error answers for `/api` and `/apis` of one fetch.
    errors: Option<(Goal, Vec<ErrorAt>)>,
}

type ErrorAt = (Endpoint, response::Parts, Bytes);

impl Recent {
    pub(super) fn set_found(&self, goal: Goal, found: &Arc<Snapshot>) {
        let mut state = self.lock();
        state.errors.take_if(|(of, _)| *of == goal);
        state.found = Some((goal, Arc::downgrade(found)));
    }

    /// A fetch begins: what the one before it met is no news for those who wait for this one.
    pub(super) fn begin(&self, goal: &Goal) {
        self.lock().errors.take_if(|(of, _)| of == goal);
    }

    /// What was found, if it is still in use somewhere, and nobody has fetched anything else since.
    pub(super) fn found(&self, goal: &Goal) -> Option<Arc<Snapshot>> {
        let state = self.lock();
        let (_, found) = state.found.as_ref().filter(|(of, _)| of == goal)?;
        found.upgrade()
    }

    /// Keeps an error that says that the server is in trouble. What it says of the caller, such as
    /// 403, is the caller's alone.
    pub(super) fn add_error<B: HttpBody>(
        &self,
        goal: &Goal,
        endpoint: &Endpoint,
        parts: &response::Parts,
        body: &Collected<B>,
    ) {
        let Collected::Whole(body) = body else { return };
        if !is_transient(parts.status) {
            return;
        }
        let mut state = self.lock();
        let errors = match &mut state.errors {
            Some((of, errors)) if of == goal => errors,
            errors => &mut errors.insert((goal.clone(), Vec::new())).1,
        };
        errors.retain(|(of, ..)| of != endpoint);
        errors.push((endpoint.clone(), parts.clone(), body.clone()));
    }

    /// The error that the last fetch met at an endpoint.
    pub(super) fn error<B>(&self, goal: &Goal, endpoint: &Endpoint) -> Option<Response<Body<B>>>
    where
        B: HttpBody<Data = Bytes>,
    {
        let state = self.lock();
        let (_, errors) = state.errors.as_ref().filter(|(of, _)| of == goal)?;
        let (_, parts, body) = errors.iter().find(|(of, ..)| of == endpoint)?;
        Some(Response::from_parts(
            parts.clone(),
            Body::full(body.clone()),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
