//! Requests that wait for the answer to another one, and bodies that several of them read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use discovery_core::internal::tee::{Reader, TeeHandle};
use discovery_core::sync::single_flight::{self, FollowerOutcome, SingleFlight};
use http::StatusCode;
use hyper::rt::Timer;

use crate::entry::{NewHead, StoredResponse};
use crate::generation::Generation;

/// The requests that are under way, by key: one is forwarded for all that came since the key was last invalidated.
#[derive(Default)]
pub(crate) struct Coalescer {
    flights: SingleFlight<FlightKey, WaitResult>,
    /// The bodies that are being read and can be joined.
    bodies: Mutex<HashMap<FlightKey, BodyInProgress>>,
    /// How many flights have ended with something for others. A request that saw this change while it looked into the
    /// store has to look again.
    completions: AtomicU64,
    /// The background refreshes that are under way, with the times at which they began.
    refreshes: Mutex<HashMap<String, SystemTime>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    key: Arc<str>,
    /// A request that came after an invalidation does not wait for one that was sent before.
    generation: Generation,
}

/// A response whose head is known and whose body is being read.
#[derive(Clone)]
pub(crate) struct BodyInProgress {
    pub(crate) head: Arc<NewHead>,
    body: TeeHandle,
    activity: Arc<Activity>,
}

/// When a body has last made progress.
pub(crate) struct Activity {
    timer: Option<Arc<dyn Timer + Send + Sync>>,
    last: Mutex<Option<Instant>>,
    /// Whether the body can be joined, or could be.
    is_shared: AtomicBool,
}

/// The part that a request has in a flight.
pub(crate) enum Role {
    Leader(Leader),
    Follower(Follower),
}

/// The request that is forwarded for all. Dropped, it hands its part to a follower.
pub(crate) struct Leader {
    inner: single_flight::Leader<FlightKey, WaitResult>,
    flight: FlightKey,
    coalescer: Arc<Coalescer>,
}

/// A request that waits.
pub(crate) struct Follower {
    inner: single_flight::Follower<FlightKey, WaitResult>,
    flight: FlightKey,
    coalescer: Arc<Coalescer>,
}

/// The end of a wait.
pub(crate) enum WaitResult {
    /// The leader has gone away: lead in its place.
    Lead(Leader),
    /// The leader's answer, whose body is still coming.
    Answer(Arc<NewHead>, Reader),
    /// The leader's answer, which has been in the store and was validated.
    Validated(StoredResponse),
    /// There may be something new in the store.
    Look,
    /// The server has failed, with this status or without one.
    Failed(Option<StatusCode>),
    /// There is nothing for others.
    Released,
    /// The wait has taken too long.
    TooLong,
}

/// A background refresh that is under way.
pub(crate) struct Refresh {
    key: String,
    began: SystemTime,
    coalescer: Arc<Coalescer>,
}

impl WaitResult {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Lead(_) => "the leader has gone",
            Self::Answer(..) => "the answer has come",
            Self::Validated(_) => "the entry has been validated",
            Self::Look => "another request was faster",
            Self::Failed(_) => "the server has failed",
            Self::Released => "nothing for others",
            Self::TooLong => "waited too long",
        }
    }
}

impl Coalescer {
    pub(crate) fn completions(&self) -> u64 {
        self.completions.load(Ordering::Acquire)
    }

    /// Leads, if no other request for the key is under way.
    pub(crate) fn join(self: &Arc<Self>, key: &str, generation: Generation) -> Role {
        let flight = FlightKey {
            key: generation.key(key),
            generation,
        };
        match self.flights.join(flight.clone()) {
            single_flight::Role::Leader(inner) => Role::Leader(Leader {
                inner,
                flight,
                coalescer: Arc::clone(self),
            }),
            single_flight::Role::Follower(inner) => Role::Follower(Follower {
                inner,
                flight,
                coalescer: Arc::clone(self),
            }),
        }
    }

    /// Whether there is a body that is being read. Mostly there is none.
    pub(crate) fn has_bodies(&self) -> bool {
        !self.bodies().is_empty()
    }

    /// The answer for a key whose body is being read.
    pub(crate) fn body(&self, key: &str, generation: &Generation) -> Option<BodyInProgress> {
        let bodies = self.bodies();
        let flight = FlightKey {
            key: generation.key(key),
            generation: generation.clone(),
        };
        bodies.get(&flight).cloned()
    }

    /// Forgets a body that can't be joined any more, and makes those who have looked into the store look again.
    pub(crate) fn end_body(&self, flight: &FlightKey, activity: &Arc<Activity>) {
        self.completions.fetch_add(1, Ordering::AcqRel);
        if !activity.is_shared.load(Ordering::Acquire) {
            return;
        }
        let mut bodies = self.bodies();
        // Not one of a later flight.
        if bodies
            .get(flight)
            .is_some_and(|body| Arc::ptr_eq(&body.activity, activity))
        {
            let ended = bodies.remove(flight);
            drop(bodies);
            drop(ended);
        }
    }

