use bytes::Bytes;

use super::tools::{Random, create, get, give_up, put, remove, stream, text, write, yield_now};
use super::{Suite, same};
use crate::store::{Store, Value};

/// A way to write a key.
#[derive(Clone, Copy, Debug)]
enum Write {
    Put,
    Commit,
    Remove,
}

const WRITES: [Write; 3] = [Write::Put, Write::Commit, Write::Remove];

/// An operation that is given up has happened or not, and nothing in between; and it does not happen
/// any more when a later one has completed.
pub async fn cancelled_operations(store: &dyn Store, suite: &Suite) {
    let mut random = Random::new(7);
    // Large enough for stores that work elsewhere only if there is much to do.
    let bodies = [random.bytes(600_000), random.bytes(700_000)];
    let first = Value::new("first", bodies[0].clone());
    let second = Value::new("second", bodies[1].clone());
    let mut last = Vec::new();
    for polls in [0, 1, 2, 5] {
        for earlier in WRITES {
            for later in WRITES {
                let key = format!("{earlier:?} polled {polls} times, then {later:?}");
                put(store, &key, &first).await;
                begin(store, &key, earlier, &second, polls).await;
                // Not always: a late effect may come with the first operation after it.
                if polls != 1
                    && let Some(got) = get(store, &key).await
                {
                    assert!(
                        same(&got, &first) || same(&got, &second),
                        "{key}: {} bytes that nobody put",
                        got.len(),
                    );
                }
                let expected = finish(store, &key, later).await;
                for _ in 0..3 {
                    let got = get(store, &key).await;
                    suite.expect(got.as_ref(), expected.as_ref(), &key);
                    yield_now().await;
                }
                last.push((key, expected));
            }
        }
        abandon_reads_and_writers(store, suite, polls, &bodies[0]).await;
    }
    // Once more, for effects that take their time.
    for (key, expected) in last {
        let got = get(store, &key).await;
        suite.expect(got.as_ref(), expected.as_ref(), &key);
    }
}

/// Begins to write, and gives it up.
async fn begin(store: &dyn Store, key: &str, how: Write, value: &Value, polls: usize) {
    match how {
        Write::Put => give_up(store.put(key, value.clone()), polls).await,
        Write::Commit => {
            let writer = create(store, key, value.head.clone()).await;
            let writer = write(writer, value.body.clone()).await;
            give_up(writer.commit(), polls).await;
        }
        Write::Remove => give_up(store.remove(key), polls).await,
    }
}

/// Writes to the end, and returns the value that is there then.
async fn finish(store: &dyn Store, key: &str, how: Write) -> Option<Value> {
    let value = text("the last value");
    match how {
        Write::Put => put(store, key, &value).await,
        Write::Commit => stream(store, key, &value, 5).await,
        Write::Remove => {
            remove(store, key).await;
            return None;
        }
    }
    Some(value)
}

/// Gives up a `get`, a `create` and a `write`, none of which changes anything.
async fn abandon_reads_and_writers(store: &dyn Store, suite: &Suite, polls: usize, long: &Bytes) {
    let value = text("unchanged");
    put(store, "unchanged", &value).await;
    give_up(store.get("unchanged"), polls).await;
    give_up(store.create("unchanged", "head".into()), polls).await;
    let writer = create(store, "unchanged", "head".into()).await;
    give_up(writer.write(long.clone()), polls).await;
    let got = get(store, "unchanged").await;
    suite.expect(got.as_ref(), Some(&value), "a writer was given up");
}
