//! Single flight: who leads, who waits, and what happens when they go away.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use discovery_core::sync::single_flight::{Follower, FollowerOutcome, Leader, Role, SingleFlight};
use tokio_test::{assert_pending, assert_ready, task};

mod threads;

type Key = &'static str;

fn lead(flights: &SingleFlight<Key>, key: Key) -> Leader<Key> {
    match flights.join(key) {
        Role::Leader(lead) => lead,
        Role::Follower(_) => panic!("somebody leads {key} already"),
    }
}

fn follow(flights: &SingleFlight<Key>, key: Key) -> Follower<Key> {
    match flights.join(key) {
        Role::Leader(_) => panic!("nobody led {key}"),
        Role::Follower(follow) => follow,
    }
}

fn promoted<K: std::hash::Hash + Eq>(turn: FollowerOutcome<K>) -> Option<Leader<K>> {
    match turn {
        FollowerOutcome::Promoted(lead) => Some(lead),
        FollowerOutcome::Completed(()) | FollowerOutcome::Released => None,
    }
}

#[test]
fn the_first_leads_and_the_others_follow() {
    let flights = SingleFlight::new();
    assert!(flights.is_empty());
    let leader = lead(&flights, "key");
    assert_eq!(flights.len(), 1);
    let mut first = task::spawn(follow(&flights, "key"));
    let mut second = task::spawn(follow(&flights.clone(), "key"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());

    leader.complete_with(());
    assert!(flights.is_empty());
    assert!(first.is_woken() && second.is_woken());
    assert!(matches!(
        assert_ready!(first.poll()),
        FollowerOutcome::Completed(())
    ));
    assert!(matches!(
        assert_ready!(second.poll()),
        FollowerOutcome::Completed(())
    ));
    // The next one has the key for itself.
    lead(&flights, "key").complete_with(());
}

#[test]
fn a_release_lets_all_followers_go_at_once() {
    let flights = SingleFlight::new();
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
        assert!(matches!(
            assert_ready!(follower.poll()),
            FollowerOutcome::Released
        ));
    }
}

#[test]
fn an_outcome_waits_for_a_follower_that_has_not_looked_yet() {
    let flights = SingleFlight::new();
    let leader = lead(&flights, "key");
    let mut unpolled = task::spawn(follow(&flights, "key"));
    leader.complete_with(());
    assert!(matches!(
        assert_ready!(unpolled.poll()),
        FollowerOutcome::Completed(())
    ));

    let leader = lead(&flights, "key");
    let mut unpolled = task::spawn(follow(&flights, "key"));
    drop(leader);
    assert_eq!(flights.len(), 1, "the lead has passed on");
    assert!(promoted(assert_ready!(unpolled.poll())).is_some());
    assert!(flights.is_empty());
}

#[test]
fn a_dropped_leader_hands_over_in_order() {
    let flights = SingleFlight::new();
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
        leader = promoted(assert_ready!(followers[at].poll()));
        assert!(leader.is_some());
        assert_eq!(flights.len(), 1);
    }
    drop(leader);
    assert!(flights.is_empty());
}

#[test]
fn the_next_leader_completes_for_the_rest() {
    let flights = SingleFlight::new();
    let leader = lead(&flights, "key");
    let mut first = task::spawn(follow(&flights, "key"));
    let mut second = task::spawn(follow(&flights, "key"));
    assert_pending!(second.poll());
    drop(leader);
    let leader = promoted(assert_ready!(first.poll())).unwrap();
    // One that comes now follows the new leader.
    let mut third = task::spawn(follow(&flights, "key"));
    assert_pending!(third.poll());
    leader.complete_with(());
    assert!(matches!(
        assert_ready!(second.poll()),
        FollowerOutcome::Completed(())
    ));
    assert!(matches!(
        assert_ready!(third.poll()),
        FollowerOutcome::Completed(())
    ));
}

#[test]
fn a_follower_that_goes_is_forgotten() {
    let flights = SingleFlight::new();
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
    assert!(promoted(assert_ready!(stays.poll())).is_some());
    assert!(flights.is_empty());
}

#[test]
fn a_follower_that_was_just_handed_the_lead_passes_it_on() {
    let flights = SingleFlight::new();
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
    let leader = promoted(assert_ready!(third.poll())).unwrap();
    assert_eq!(flights.len(), 1);
    drop(leader);
    assert!(flights.is_empty());

    // The last of all: the flight ends with it.
    let leader = lead(&flights, "key");
    let last = follow(&flights, "key");
    drop(leader);
    drop(last);
    assert!(flights.is_empty());
    lead(&flights, "key").complete_with(());
}

#[test]
fn a_follower_of_an_ended_flight_takes_nothing_from_the_next_one() {
    let flights = SingleFlight::new();
    for release in [false, true] {
        let leader = lead(&flights, "key");
        let late = follow(&flights, "key");
        if release {
            leader.release();
        } else {
            leader.complete_with(());
        }
        // Another flight of the key, while the old news are still unread.
        let leader = lead(&flights, "key");
        let mut next = task::spawn(follow(&flights, "key"));
        assert_pending!(next.poll());
        drop(late);
        assert_pending!(next.poll());
        assert_eq!(flights.len(), 1);
        leader.complete_with(());
        assert!(matches!(
            assert_ready!(next.poll()),
            FollowerOutcome::Completed(())
        ));
    }
}

