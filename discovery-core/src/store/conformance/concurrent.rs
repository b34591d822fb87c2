use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;

use super::Memory;
use super::tools::{Random, block_on, get, put, stream};
use crate::store::{Store, Value};

const WRITERS: u64 = 4;
const ROUNDS: u64 = 40;

/// Values stay whole under threads that write and read the same keys, and a completed write is
/// seen by what comes after it.
pub fn concurrent_writers(store: &dyn Store, memory: Memory) {
    // Of the last completed write to a key that only one thread writes.
    let completed: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let at_work = AtomicUsize::new(WRITERS as usize);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (completed, at_work) = (&completed, &at_work);
            scope.spawn(move || {
                let _done = CountDown(at_work);
                for round in 1..=ROUNDS {
                    let value = signed(writer, round);
                    let own = format!("own {writer}");
                    for key in ["shared", "also shared", &own] {
                        if (writer + round) % 2 == 0 {
                            block_on(put(store, key, &value));
                        } else {
                            block_on(stream(store, key, &value, 4000));
                        }
                    }
                    completed[writer as usize].store(round, Ordering::SeqCst);
                    let got = block_on(get(store, &own));
                    memory.expect(got.as_ref(), Some(&value), "a writer's own key");
                }
            });
        }
        for reader in 0..2u64 {
            let (completed, at_work) = (&completed, &at_work);
            scope.spawn(move || {
                let mut random = Random::new(100 + reader);
                while at_work.load(Ordering::SeqCst) > 0 {
                    if let Some(value) = block_on(get(store, "shared")) {
                        check_signed(&value);
                    }
                    let writer = random.below(WRITERS as usize);
                    let at_least = completed[writer].load(Ordering::SeqCst);
                    match block_on(get(store, &format!("own {writer}"))) {
                        Some(value) => {
                            let (by, round) = check_signed(&value);
                            assert_eq!(by, writer as u64, "another key's value");
                            assert!(
                                round >= at_least,
                                "round {at_least} was written, but {round} is read",
                            );
                        }
                        None => assert!(
                            at_least == 0 || memory == Memory::Forgets,
                            "a value is gone while it is replaced",
                        ),
                    }
                }
            });
        }
    });
    for key in ["shared", "also shared"] {
        match block_on(get(store, key)) {
            // Of concurrent writes any may win, but each thread's last one was its own last.
            Some(value) => assert_eq!(check_signed(&value).1, ROUNDS, "not a last write"),
            None => assert_eq!(memory, Memory::Forgets, "{key}: the value is gone"),
        }
    }
}

/// Of threads that remove one value at most one has removed it, and writers meanwhile leave whole
/// values or none.
pub fn concurrent_removes(store: &dyn Store, memory: Memory) {
    for round in 0..40 {
        block_on(put(store, "once", &signed(0, round)));
        let removed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if block_on(store.remove("once")).expect("remove") {
                        removed.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let removed = removed.into_inner();
        assert!(removed <= 1, "{removed} threads removed one value");
        assert!(
            removed == 1 || memory == Memory::Forgets,
            "nobody removed the value"
        );
        memory.expect(block_on(get(store, "once")).as_ref(), None, "removed");
    }

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            for round in 0..200 {
                block_on(put(store, "key", &signed(1, round)));
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                block_on(store.remove("key")).expect("remove");
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                if let Some(value) = block_on(get(store, "key")) {
                    check_signed(&value);
                }
            }
        });
    });
}

/// What was replaced or removed does not come back, in a run of one key's writes that are begun
/// all at once.
pub async fn nothing_comes_back(store: &dyn Store, memory: Memory) {
    // Large enough for stores that work elsewhere only if there is much to do.
    let value = |round: u64| Value::new(round.to_string(), vec![round as u8; 300_000]);
    for last in 0..4 {
        let puts: Vec<_> = (0..4).map(|round| store.put("key", value(round))).collect();
        for put in puts {
            put.await.expect("put");
        }
        // All have completed, so this one is the last.
        put(store, "key", &value(last)).await;
        for _ in 0..3 {
            let got = get(store, "key").await;
            memory.expect(got.as_ref(), Some(&value(last)), "the last put");
        }
        store.remove("key").await.expect("remove");
        memory.expect(get(store, "key").await.as_ref(), None, "removed");
    }
}

struct CountDown<'a>(&'a AtomicUsize);

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A value that tells who wrote it, and of which every byte can be checked.
fn signed(writer: u64, round: u64) -> Value {
    let len = 100 + (writer * 7919 + round * 104_729) % 40_000;
    let head = format!("{writer} {round} {len}\n");
    let fill = fill(writer, round);
    Value::new(head, Bytes::from(vec![fill; len as usize]))
}

#[track_caller]
fn check_signed(value: &Value) -> (u64, u64) {
    let bytes = value.clone().into_bytes();
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let (head, body) = bytes.split_at(end.expect("a value without its first line") + 1);
    let numbers: Vec<u64> = std::str::from_utf8(head)
        .expect("a garbled value")
        .split_whitespace()
        .map(|number| number.parse().expect("a garbled value"))
        .collect();
    let [writer, round, len] = numbers[..] else {
        panic!("a garbled value");
    };
    assert_eq!(
        body.len() as u64,
        len,
        "a part of a value, or more than one"
    );
    let whole = vec![fill(writer, round); body.len()];
    assert!(body == whole, "a mix of two values");
    (writer, round)
}

fn fill(writer: u64, round: u64) -> u8 {
    // Never a line feed.
    b'0' + ((writer * 31 + round) % 64) as u8
}
