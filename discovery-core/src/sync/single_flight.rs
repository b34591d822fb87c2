//! One request for many callers.
//!
//! When several callers want the same thing at the same time, one of them, the leader, gets it and the others follow.
//! The leader completes the flight with a value for each follower: the thing itself if it is cheap to clone, a reader
//! of it, or `()` if it lies where everybody can find it.
//!
//! Nothing hangs when callers go away. A leader that is dropped hands the lead to the follower that has waited longest,
//! and a follower that is dropped is forgotten. The table runs no task and needs no timer: a caller that wants to bound
//! its wait drops its [`Follower`].
//!
//! ```
//! use discovery_core::sync::single_flight::{FollowerOutcome, Role, SingleFlight};
//!
//! # tokio_test::block_on(async {
//! let flights = SingleFlight::new();
//! let Role::Leader(leader) = flights.join("key") else { panic!("nobody led before") };
//! let Role::Follower(first) = flights.join("key") else { panic!("somebody leads") };
//! let Role::Follower(second) = flights.join("key") else { panic!("somebody leads") };
//!
//! drop(leader); // Cancelled: the next in line leads.
//! let FollowerOutcome::Promoted(leader) = first.await else { panic!("first in line") };
//! leader.complete_with("value");
//! assert!(matches!(second.await, FollowerOutcome::Completed("value")));
//! assert!(flights.is_empty());
//! # });
//! ```

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::sync::primitives::{Arc, Mutex, MutexGuard};

/// The flights that are under way, by key. Clones share them.
pub struct SingleFlight<K, V = ()> {
    queues: Arc<Mutex<Queues<K, V>>>,
}

type Queues<K, V> = HashMap<K, VecDeque<Arc<Waiter<V>>>>;

/// The part that a caller has in a flight, as [`SingleFlight::join`] assigns it.
#[derive(Debug)]
pub enum Role<K: Hash + Eq, V = ()> {
    /// Nobody else fetches it: go ahead, and then [`complete`](Leader::complete) or [`release`](Leader::release).
    Leader(Leader<K, V>),
    /// Somebody else fetches it: wait.
    Follower(Follower<K, V>),
}

/// The end of a follower's wait.
#[derive(Debug)]
pub enum FollowerOutcome<K: Hash + Eq, V = ()> {
    /// The leader went away without a result: lead in its place.
    Promoted(Leader<K, V>),
    /// The leader has a result, and this is the follower's value of it.
    Completed(V),
    /// The leader's result is of no use to others, for example an error: go on alone.
    Released,
}

/// The duty to fetch the thing. Dropped, it passes to the follower that has waited longest.
pub struct Leader<K: Hash + Eq, V = ()> {
    /// Taken when the duty has ended.
    duty: Option<(SingleFlight<K, V>, K)>,
}

/// A wait for the leader. It holds no lock, and can be dropped at any time.
#[must_use = "a follower waits only when awaited"]
pub struct Follower<K: Hash + Eq, V = ()> {
    flights: SingleFlight<K, V>,
    /// Taken when the wait is over.
    key: Option<K>,
    waiter: Arc<Waiter<V>>,
}

/// A follower as the leader sees it.
///
/// The lead is handed over only with the table locked, so that a follower that goes away at the same moment either is
/// seen to have gone or sees that it leads.
struct Waiter<V> {
    state: Mutex<WaiterState<V>>,
}

struct WaiterState<V> {
    outcome: Option<Outcome<V>>,
    waker: Option<Waker>,
}

enum Outcome<V> {
    Promoted,
    Completed(V),
    Released,
}

/// Followers of a flight that has ended. Dropped, for example because a closure panicked, it releases them.
struct Followers<V> {
    waiters: VecDeque<Arc<Waiter<V>>>,
}

impl<K, V> SingleFlight<K, V> {
    /// Makes a table without flights.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queues: Arc::default(),
        }
    }

    /// The number of flights that are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no flight is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Queues<K, V>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone, V> SingleFlight<K, V> {
    /// Makes the caller the leader for `key` if there is none, and a follower otherwise.
    pub fn join(&self, key: K) -> Role<K, V> {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(mut queue) => {
                let waiter = Arc::<Waiter<V>>::default();
                queue.get_mut().push_back(Arc::clone(&waiter));
                Role::Follower(Follower {
                    flights: self.clone(),
                    key: Some(key),
                    waiter,
                })
            }
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                Role::Leader(Leader {
                    duty: Some((self.clone(), key)),
                })
            }
        }
    }
}

