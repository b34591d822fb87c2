use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

use super::Suite;
use super::tools::{Random, Task, get, put, remove, stream, yield_now};
use crate::store::{Store, Value};

const WRITERS: u64 = 4;
const ROUNDS: u64 = 40;

/// Values stay whole under tasks that write and read the same keys, and a completed write is
/// seen by each operation that comes after it.
pub async fn concurrent_writers(store: &Arc<dyn Store>, suite: &Suite) {
    // The last completed write to each key that only one task writes.
    let completed: Arc<Vec<AtomicU64>> =
        Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let at_work = Arc::new(AtomicUsize::new(WRITERS as usize));
    let mut tasks = Vec::<Task>::new();
    for writer in 0..WRITERS {
        let (store, suite) = (Arc::clone(store), suite.clone());
        let (completed, done) = (Arc::clone(&completed), CountDown(Arc::clone(&at_work)));
        tasks.push(Box::pin(async move {
            let _done = done;
            let own = format!("own {writer}");
            for round in 1..=ROUNDS {
                let value = signed(writer, round);
                for key in ["shared", "also shared", &own] {
                    if (writer + round) % 2 == 0 {
                        put(&*store, key, &value).await;
                    } else {
                        stream(&*store, key, &value, 4000).await;
                    }
                    yield_now().await;
                }
                completed[writer as usize].store(round, Ordering::SeqCst);
                let got = get(&*store, &own).await;
                suite.expect(got.as_ref(), Some(&value), "a writer's own key");
            }
        }));
    }
    for reader in 0..2u64 {
        let (store, suite) = (Arc::clone(store), suite.clone());
        let (completed, at_work) = (Arc::clone(&completed), Arc::clone(&at_work));
        tasks.push(Box::pin(async move {
            let mut random = Random::new(100 + reader);
            while at_work.load(Ordering::SeqCst) > 0 {
                if let Some(value) = get(&*store, "shared").await {
                    check_signed(&value);
                }
                yield_now().await;
                let writer = random.below(WRITERS as usize);
                let at_least = completed[writer].load(Ordering::SeqCst);
                match get(&*store, &format!("own {writer}")).await {
                    Some(value) => {
                        let (by, round) = check_signed(&value);
                        assert_eq!(by, writer as u64, "another key's value");
                        assert!(
                            round >= at_least,
                            "round {at_least} was written, but {round} is read",
                        );
                    }
                    None => assert!(
                        at_least == 0 || suite.forgets,
                        "a value is gone while it is replaced",
                    ),
                }
                yield_now().await;
            }
        }));
    }
    suite.run_all(tasks).await;
    for key in ["shared", "also shared"] {
        match get(&**store, key).await {
            // Of concurrent writes any may win, but each task's last one was its own last.
            Some(value) => assert_eq!(check_signed(&value).1, ROUNDS, "not a last write"),
            None => assert!(suite.forgets, "{key}: the value is gone"),
        }
    }
}

/// Several tasks may remove one value, and writers meanwhile leave whole values or none.
pub async fn concurrent_removes(store: &Arc<dyn Store>, suite: &Suite) {
    for round in 0..40 {
        put(&**store, "once", &signed(0, round)).await;
        let removes = (0..4).map(|_| {
            let store = Arc::clone(store);
            Box::pin(async move { remove(&*store, "once").await }) as Task
        });
        suite.run_all(removes.collect()).await;
        let got = get(&**store, "once").await;
        suite.expect(got.as_ref(), None, "removed");
    }

    let at_work = Arc::new(AtomicUsize::new(1));
    let done = CountDown(Arc::clone(&at_work));
    let writing = Arc::clone(store);
    let mut tasks = Vec::<Task>::new();
    tasks.push(Box::pin(async move {
        let _done = done;
        for round in 0..200 {
            put(&*writing, "key", &signed(1, round)).await;
            yield_now().await;
        }
    }));
    let (removing, until) = (Arc::clone(store), Arc::clone(&at_work));
    tasks.push(Box::pin(async move {
        while until.load(Ordering::SeqCst) > 0 {
            remove(&*removing, "key").await;
            yield_now().await;
        }
    }));
    let reading = Arc::clone(store);
    tasks.push(Box::pin(async move {
        while at_work.load(Ordering::SeqCst) > 0 {
            if let Some(value) = get(&*reading, "key").await {
                check_signed(&value);
            }
            yield_now().await;
        }
    }));
    suite.run_all(tasks).await;
}

/// A value that was replaced or removed does not come back, in a run of one key's writes that are
/// begun all at once.
pub async fn nothing_comes_back(store: &dyn Store, suite: &Suite) {
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
            suite.expect(got.as_ref(), Some(&value(last)), "the last put");
        }
        store.remove("key").await.expect("remove");
        suite.expect(get(store, "key").await.as_ref(), None, "removed");
    }
}

struct CountDown(Arc<AtomicUsize>);

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
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
