//! One request for many callers.
//!
//! When several callers want the same thing at the same time, one of them, the leader, gets it
//! and the others follow. The table knows who leads and who waits; it carries no values, so that
//! followers take what they need from where the leader put it (a store, a snapshot).
//!
//! Nothing hangs when callers go away. A leader that is dropped hands the lead to the follower
//! that has waited longest, and a follower that is dropped is forgotten. The table runs no task and
//! needs no timer: a caller that wants to bound its wait drops its [`Follow`].
//!
//! ```
//! use discovery_core::sync::single_flight::{Flights, Joined, Turn};
//!
//! # tokio_test::block_on(async {
//! let flights = Flights::new();
//! let Joined::Lead(lead) = flights.join("key") else { panic!("nobody led before") };
//! let Joined::Follow(first) = flights.join("key") else { panic!("somebody leads") };
//! let Joined::Follow(second) = flights.join("key") else { panic!("somebody leads") };
//!
//! drop(lead); // Cancelled: the next in line leads.
//! let Turn::Lead(lead) = first.await else { panic!("first in line") };
//! lead.land(); // Done: the others find the result where the leader put it.
//! assert!(matches!(second.await, Turn::Landed));
//! assert!(flights.is_empty());
//! # });
//! ```

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The table of what is under way, by key. Clones share it.
pub struct Flights<K> {
    queues: Arc<Mutex<HashMap<K, VecDeque<Arc<Seat>>>>>,
}

/// What [`Flights::join`] makes of a caller.
#[derive(Debug)]
pub enum Joined<K: Hash + Eq> {
    /// Nobody is on it: go ahead, and then [`land`](Lead::land) or [`release`](Lead::release).
    Lead(Lead<K>),
    /// Somebody is on it: wait.
    Follow(Follow<K>),
}

/// What a follower's wait ends with.
#[derive(Debug)]
pub enum Turn<K: Hash + Eq> {
    /// The leader went away without a result: lead in its place.
    Lead(Lead<K>),
    /// The leader's result is where it belongs: look again.
    Landed,
    /// The leader's result is of no use to others, for example an error: go on alone.
    Released,
}

/// The duty to get the thing. Dropped, it passes to the follower that has waited longest.
pub struct Lead<K: Hash + Eq> {
    /// Taken when the duty has ended.
    duty: Option<(Flights<K>, K)>,
}

/// A wait for the leader. It holds no lock, and can be dropped at any time.
#[must_use = "a follower waits only when awaited"]
pub struct Follow<K: Hash + Eq> {
    flights: Flights<K>,
    /// Taken when the wait is over.
    key: Option<K>,
    seat: Arc<Seat>,
}

/// Where a follower is told how its wait ended. Written only with the table locked, so that a
/// follower that goes away at the same moment either is seen to have gone or sees its news.
#[derive(Default)]
struct Seat {
    state: Mutex<SeatState>,
}

#[derive(Default)]
struct SeatState {
    news: Option<News>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy)]
enum News {
    Lead,
    Landed,
    Released,
}

impl<K> Flights<K> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queues: Arc::default(),
        }
    }

    /// How many keys somebody is on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, VecDeque<Arc<Seat>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Flights<K> {
    /// Leads if nobody is on `key`, follows otherwise.
    pub fn join(&self, key: K) -> Joined<K> {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(mut queue) => {
                let seat = Arc::<Seat>::default();
                queue.get_mut().push_back(Arc::clone(&seat));
                Joined::Follow(Follow {
                    flights: self.clone(),
                    key: Some(key),
                    seat,
                })
            }
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                Joined::Lead(Lead {
                    duty: Some((self.clone(), key)),
                })
            }
        }
    }
}

impl<K: Hash + Eq> Flights<K> {
    /// Ends the flight and tells all that wait.
    fn end(&self, key: &K, news: News) {
        let mut queues = self.lock();
        let queue = queues.remove(key).unwrap_or_default();
        let wakers: Vec<_> = queue.iter().filter_map(|seat| seat.tell(news)).collect();
        drop(queues);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Hands the lead on, or ends the flight if nobody waits.
    fn pass_on(&self, key: &K) {
        let mut queues = self.lock();
        let waker = match queues.get_mut(key).and_then(VecDeque::pop_front) {
            Some(next) => next.tell(News::Lead),
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

impl<K: Hash + Eq> Lead<K> {
    /// Ends the flight with a result that others can use, and sends them to look for it.
    pub fn land(mut self) {
        if let Some((flights, key)) = self.duty.take() {
            flights.end(&key, News::Landed);
        }
    }

    /// Ends the flight without such a result, and lets all go on alone at once.
    pub fn release(mut self) {
        if let Some((flights, key)) = self.duty.take() {
            flights.end(&key, News::Released);
        }
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, SeatState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: News) -> Option<Waker> {
        let mut state = self.state();
        state.news = Some(news);
        state.waker.take()
    }
}

impl<K> Clone for Flights<K> {
    fn clone(&self) -> Self {
        Self {
            queues: Arc::clone(&self.queues),
        }
    }
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for Flights<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("len", &self.len()).finish()
    }
}

impl<K: Hash + Eq> Drop for Lead<K> {
    fn drop(&mut self) {
        if let Some((flights, key)) = self.duty.take() {
            flights.pass_on(&key);
        }
    }
}

impl<K: Hash + Eq> fmt::Debug for Lead<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Unpin> Future for Follow<K> {
    type Output = Turn<K>;

    /// Stays pending when polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn<K>> {
        let news = {
            let mut state = self.seat.state();
            let Some(news) = state.news.take() else {
                let before = state.waker.replace(cx.waker().clone());
                // Dropping a waker can drop a task, and with it another wait for this table.
                drop(state);
                drop(before);
                return Poll::Pending;
            };
            news
        };
        let key = self.key.take();
        Poll::Ready(match (news, key) {
            (News::Lead, Some(key)) => Turn::Lead(Lead {
                duty: Some((self.flights.clone(), key)),
            }),
            (News::Landed, _) => Turn::Landed,
            (News::Released, _) | (News::Lead, None) => Turn::Released,
        })
    }
}

impl<K: Hash + Eq> Drop for Follow<K> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut queues = self.flights.lock();
        if let Some(queue) = queues.get_mut(&key) {
            queue.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        }
        // The lead may have come while nobody looked: it must not end here.
        let leads = matches!(self.seat.state().news, Some(News::Lead));
        drop(queues);
        if leads {
            self.flights.pass_on(&key);
        }
    }
}

impl<K: Hash + Eq> fmt::Debug for Follow<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}
