use bytes::Bytes;

use super::Suite;
use super::tools::{Random, create, get, put, remove, stream, text, write};
use crate::store::{Store, Value};

/// Nothing is there that was not put there.
pub async fn starts_empty(store: &dyn Store, suite: &Suite) {
    for key in ["key", ""] {
        suite.expect(get(store, key).await.as_ref(), None, "a new store");
        remove(store, key).await;
    }
}

/// A `get` sees the last `put` or commit that has completed.
pub async fn last_write_wins(store: &dyn Store, suite: &Suite) {
    let values = ["first", "", "the second is longer", "3rd", "3rd", "THE END"];
    for value in values.map(text) {
        put(store, "key", &value).await;
        suite.expect(get(store, "key").await.as_ref(), Some(&value), "put");
        stream(store, "other", &value, 3).await;
        suite.expect(get(store, "other").await.as_ref(), Some(&value), "commit");
    }
    put(store, "other", &text("put")).await;
    let got = get(store, "other").await;
    suite.expect(got.as_ref(), Some(&text("put")), "put after commit");
    stream(store, "key", &text("commit"), 100).await;
    let got = get(store, "key").await;
    suite.expect(got.as_ref(), Some(&text("commit")), "commit after put");
    // Of the same length, as a store that compares only sizes would not tell apart.
    put(store, "key", &text("COMMIT")).await;
    let got = get(store, "key").await;
    suite.expect(got.as_ref(), Some(&text("COMMIT")), "as long as before");

    // The commit of a writer counts, not its beginning.
    let mut writer = create(store, "key", Bytes::new()).await;
    writer = write(writer, "written").await;
    put(store, "key", &text("between")).await;
    writer.commit().await.expect("commit");
    let got = get(store, "key").await;
    suite.expect(got.as_ref(), Some(&text("written")), "commit after put");
}

/// The bytes are the value, in whatever pieces they came.
pub async fn split_does_not_matter(store: &dyn Store, suite: &Suite) {
    let whole = Bytes::from_static(b"0123456789");
    let expected = Value::new("", whole.clone());
    for head in 0..=whole.len() {
        let value = Value::new(whole.slice(..head), whole.slice(head..));
        put(store, "put", &value).await;
        suite.expect(get(store, "put").await.as_ref(), Some(&expected), "put");
        for piece in [1, 3, 100] {
            stream(store, "streamed", &value, piece).await;
            let got = get(store, "streamed").await;
            suite.expect(got.as_ref(), Some(&expected), "streamed");
        }
    }
    // Slices of a larger buffer.
    let value = Value::new(whole.slice(2..4), whole.slice(4..6));
    put(store, "slice", &value).await;
    let got = get(store, "slice").await;
    suite.expect(got.as_ref(), Some(&text("2345")), "slices");
}

/// The bytes that a writer was given become visible with the commit.
pub async fn nothing_before_commit(store: &dyn Store, suite: &Suite) {
    put(store, "old", &text("old")).await;
    let long = Random::new(3).bytes(700_000);
    for (key, before) in [("old", Some(text("old"))), ("new", None)] {
        let mut writer = create(store, key, "head ".into()).await;
        suite.expect(get(store, key).await.as_ref(), before.as_ref(), "created");
        writer = write(writer, "body ").await;
        suite.expect(get(store, key).await.as_ref(), before.as_ref(), "written");
        writer = write(writer, long.clone()).await;
        suite.expect(get(store, key).await.as_ref(), before.as_ref(), "written");
        writer.commit().await.expect("commit");
        let expected = Value::new("head body ", long.clone());
        let got = get(store, key).await;
        suite.expect(got.as_ref(), Some(&expected), "committed");
    }

    // Two writers of one key do not meet.
    let mut first = create(store, "two", "1".into()).await;
    let mut second = create(store, "two", "2".into()).await;
    first = write(first, "one").await;
    second = write(second, "two").await;
    second.commit().await.expect("commit");
    let got = get(store, "two").await;
    suite.expect(got.as_ref(), Some(&text("2two")), "second writer");
    first = write(first, " more").await;
    first.commit().await.expect("commit");
    let got = get(store, "two").await;
    suite.expect(got.as_ref(), Some(&text("1one more")), "first writer");
}

