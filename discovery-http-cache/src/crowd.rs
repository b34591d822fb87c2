//! Requests that wait for another one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use discovery_core::flight::{self, FollowerOutcome, Role, SingleFlight};
use http::StatusCode;

use crate::epoch::Epoch;

/// Who waits for what: one asks the server for all that came for a key since it was last invalidated.
#[derive(Default)]
pub(crate) struct Crowds {
    flights: SingleFlight<Flight>,
    waiting: Mutex<HashMap<Flight, Waiting>>,
    /// How many flights have landed: whoever saw this change while looking has to look again.
    landings: AtomicU64,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    key: Arc<str>,
    /// What came after an invalidation does not wait for what was sent before.
    epoch: Epoch,
}

/// How many wait.
struct Waiting {
    count: usize,
    failure: Arc<Failure>,
}

/// With what the server has failed: a status, or not even that.
type Failure = OnceLock<Option<StatusCode>>;

/// What becomes of a request that could wait.
pub(crate) enum Place {
    Lead(Lead),
    Follow(Follower),
}

/// A leader's duty. Dropped, it passes to a follower.
pub(crate) struct Lead {
    lead: flight::Leader<Flight>,
    flight: Flight,
    crowds: Arc<Crowds>,
}

/// A follower's place: counted, so that the leader knows that somebody waits.
pub(crate) struct Follower {
    follow: flight::Follower<Flight>,
    flight: Flight,
    crowds: Arc<Crowds>,
    failure: Arc<Failure>,
}

/// How a follower's wait ended.
pub(crate) enum News {
    /// The leader has gone.
    Lead(Lead),
    /// There is something in the store.
    Landed,
    /// There is nothing for others.
    Released,
    /// The server has failed.
    Failed(Option<StatusCode>),
    /// It has taken too long.
    TooLong,
}

impl News {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Lead(_) => "the leader has gone",
            Self::Landed => "landed",
            Self::Released => "nothing for others",
            Self::Failed(_) => "the server has failed",
            Self::TooLong => "waited too long",
        }
    }
}

impl Crowds {
    /// How many flights have landed so far.
    pub(crate) fn landings(&self) -> u64 {
        self.landings.load(Ordering::Acquire)
    }

    pub(crate) fn join(self: &Arc<Self>, key: &str, epoch: Epoch) -> Place {
        let flight = Flight {
            key: epoch.key(key),
            epoch,
        };
        match self.flights.join(flight.clone()) {
            Role::Leader(lead) => Place::Lead(self.lead(lead, flight)),
            Role::Follower(follow) => {
                let failure = {
                    let mut waiting = self.waiting();
                    let waiting = waiting.entry(flight.clone()).or_insert_with(|| Waiting {
                        count: 0,
                        failure: Arc::default(),
                    });
                    waiting.count += 1;
                    Arc::clone(&waiting.failure)
                };
                Place::Follow(Follower {
                    follow,
                    flight,
                    crowds: Arc::clone(self),
                    failure,
                })
            }
        }
    }

    fn lead(self: &Arc<Self>, lead: flight::Leader<Flight>, flight: Flight) -> Lead {
        Lead {
            lead,
            flight,
            crowds: Arc::clone(self),
        }
    }

    /// Nobody waits for it any more.
    fn forget(&self, flight: &Flight) -> Option<Waiting> {
        let mut waiting = self.waiting();
        // Mostly nobody waits for anything.
        if waiting.is_empty() {
            return None;
        }
        waiting.remove(flight)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Flight, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Since when it leads.
    pub(crate) fn epoch(&self) -> &Epoch {
        &self.flight.epoch
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.crowds.waiting().contains_key(&self.flight)
    }

    /// Sends the others to the store, where the result is.
    pub(crate) fn land(self) {
        self.crowds.landings.fetch_add(1, Ordering::AcqRel);
        drop(self.crowds.forget(&self.flight));
        self.lead.complete_with(());
    }

    /// Lets the others go on alone.
    pub(crate) fn release(self) {
        drop(self.crowds.forget(&self.flight));
        self.lead.release();
    }

    /// Tells the others that the server has failed. Who may have what is stale then takes it, and the
    /// others need not find that out one after another.
    pub(crate) fn fail(self, status: Option<StatusCode>) {
        if let Some(waiting) = self.crowds.forget(&self.flight) {
            waiting.failure.get_or_init(|| status);
        }
        self.lead.release();
    }
}

impl Follower {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        Pin::new(&mut self.follow).poll(cx).map(|turn| match turn {
            FollowerOutcome::Promoted(lead) => {
                News::Lead(self.crowds.lead(lead, self.flight.clone()))
            }
            FollowerOutcome::Completed(()) => News::Landed,
            FollowerOutcome::Released => match self.failure.get() {
                Some(status) => News::Failed(*status),
                None => News::Released,
            },
        })
    }

    /// Since when it waits.
    pub(crate) fn epoch(&self) -> &Epoch {
        &self.flight.epoch
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut all = self.crowds.waiting();
        if let Some(waiting) = all.get_mut(&self.flight)
            // Not one of a later flight.
            && Arc::ptr_eq(&waiting.failure, &self.failure)
        {
            waiting.count -= 1;
            if waiting.count == 0 {
                all.remove(&self.flight);
            }
        }
    }
}