#[test]
fn nothing_is_left_in_whatever_order_they_are_dropped() {
    // Every order of dropping a leader and three followers, two of which have been polled.
    for order in permutations(&[0, 1, 2, 3]) {
        let flights = SingleFlight::new();
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
fn flights_of_different_keys_do_not_meet() {
    let flights = SingleFlight::new();
    let one = lead(&flights, "one");
    let two = lead(&flights, "two");
    assert_eq!(flights.len(), 2);
    let mut first = task::spawn(follow(&flights, "one"));
    let mut second = task::spawn(follow(&flights, "two"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    one.complete_with(());
    assert!(matches!(
        assert_ready!(first.poll()),
        FollowerOutcome::Completed(())
    ));
    assert!(!second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(flights.len(), 1);
    two.release();
    assert!(matches!(
        assert_ready!(second.poll()),
        FollowerOutcome::Released
    ));
    assert!(flights.is_empty());
}

#[test]
fn keys_may_be_anything_that_hashes() {
    let flights = SingleFlight::<(String, u64)>::default();
    let key = ("key".to_owned(), 1);
    let Role::Leader(leader) = flights.join(key.clone()) else {
        panic!("nobody led before");
    };
    assert!(matches!(flights.join(key), Role::Follower(_)));
    assert!(matches!(
        flights.join(("key".to_owned(), 2)),
        Role::Leader(_)
    ));
    leader.complete_with(());
    assert!(flights.is_empty());
}

#[test]
fn a_follower_wakes_the_last_waker_that_it_was_polled_with() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = [Arc::new(Count(0.into())), Arc::new(Count(0.into()))];
    let flights = SingleFlight::new();
    let leader = lead(&flights, "key");
    let mut follower = follow(&flights, "key");
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        let poll = Pin::new(&mut follower).poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
    }
    leader.complete_with(());
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
fn a_thousand_followers_are_completed_released_or_promoted() {
    for outcome in 0..3 {
        let flights = SingleFlight::new();
        let mut leader = Some(lead(&flights, "key"));
        let mut followers: Vec<_> = (0..1_000)
            .map(|_| task::spawn(follow(&flights, "key")))
            .collect();
        for follower in &mut followers {
            assert_pending!(follower.poll());
        }
        match outcome {
            0 => leader.take().unwrap().complete_with(()),
            1 => leader.take().unwrap().release(),
            // Everyone in turn leads and gives up.
            _ => {
                for follower in &mut followers {
                    drop(leader.take());
                    assert!(follower.is_woken());
                    leader = promoted(assert_ready!(follower.poll()));
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
                FollowerOutcome::Completed(()) => assert_eq!(outcome, 0),
                FollowerOutcome::Released => assert_eq!(outcome, 1),
                FollowerOutcome::Promoted(_) => panic!("nobody gave up"),
            }
        }
        assert!(flights.is_empty());
    }
}

#[test]
fn debug_shows_no_key_and_no_value() {
    let flights = SingleFlight::new();
    let leader = lead(&flights, "key");
    let follower = follow(&flights, "key");
    assert_eq!(format!("{flights:?}"), "SingleFlight { len: 1 }");
    assert_eq!(format!("{leader:?}"), "Leader { .. }");
    assert_eq!(format!("{follower:?}"), "Follower { .. }");
}

#[test]
fn each_follower_gets_a_value_of_its_own_in_the_order_of_joining() {
    /// A value that has no `Clone`.
    #[derive(Debug, PartialEq)]
    struct Value(usize);

    let flights = SingleFlight::<Key, Value>::new();
    let Role::Leader(leader) = flights.join("key") else {
        panic!("nobody led before");
    };
    let followers: Vec<_> = (0..4)
        .filter_map(|_| match flights.join("key") {
            Role::Follower(follower) => Some(follower),
            Role::Leader(_) => None,
        })
        .collect();
    let mut followers: Vec<_> = followers.into_iter().map(Some).collect();
    assert_eq!(leader.followers(), 4);
    drop(followers[1].take());
    assert_eq!(leader.followers(), 3);
    let mut made = 0;
    leader.complete(|| {
        made += 1;
        assert!(
            flights.is_empty(),
            "no lock is held, and the flight has ended"
        );
        Value(made)
    });
    assert_eq!(made, 3, "once for each that waits");
    let mut values = Vec::new();
    for follower in followers.into_iter().flatten() {
        match assert_ready!(task::spawn(follower).poll()) {
            FollowerOutcome::Completed(value) => values.push(value),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(values, [Value(1), Value(2), Value(3)]);
}

#[test]
fn a_panic_while_values_are_made_releases_the_followers_that_have_none() {
    let flights = SingleFlight::<Key, usize>::new();
    let Role::Leader(leader) = flights.join("key") else {
        panic!("nobody led before");
    };
    let mut followers: Vec<_> = (0..3)
        .filter_map(|_| match flights.join("key") {
            Role::Follower(follower) => Some(task::spawn(follower)),
            Role::Leader(_) => None,
        })
        .collect();
    for follower in &mut followers {
        assert_pending!(follower.poll());
    }
    let mut made = 0;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        leader.complete(|| {
            made += 1;
            assert!(made < 2, "as the closure of a caller may");
            made
        });
    }));
    assert!(panicked.is_err());
    let mut followers = followers.into_iter();
    let mut next = || assert_ready!(followers.next().unwrap().poll());
    assert!(matches!(next(), FollowerOutcome::Completed(1)));
    assert!(matches!(next(), FollowerOutcome::Released));
    assert!(matches!(next(), FollowerOutcome::Released));
    assert!(flights.is_empty());
}
