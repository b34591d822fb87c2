//! Threads that lead and follow.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

use discovery_core::sync::single_flight::{FollowerOutcome, Leader, Role, SingleFlight};
use tokio_test::task;

/// Each thread wants the thing; it must be got once, and by all.
#[test]
fn threads_get_a_thing_once() {
    for _ in 0..200 {
        let flights = SingleFlight::new();
        let (got, start, joined) = (AtomicUsize::new(0), Barrier::new(4), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let join = flights.join("key");
                    // Nobody comes later: then it would be another flight.
                    joined.wait();
                    match join {
                        Role::Leader(lead) => {
                            got.fetch_add(1, Ordering::SeqCst);
                            lead.complete_with(());
                        }
                        Role::Follower(follow) => {
                            assert!(matches!(
                                tokio_test::block_on(follow),
                                FollowerOutcome::Completed(())
                            ));
                        }
                    }
                });
            }
        });
        assert_eq!(got.into_inner(), 1);
        assert!(flights.is_empty());
    }
}

/// Threads that lead, follow, give up before and after they looked: at no time two lead one key,
/// and at the end nothing is left.
#[test]
fn no_two_threads_lead_one_key_as_they_come_and_go() {
    let flights = SingleFlight::<usize>::new();
    let leading: [AtomicUsize; 2] = Default::default();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4usize {
            let (flights, leading, barrier) = (&flights, &leading, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let lead_on = |key: usize, lead: Leader<usize>, how: usize| {
                    assert_eq!(leading[key].fetch_add(1, Ordering::SeqCst), 0, "two lead");
                    thread::yield_now();
                    leading[key].fetch_sub(1, Ordering::SeqCst);
                    match how % 3 {
                        0 => lead.complete_with(()),
                        1 => lead.release(),
                        _ => drop(lead),
                    }
                };
                for round in 0..3_000usize {
                    let mix = (round * 7 + thread * 13) ^ (round >> 3);
                    let key = mix % 2;
                    match flights.join(key) {
                        Role::Leader(lead) => lead_on(key, lead, mix),
                        Role::Follower(follow) if mix % 5 == 0 => drop(follow),
                        Role::Follower(follow) if mix % 5 == 1 => {
                            let mut follow = task::spawn(follow);
                            match follow.poll() {
                                Poll::Ready(FollowerOutcome::Promoted(lead)) => {
                                    lead_on(key, lead, mix);
                                }
                                Poll::Ready(_) | Poll::Pending => drop(follow),
                            }
                        }
                        Role::Follower(follow) => {
                            if let FollowerOutcome::Promoted(lead) = tokio_test::block_on(follow) {
                                lead_on(key, lead, mix);
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(flights.is_empty());
}