impl<K: Hash + Eq, V> SingleFlight<K, V> {
    /// Ends the flight, and returns the followers, who have to be told.
    fn end(&self, key: &K) -> Followers<V> {
        Followers {
            waiters: self.lock().remove(key).unwrap_or_default(),
        }
    }

    /// Hands the lead on, or ends the flight if nobody waits.
    fn pass_on(&self, key: &K) {
        let mut queues = self.lock();
        let waker = match queues.get_mut(key).and_then(VecDeque::pop_front) {
            Some(next) => next.tell(Outcome::Promoted),
            None => {
                queues.remove(key);
                None
            }
        };
        drop(queues);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<K: Hash + Eq, V> Leader<K, V> {
    /// The number of followers that wait at the moment.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.duty.as_ref().map_or(0, |(flights, key)| {
            flights.lock().get(key).map_or(0, VecDeque::len)
        })
    }

    /// Ends the flight with a result. `value` is called once for each follower that waits, in the order in which they
    /// came, and what it returns is that follower's. No lock is held meanwhile; callers that come now begin another
    /// flight.
    ///
    /// If `value` panics, the followers that it was not called for are released.
    pub fn complete(mut self, mut value: impl FnMut() -> V) {
        if let Some((flights, key)) = self.duty.take() {
            let mut followers = flights.end(&key);
            while !followers.waiters.is_empty() {
                let value = value();
                followers.tell_next(Outcome::Completed(value));
            }
        }
    }

    /// Ends the flight with a result that each follower gets a clone of.
    pub fn complete_with(self, value: V)
    where
        V: Clone,
    {
        self.complete(|| value.clone());
    }

    /// Ends the flight without a result that is of use to others, and lets all go on alone at once.
    pub fn release(mut self) {
        if let Some((flights, key)) = self.duty.take() {
            drop(flights.end(&key));
        }
    }
}

impl<V> Followers<V> {
    /// Tells the one who has waited longest.
    fn tell_next(&mut self, outcome: Outcome<V>) {
        if let Some(waiter) = self.waiters.pop_front()
            && let Some(waker) = waiter.tell(outcome)
        {
            waker.wake();
        }
    }
}

impl<V> Drop for Followers<V> {
    fn drop(&mut self) {
        while !self.waiters.is_empty() {
            self.tell_next(Outcome::Released);
        }
    }
}

impl<V> Waiter<V> {
    fn state(&self) -> MutexGuard<'_, WaiterState<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, outcome: Outcome<V>) -> Option<Waker> {
        let mut state = self.state();
        state.outcome = Some(outcome);
        state.waker.take()
    }
}

impl<V> Default for Waiter<V> {
    fn default() -> Self {
        let state = WaiterState {
            outcome: None,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl<K, V> Clone for SingleFlight<K, V> {
    fn clone(&self) -> Self {
        Self {
            queues: Arc::clone(&self.queues),
        }
    }
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight")
            .field("len", &self.len())
            .finish()
    }
}

impl<K: Hash + Eq, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        if let Some((flights, key)) = self.duty.take() {
            flights.pass_on(&key);
        }
    }
}

impl<K: Hash + Eq, V> fmt::Debug for Leader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Unpin, V> Future for Follower<K, V> {
    type Output = FollowerOutcome<K, V>;

    /// Stays pending when polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = {
            let mut state = self.waiter.state();
            let Some(outcome) = state.outcome.take() else {
                let before = state.waker.replace(cx.waker().clone());
                // Dropping a waker can drop a task, and with it another wait for this table.
                drop(state);
                drop(before);
                return Poll::Pending;
            };
            outcome
        };
        let key = self.key.take();
        Poll::Ready(match (outcome, key) {
            (Outcome::Promoted, Some(key)) => FollowerOutcome::Promoted(Leader {
                duty: Some((self.flights.clone(), key)),
            }),
            (Outcome::Completed(value), _) => FollowerOutcome::Completed(value),
            (Outcome::Released, _) | (Outcome::Promoted, None) => FollowerOutcome::Released,
        })
    }
}

impl<K: Hash + Eq, V> Drop for Follower<K, V> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut queues = self.flights.lock();
        if let Some(queue) = queues.get_mut(&key) {
            queue.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
        }
        // The lead may have come while nobody looked: it must not end here.
        let leads = matches!(self.waiter.state().outcome, Some(Outcome::Promoted));
        drop(queues);
        if leads {
            self.flights.pass_on(&key);
        }
    }
}

impl<K: Hash + Eq, V> fmt::Debug for Follower<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}
