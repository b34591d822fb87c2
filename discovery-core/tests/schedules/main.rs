//! Single flights under all schedules of a few threads, and under many random ones of more.
//!
//! The module is compiled once more, with locks that decide who goes on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::rand::Rng;
use shuttle::sync::Arc;
use shuttle::{future, thread};

use self::sync::single_flight::{FollowerOutcome, Leader, Role, SingleFlight};

mod sync;

/// How a thread ends what it leads, or gives up what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Completes,
    Releases,
    GoesAway,
}

/// Threads that want one thing. `how` tells for each how it ends a lead, and whether it gives up following without a
/// look.
fn fly(how: Vec<(Ends, bool)>) {
    let flights = SingleFlight::<&str, usize>::new();
    let leading = Arc::new(AtomicUsize::new(0));
    let led = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = how
        .into_iter()
        .enumerate()
        .map(|(number, (ends, gives_up))| {
            let (flights, leading, led) = (flights.clone(), Arc::clone(&leading), Arc::clone(&led));
            thread::spawn(move || {
                let lead = |leader: Leader<&'static str, usize>| {
                    assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead");
                    led.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    leading.fetch_sub(1, Ordering::SeqCst);
                    match ends {
                        Ends::Completes => leader.complete_with(number),
                        Ends::Releases => leader.release(),
                        Ends::GoesAway => drop(leader),
                    }
                };
                match flights.join("key") {
                    Role::Leader(leader) => lead(leader),
                    Role::Follower(follower) if gives_up => drop(follower),
                    Role::Follower(follower) => match future::block_on(follower) {
                        FollowerOutcome::Promoted(leader) => lead(leader),
                        FollowerOutcome::Completed(by) => assert_ne!(by, number),
                        FollowerOutcome::Released => {}
                    },
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no assertion fails");
    }
    assert!(flights.is_empty(), "a flight is left");
    assert!(led.load(Ordering::SeqCst) > 0, "nobody has led");
}

/// All that wait are told, whatever happens at the same time; a schedule that hangs is an error.
#[test]
fn all_schedules_of_two_threads_end() {
    for how in [
        [(Ends::Completes, false), (Ends::Completes, false)],
        [(Ends::Completes, false), (Ends::Completes, true)],
        [(Ends::Releases, false), (Ends::GoesAway, false)],
        [(Ends::GoesAway, false), (Ends::Completes, false)],
        [(Ends::GoesAway, false), (Ends::GoesAway, true)],
    ] {
        shuttle::check_dfs(move || fly(how.to_vec()), None);
    }
}

#[test]
fn random_schedules_of_four_threads_end() {
    let random = || {
        let mut random = shuttle::rand::thread_rng();
        let mut one = || {
            let ends = [Ends::Completes, Ends::Releases, Ends::GoesAway][random.gen_range(0..3)];
            (ends, random.gen_bool(0.3))
        };
        fly(vec![one(), one(), one(), one()]);
    };
    shuttle::check_random(random, 5_000);
    shuttle::check_pct(random, 2_000, 3);
}

/// With one key for each, nobody waits for anybody.
#[test]
fn keys_do_not_know_each_other() {
    shuttle::check_random(
        || {
            let flights = SingleFlight::<usize, ()>::new();
            let threads: Vec<_> = (0..3)
                .map(|key| {
                    let flights = flights.clone();
                    thread::spawn(move || {
                        let Role::Leader(leader) = flights.join(key) else {
                            panic!("{key} is led by another");
                        };
                        leader.complete_with(());
                        key
                    })
                })
                .collect();
            let keys: HashSet<_> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            assert_eq!(keys.len(), 3);
            assert!(flights.is_empty());
        },
        500,
    );
}