    /// Begins a background refresh, unless one is under way that began less than `limit` ago.
    pub(crate) fn begin_refresh(
        self: &Arc<Self>,
        key: &str,
        now: SystemTime,
        limit: Duration,
    ) -> Option<Refresh> {
        let mut refreshes = self.refreshes();
        if let Some(began) = refreshes.get(key)
            && now.duration_since(*began).is_ok_and(|since| since < limit)
        {
            return None;
        }
        refreshes.insert(key.to_owned(), now);
        Some(Refresh {
            key: key.to_owned(),
            began: now,
            coalescer: Arc::clone(self),
        })
    }

    /// How many flights, bodies and refreshes are in the tables.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> [usize; 3] {
        [
            self.flights.len(),
            self.bodies().len(),
            self.refreshes().len(),
        ]
    }

    fn bodies(&self) -> MutexGuard<'_, HashMap<FlightKey, BodyInProgress>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refreshes(&self) -> MutexGuard<'_, HashMap<String, SystemTime>> {
        self.refreshes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyInProgress {
    /// Another reader, unless the body has made no progress for `limit`, or has become too large to be joined.
    pub(crate) fn join(&self, limit: Option<Duration>) -> Option<Reader> {
        if limit.is_some_and(|limit| !self.activity.is_within(limit)) {
            return None;
        }
        self.body.join()
    }
}

impl Activity {
    pub(crate) fn new(timer: Option<Arc<dyn Timer + Send + Sync>>) -> Self {
        let last = timer.as_ref().map(|timer| timer.now());
        Self {
            timer,
            last: Mutex::new(last),
            is_shared: AtomicBool::new(false),
        }
    }

    /// Notes that there is progress.
    pub(crate) fn touch(&self) {
        if let Some(timer) = &self.timer {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer.now());
        }
    }

    fn is_within(&self, limit: Duration) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match (&self.timer, last) {
            (Some(timer), Some(last)) => timer.now().saturating_duration_since(last) < limit,
            _ => true,
        }
    }
}

impl Leader {
    /// The generation since which it leads.
    pub(crate) fn generation(&self) -> &Generation {
        &self.flight.generation
    }

    /// The key of its flight.
    pub(crate) fn flight(&self) -> &FlightKey {
        &self.flight
    }

    /// Whether any request waits.
    pub(crate) fn has_followers(&self) -> bool {
        self.inner.followers() > 0
    }

    /// Gives all that wait the head of the answer, and a reader of its body. Requests that come later can join.
    pub(crate) fn share(self, head: NewHead, reader: &Reader, activity: &Arc<Activity>) {
        let head = &Arc::new(head);
        activity.is_shared.store(true, Ordering::Release);
        let body = BodyInProgress {
            head: Arc::clone(head),
            body: reader.handle(),
            activity: Arc::clone(activity),
        };
        // An entry that is stored meanwhile ends the body before it is there.
        if !reader.is_settled() {
            let replaced = self.coalescer.bodies().insert(self.flight, body);
            drop(replaced);
        }
        self.coalescer.completions.fetch_add(1, Ordering::AcqRel);
        self.inner
            .complete(|| WaitResult::Answer(Arc::clone(head), reader.another()));
    }

    /// Gives all that wait a stored response that was validated.
    pub(crate) fn complete(self, stored: &StoredResponse) {
        self.coalescer.completions.fetch_add(1, Ordering::AcqRel);
        self.inner
            .complete(|| WaitResult::Validated(stored.clone()));
    }

    /// Sends all that wait to the store, where another request has put something.
    pub(crate) fn look(self) {
        self.inner.complete(|| WaitResult::Look);
    }

    /// Lets all that wait go on their own.
    pub(crate) fn release(self) {
        self.inner.complete(|| WaitResult::Released);
    }

    /// Tells all that wait that the server has failed. Those that may have a stale response take it, and need not find
    /// that out one after another.
    pub(crate) fn fail(self, status: Option<StatusCode>) {
        self.inner.complete(|| WaitResult::Failed(status));
    }
}

impl Follower {
    /// The generation since which it waits.
    pub(crate) fn generation(&self) -> &Generation {
        &self.flight.generation
    }

    pub(crate) async fn wait(self) -> WaitResult {
        let Self {
            inner,
            flight,
            coalescer,
        } = self;
        match inner.await {
            FollowerOutcome::Promoted(inner) => WaitResult::Lead(Leader {
                inner,
                flight,
                coalescer,
            }),
            FollowerOutcome::Completed(result) => result,
            FollowerOutcome::Released => WaitResult::Released,
        }
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        let mut refreshes = self.coalescer.refreshes();
        // Not one that began later, in place of this one, which was too slow.
        if refreshes.get(&self.key) == Some(&self.began) {
            refreshes.remove(&self.key);
        }
    }
}
