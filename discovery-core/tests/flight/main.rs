//! Single flight: who leads, who waits, and what happens when they go away.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use discovery_core::flight::{Flights, Follow, Joined, Lead, Turn};
use tokio_test::{assert_pending, assert_ready, task};

mod threads;

type Key = &'static str;

fn lead(flights: &Flights<Key>, key: Key) -> Lead<Key> {
    match flights.join(key) {
        Joined::Lead(lead) => lead,
        Joined::Follow(_) => panic!("somebody leads {key} already"),
    }
}

fn follow(flights: &Flights<Key>, key: Key) -> Follow<Key> {
    match flights.join(key) {
        Joined::Lead(_) => panic!("nobody led {key}"),
        Joined::Follow(follow) => follow,
    }
}

fn is_lead<K: std::hash::Hash + Eq>(turn: Turn<K>) -> Option<Lead<K>> {
    match turn {
        Turn::Lead(lead) => Some(lead),
        Turn::Landed | Turn::Released => None,
    }
}

#[test]
fn the_first_leads_and_the_others_follow() {
    let flights = Flights::new();
    assert!(flights.is_empty());
    let leader = lead(&flights, "key");
    assert_eq!(flights.len(), 1);
    let mut first = task::spawn(follow(&flights, "key"));
    let mut second = task::spawn(follow(&flights.clone(), "key"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());

    leader.land();
    assert!(flights.is_empty());
    assert!(first.is_woken() && second.is_woken());
    assert!(matches!(assert_ready!(first.poll()), Turn::Landed));
    assert!(matches!(assert_ready!(second.poll()), Turn::Landed));
    // The next one has the key for itself.
    lead(&flights, "key").land();
}

#[test]
fn release_lets_all_go_at_once() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let mut followers: Vec<_> = (0..10)
        .map(|_| task::spawn(follow(&flights, "key")))
        .collect();
    for follower in &mut followers {
        assert_pending!(follower.poll());
    }
    leader.release();
    assert!(flights.is_empty());
    for follower in &mut followers {
        assert!(follower.is_woken());
        assert!(matches!(assert_ready!(follower.poll()), Turn::Released));
    }
}

#[test]
fn news_wait_for_those_who_have_not_looked_yet() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let mut unpolled = task::spawn(follow(&flights, "key"));
    leader.land();
    assert!(matches!(assert_ready!(unpolled.poll()), Turn::Landed));

    let leader = lead(&flights, "key");
    let mut unpolled = task::spawn(follow(&flights, "key"));
    drop(leader);
    assert_eq!(flights.len(), 1, "the lead has passed on");
    assert!(is_lead(assert_ready!(unpolled.poll())).is_some());
    assert!(flights.is_empty());
}

#[test]
fn a_dropped_leader_hands_over_in_order() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let mut followers: Vec<_> = (0..5)
        .map(|_| task::spawn(follow(&flights, "key")))
        .collect();
    for follower in &mut followers {
        assert_pending!(follower.poll());
    }
    let mut leader = Some(leader);
    for at in 0..5 {
        drop(leader.take());
        for (other, follower) in followers.iter_mut().enumerate().skip(at + 1) {
            assert!(!follower.is_woken(), "{other} woken for {at}");
            assert_pending!(follower.poll());
        }
        assert!(followers[at].is_woken());
        leader = is_lead(assert_ready!(followers[at].poll()));
        assert!(leader.is_some());
        assert_eq!(flights.len(), 1);
    }
    drop(leader);
    assert!(flights.is_empty());
}

#[test]
fn the_next_leader_lands_for_the_rest() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let mut first = task::spawn(follow(&flights, "key"));
    let mut second = task::spawn(follow(&flights, "key"));
    assert_pending!(second.poll());
    drop(leader);
    let leader = is_lead(assert_ready!(first.poll())).unwrap();
    // One that comes now follows the new leader.
    let mut third = task::spawn(follow(&flights, "key"));
    assert_pending!(third.poll());
    leader.land();
    assert!(matches!(assert_ready!(second.poll()), Turn::Landed));
    assert!(matches!(assert_ready!(third.poll()), Turn::Landed));
}

#[test]
fn a_follower_that_goes_is_forgotten() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let gone = follow(&flights, "key");
    let mut polled_and_gone = task::spawn(follow(&flights, "key"));
    assert_pending!(polled_and_gone.poll());
    let mut stays = task::spawn(follow(&flights, "key"));
    assert_pending!(stays.poll());
    drop(gone);
    drop(polled_and_gone);
    drop(leader);
    assert!(stays.is_woken());
    assert!(is_lead(assert_ready!(stays.poll())).is_some());
    assert!(flights.is_empty());
}

#[test]
fn a_follower_that_was_just_handed_the_lead_passes_it_on() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let mut first = task::spawn(follow(&flights, "key"));
    let unpolled = follow(&flights, "key");
    let mut third = task::spawn(follow(&flights, "key"));
    assert_pending!(first.poll());
    assert_pending!(third.poll());

    drop(leader);
    assert!(first.is_woken());
    // It never looks.
    drop(first);
    assert_eq!(flights.len(), 1);
    drop(unpolled);
    assert!(third.is_woken());
    let leader = is_lead(assert_ready!(third.poll())).unwrap();
    assert_eq!(flights.len(), 1);
    drop(leader);
    assert!(flights.is_empty());

    // The last of all: the flight ends with it.
    let leader = lead(&flights, "key");
    let last = follow(&flights, "key");
    drop(leader);
    drop(last);
    assert!(flights.is_empty());
    lead(&flights, "key").land();
}

