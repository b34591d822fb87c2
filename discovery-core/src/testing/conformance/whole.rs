use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::Suite;
use super::keys::keys;
use super::tools::{get, put, remove, text};
use crate::store::{Op, PutOptions, Store};

/// Hints for a value change neither the value nor one that comes after it.
pub async fn options_are_hints(store: &dyn Store, suite: &Suite) {
    let long = PutOptions::new().with_keep_for(Duration::from_secs(3_600));
    // The longest, which must not overflow, and the shortest: such a value may be gone at once.
    let longest = PutOptions::new().with_keep_for(Duration::MAX);
    let none = PutOptions::new().with_keep_for(Duration::ZERO);
    for options in [long, longest] {
        let put = store.put_with("put", text("put"), options.clone());
        put.await.expect("put");
        let got = get(store, "put").await;
        suite.expect(got.as_ref(), Some(&text("put")), "put with a hint");
        let writer = store.create_with("streamed", "streamed".into(), options);
        let commit = writer.await.expect("create").commit();
        commit.await.expect("commit");
        let got = get(store, "streamed").await;
        suite.expect(got.as_ref(), Some(&text("streamed")), "commit with a hint");
    }
    let short = store.put_with("put", text("short"), none);
    short.await.expect("put");
    if let Some(got) = get(store, "put").await {
        assert_eq!(got, text("short"), "the value before it");
    }
    // The hint was for the value, not for the key.
    put(store, "put", &text("last")).await;
    let got = get(store, "put").await;
    suite.expect(got.as_ref(), Some(&text("last")), "put without a hint");
}

/// `keys`, `size` and `clear` see all values and no others, where they are supported.
pub async fn lists_counts_and_clears(store: &dyn Store, suite: &Suite) {
    let plain = ["a", "a/b", "b", "", "https://h/a"];
    check(store, suite, &plain.map(str::to_owned)).await;
    check(store, suite, &keys()).await;
    // A store that can't list these keys can list others again.
    check(store, suite, &plain.map(str::to_owned)).await;
}

/// Writes keys, and removes all again.
async fn check(store: &dyn Store, suite: &Suite, keys: &[String]) {
    for key in keys {
        put(store, key, &text("value")).await;
    }
    for prefix in ["", "a", "a/", "https://", "no such prefix"] {
        let Some(listed) = supported(store.keys(prefix), "keys").await else {
            continue;
        };
        let number = listed.len();
        let listed: BTreeSet<String> = listed.into_iter().collect();
        assert_eq!(number, listed.len(), "{prefix:?}: a key is listed twice");
        let expected = keys.iter().filter(|key| key.starts_with(prefix)).cloned();
        let expected: BTreeSet<String> = expected.collect();
        if suite.forgets {
            assert!(listed.is_subset(&expected), "{prefix:?}: a key of nobody");
        } else {
            assert_eq!(listed, expected, "the keys that begin with {prefix:?}");
        }
    }
    if let Some(size) = supported(store.size(), "size").await {
        let values = keys.len() as u64;
        let expected = if suite.forgets {
            0..=values
        } else {
            values..=values
        };
        assert!(expected.contains(&size.values), "{size:?}, {values} put");
        assert_eq!(size.values == 0, size.bytes == 0, "{size:?}");
    }
    if supported(store.clear(), "clear").await.is_none() {
        for key in keys {
            remove(store, key).await;
        }
    }
    for key in keys {
        let got = get(store, key).await;
        suite.expect(got.as_ref(), None, "cleared");
    }
    if let Some(listed) = supported(store.keys(""), "keys").await {
        assert_eq!(listed, [""; 0], "cleared");
    }
    if let Some(size) = supported(store.size(), "size").await {
        assert_eq!((size.values, size.bytes), (0, 0), "cleared");
    }
    // A store that was cleared can be used.
    put(store, "after", &text("value")).await;
    let got = get(store, "after").await;
    suite.expect(got.as_ref(), Some(&text("value")), "put after clear");
    remove(store, "after").await;
    let writer = store.create("dropped", Bytes::new()).await.expect("create");
    if let Some(size) = supported(store.size(), "size").await {
        assert_eq!((size.values, size.bytes), (0, 0), "a writer is open");
    }
    drop(writer);
}

async fn supported<T: Unpin + 'static>(op: Op<io::Result<T>>, what: &str) -> Option<T> {
    match op.await {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
        outcome => Some(outcome.expect(what)),
    }
}