/// A writer that is dropped changes nothing.
pub async fn dropped_writer_leaves_no_trace(store: &dyn Store, suite: &Suite) {
    put(store, "old", &text("old")).await;
    let long = Random::new(4).bytes(700_000);
    for (key, before) in [("old", Some(text("old"))), ("new", None)] {
        drop(create(store, key, "head".into()).await);
        suite.expect(get(store, key).await.as_ref(), before.as_ref(), "dropped");

        let mut writer = create(store, key, "head".into()).await;
        writer = write(writer, "body").await;
        writer = write(writer, long.clone()).await;
        drop(writer);
        suite.expect(get(store, key).await.as_ref(), before.as_ref(), "dropped");
    }
}

/// After `remove` there is nothing, whether or not there was something before.
pub async fn remove_is_idempotent(store: &dyn Store, suite: &Suite) {
    put(store, "key", &text("value")).await;
    put(store, "other", &text("other")).await;
    remove(store, "key").await;
    suite.expect(get(store, "key").await.as_ref(), None, "removed");
    remove(store, "key").await;
    let got = get(store, "other").await;
    suite.expect(got.as_ref(), Some(&text("other")), "another key removed");

    // A writer that is open meanwhile is a later write.
    put(store, "key", &text("value")).await;
    let writer = create(store, "key", "written".into()).await;
    remove(store, "key").await;
    writer.commit().await.expect("commit");
    let got = get(store, "key").await;
    suite.expect(
        got.as_ref(),
        Some(&text("written")),
        "committed after remove",
    );
}

/// A value without a byte is a value.
pub async fn empty_values(store: &dyn Store, suite: &Suite) {
    let empty = Value::default();
    put(store, "put", &empty).await;
    let writer = create(store, "streamed", Bytes::new()).await;
    writer.commit().await.expect("commit");
    let mut writer = create(store, "written", Bytes::new()).await;
    writer = write(writer, Bytes::new()).await;
    writer.commit().await.expect("commit");
    for key in ["put", "streamed", "written"] {
        let got = get(store, key).await;
        suite.expect(got.as_ref(), Some(&empty), key);
        remove(store, key).await;
    }
}

/// Values of several MiB come back whole, from `put` and from a writer.
pub async fn big_values(store: &dyn Store, suite: &Suite) {
    let mut random = Random::new(5);
    // Repeated, because making random bytes takes longer than keeping them.
    let block = random.bytes(65_537);
    let mut body = Vec::new();
    for _ in 0..56 {
        body.extend_from_slice(&block);
    }
    let value = Value::new("head", body);
    for piece in [1 << 14, usize::MAX] {
        stream(store, "streamed", &value, piece).await;
        let got = get(store, "streamed").await;
        suite.expect(got.as_ref(), Some(&value), "streamed");
    }
    put(store, "put", &value).await;
    suite.expect(get(store, "put").await.as_ref(), Some(&value), "put");
    // Put again, and then changed in its last byte only.
    put(store, "put", &value).await;
    suite.expect(get(store, "put").await.as_ref(), Some(&value), "put again");
    let mut changed = value.body.to_vec();
    if let Some(last) = changed.last_mut() {
        *last = last.wrapping_add(1);
    }
    let changed = Value::new("head", changed);
    put(store, "put", &changed).await;
    suite.expect(get(store, "put").await.as_ref(), Some(&changed), "changed");
    put(store, "put", &text("small")).await;
    let got = get(store, "put").await;
    suite.expect(got.as_ref(), Some(&text("small")), "small after big");
}

/// A writer takes thousands of pieces, empty ones too.
pub async fn many_writes(store: &dyn Store, suite: &Suite) {
    let mut random = Random::new(6);
    let mut expected = Vec::from(&b"head"[..]);
    let mut writer = create(store, "key", "head".into()).await;
    let source = random.bytes(1000);
    for _ in 0..4000 {
        let len = random.below(200);
        let piece = source.slice(..len);
        expected.extend_from_slice(&piece);
        writer = write(writer, piece.clone()).await;
    }
    writer.commit().await.expect("commit");
    let expected = Value::new("", expected);
    let got = get(store, "key").await;
    suite.expect(got.as_ref(), Some(&expected), "many writes");
}