#[test]
fn a_follower_with_news_takes_none_from_the_next_flight() {
    let flights = Flights::new();
    for release in [false, true] {
        let leader = lead(&flights, "key");
        let late = follow(&flights, "key");
        if release {
            leader.release();
        } else {
            leader.land();
        }
        // Another flight of the key, while the old news are still unread.
        let leader = lead(&flights, "key");
        let mut next = task::spawn(follow(&flights, "key"));
        assert_pending!(next.poll());
        drop(late);
        assert_pending!(next.poll());
        assert_eq!(flights.len(), 1);
        leader.land();
        assert!(matches!(assert_ready!(next.poll()), Turn::Landed));
    }
}

#[test]
fn dropped_in_any_order() {
    // Every order of dropping a leader and three followers, two of which have been polled.
    for order in permutations(&[0, 1, 2, 3]) {
        let flights = Flights::new();
        let mut leader = Some(lead(&flights, "key"));
        let mut followers: Vec<_> = (0..3)
            .map(|_| Some(task::spawn(follow(&flights, "key"))))
            .collect();
        assert_pending!(followers[0].as_mut().unwrap().poll());
        assert_pending!(followers[2].as_mut().unwrap().poll());
        for who in &order {
            assert_eq!(flights.len(), 1, "{order:?}");
            match who {
                0 => drop(leader.take()),
                follower => drop(followers[follower - 1].take()),
            }
        }
        assert!(flights.is_empty(), "{order:?}");
    }
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(at);
        for mut order in permutations(&rest) {
            order.insert(0, *item);
            all.push(order);
        }
    }
    all
}

#[test]
fn keys_do_not_meet() {
    let flights = Flights::new();
    let one = lead(&flights, "one");
    let two = lead(&flights, "two");
    assert_eq!(flights.len(), 2);
    let mut first = task::spawn(follow(&flights, "one"));
    let mut second = task::spawn(follow(&flights, "two"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    one.land();
    assert!(matches!(assert_ready!(first.poll()), Turn::Landed));
    assert!(!second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(flights.len(), 1);
    two.release();
    assert!(matches!(assert_ready!(second.poll()), Turn::Released));
    assert!(flights.is_empty());
}

#[test]
fn keys_may_be_anything_that_hashes() {
    let flights = Flights::<(String, u64)>::default();
    let key = ("key".to_owned(), 1);
    let Joined::Lead(leader) = flights.join(key.clone()) else {
        panic!("nobody led before");
    };
    assert!(matches!(flights.join(key), Joined::Follow(_)));
    assert!(matches!(
        flights.join(("key".to_owned(), 2)),
        Joined::Lead(_)
    ));
    leader.land();
    assert!(flights.is_empty());
}

#[test]
fn the_last_waker_counts() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = [Arc::new(Count(0.into())), Arc::new(Count(0.into()))];
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let mut follower = follow(&flights, "key");
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        let poll = Pin::new(&mut follower).poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
    }
    leader.land();
    assert_eq!(counts[0].0.load(Ordering::SeqCst), 0);
    assert_eq!(counts[1].0.load(Ordering::SeqCst), 1);
    // Polled again after the end it stays pending.
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut follower).poll(&mut cx).is_ready());
    assert_eq!(
        Pin::new(&mut follower).poll(&mut cx).map(drop),
        Poll::Pending
    );
}

#[test]
fn a_thousand_followers() {
    for outcome in 0..3 {
        let flights = Flights::new();
        let mut leader = Some(lead(&flights, "key"));
        let mut followers: Vec<_> = (0..1_000)
            .map(|_| task::spawn(follow(&flights, "key")))
            .collect();
        for follower in &mut followers {
            assert_pending!(follower.poll());
        }
        match outcome {
            0 => leader.take().unwrap().land(),
            1 => leader.take().unwrap().release(),
            // Everyone in turn leads and gives up.
            _ => {
                for follower in &mut followers {
                    drop(leader.take());
                    assert!(follower.is_woken());
                    leader = is_lead(assert_ready!(follower.poll()));
                    assert!(leader.is_some());
                }
                drop(leader);
                assert!(flights.is_empty());
                continue;
            }
        }
        for follower in &mut followers {
            assert!(follower.is_woken());
            match assert_ready!(follower.poll()) {
                Turn::Landed => assert_eq!(outcome, 0),
                Turn::Released => assert_eq!(outcome, 1),
                Turn::Lead(_) => panic!("nobody gave up"),
            }
        }
        assert!(flights.is_empty());
    }
}

#[test]
fn shows_what_it_is() {
    let flights = Flights::new();
    let leader = lead(&flights, "key");
    let follower = follow(&flights, "key");
    assert_eq!(format!("{flights:?}"), "Flights { len: 1 }");
    assert_eq!(format!("{leader:?}"), "Lead { .. }");
    assert_eq!(format!("{follower:?}"), "Follow { .. }");
}
