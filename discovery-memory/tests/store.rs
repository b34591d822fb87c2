//! `MemoryStore`: the contract, the bound and the bytes.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::store::{Store, Value, Writer};
use discovery_core::testing::conformance::{self, Suite};
use discovery_memory::MemoryStore;
use tokio_test::block_on;

/// The bytes that an entry counts beside its key and value.
const OVERHEAD: u64 = 192;

fn put(store: &MemoryStore, key: &str, value: Value) {
    block_on(store.put(key, value)).unwrap();
}

fn get(store: &MemoryStore, key: &str) -> Option<Value> {
    block_on(store.get(key)).unwrap()
}

fn create(store: &MemoryStore, key: &str, head: Bytes) -> Box<dyn Writer> {
    block_on(store.create(key, head)).unwrap()
}

fn write(writer: Box<dyn Writer>, len: usize) -> Box<dyn Writer> {
    block_on(writer.write(vec![2; len].into())).unwrap()
}

#[test]
fn a_memory_store_conforms() {
    block_on(conformance::run(|| MemoryStore::new(256 << 20)));
}

#[test]
fn a_memory_store_with_little_room_conforms() {
    // Room for the largest value of the suite, and little more.
    block_on(conformance::run_forgetful(|| MemoryStore::new(22 << 20)));

    let suite = Suite::new().forgetful();
    let store = || MemoryStore::new(200_000);
    block_on(conformance::odd_keys(&store(), &suite));
    block_on(conformance::lists_counts_and_clears(&store(), &suite));
    let shared = || -> Arc<dyn Store> { Arc::new(store()) };
    block_on(conformance::concurrent_writers(&shared(), &suite));
    block_on(conformance::concurrent_removes(&shared(), &suite));
    for seed in 1..20 {
        let store = MemoryStore::new(16_000);
        block_on(conformance::model(&store, &suite, seed));
    }
}

#[test]
fn without_room_no_value_is_kept() {
    for max_bytes in [0, 1, 100, 800] {
        let store = MemoryStore::new(max_bytes);
        put(&store, "key", Value::new("head", "body"));
        assert_eq!(get(&store, "key"), None);
        assert_eq!(store.bytes(), 0);
    }
}

#[test]
fn clones_share_memory_and_bound() {
    block_on(conformance::run_shared(|| {
        let store = MemoryStore::new(256 << 20);
        (store.clone(), store)
    }));
}

#[test]
fn a_memory_store_returns_the_bytes_it_was_given() {
    let store = MemoryStore::new(1 << 20);
    let value = Value::new(vec![1; 100], vec![2; 1000]);
    put(&store, "key", value.clone());
    for _ in 0..2 {
        let got = get(&store, "key").unwrap();
        assert_eq!(got.head.as_ptr(), value.head.as_ptr());
        assert_eq!(got.body.as_ptr(), value.body.as_ptr());
    }
}

#[test]
fn a_streamed_value_is_copied_once() {
    let store = MemoryStore::new(1 << 20);
    let head = Bytes::from(vec![1; 100]);
    let mut writer = create(&store, "key", head.clone());
    for _ in 0..10 {
        writer = write(writer, 777);
    }
    block_on(writer.commit()).unwrap();
    let first = get(&store, "key").unwrap();
    let second = get(&store, "key").unwrap();
    assert_eq!(first.head.as_ptr(), head.as_ptr());
    assert_eq!(first.body.len(), 7770);
    assert_eq!(first.body.as_ptr(), second.body.as_ptr());
}

#[test]
fn the_size_counts_keys_values_and_entries() {
    let store = MemoryStore::new(1 << 20);
    assert_eq!((store.len(), store.bytes()), (0, 0));
    put(&store, "key", Value::new("head", "body"));
    assert_eq!((store.len(), store.bytes()), (1, OVERHEAD + 3 + 8));
    put(&store, "key", Value::new("", ""));
    assert_eq!((store.len(), store.bytes()), (1, OVERHEAD + 3));
    put(&store, "longer key", Value::new("", vec![0; 1000]));
    assert_eq!(
        (store.len(), store.bytes()),
        (2, 2 * OVERHEAD + 3 + 10 + 1000)
    );
    block_on(store.remove("key")).unwrap();
    block_on(store.remove("longer key")).unwrap();
    assert_eq!((store.len(), store.bytes()), (0, 0));
    assert_eq!(store.evictions(), 0, "replaced and removed is not evicted");
    assert!(store.is_empty());
}

#[test]
fn a_memory_store_never_holds_more_than_the_bound() {
    let store = MemoryStore::new(100_000);
    let mut written = 0;
    for n in 0..5_000u64 {
        let len = usize::try_from(n * 7919 % 20_000).unwrap();
        put(
            &store,
            &format!("key {}", n % 700),
            Value::new("", vec![0; len]),
        );
        written += 1;
        assert!(store.bytes() <= store.max_bytes(), "after {written} writes");
    }
    assert!(store.evictions() > 0);
    assert!(!store.is_empty());
}

#[test]
fn a_used_entry_stays() {
    let store = MemoryStore::new(100_000);
    put(&store, "used", Value::new("", vec![0; 1_000]));
    for n in 0..1_000 {
        assert!(get(&store, "used").is_some(), "gone after {n} writes");
        put(&store, &n.to_string(), Value::new("", vec![0; 1_000]));
    }
}

#[test]
fn an_entry_of_more_than_a_quarter_is_not_kept() {
    let store = MemoryStore::new(40_000);
    let limit = 10_000 - usize::try_from(OVERHEAD).unwrap() - 3;
    put(&store, "key", Value::new("", vec![1; limit]));
    assert_eq!(get(&store, "key").map(|value| value.len()), Some(limit));

    // The old value must not outlive a newer one, and the others must not suffer.
    put(&store, "other", Value::new("", "other"));
    put(&store, "key", Value::new("", vec![2; limit + 1]));
    assert_eq!(get(&store, "key"), None);
    assert!(get(&store, "other").is_some());
    assert_eq!(store.evictions(), 0);
}

#[test]
fn a_writer_refuses_too_much() {
    let store = MemoryStore::new(40_000);
    put(&store, "key", Value::new("", "old"));
    let writer = write(create(&store, "key", vec![0; 5_000].into()), 4_000);
    let error = block_on(writer.write(vec![0; 4_000].into())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert_eq!(get(&store, "key"), Some(Value::new("", "old")));

    // Up to the limit it goes on taking.
    let mut writer = create(&store, "key", Bytes::new());
    for _ in 0..9 {
        writer = write(writer, 1_000);
    }
    block_on(writer.commit()).unwrap();
    assert_eq!(get(&store, "key").map(|value| value.len()), Some(9_000));

    // A head alone that is too much is found at the commit.
    let writer = create(&store, "key", vec![0; 20_000].into());
    block_on(writer.commit()).unwrap();
    assert_eq!(get(&store, "key"), None);
}

#[test]
fn threads_keep_the_bound() {
    let store = MemoryStore::new(200_000);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let store = &store;
            scope.spawn(move || {
                for n in 0..2_000usize {
                    let len = (n * 31 + thread * 17) % 9_000;
                    let key = format!("key {}", (n * 7 + thread) % 100);
                    put(store, &key, Value::new("", vec![0; len]));
                    assert!(store.bytes() <= 200_000);
                    get(store, &key);
                    if n % 10 == 0 {
                        block_on(store.remove(&key)).unwrap();
                    }
                }
            });
        }
    });
    assert!(store.evictions() > 0);
}

#[test]
fn debug_shows_the_figures_and_no_key() {
    let store = MemoryStore::new(1_000);
    put(&store, "secret", Value::new("", "value"));
    assert_eq!(
        format!("{store:?}"),
        "MemoryStore { len: 1, bytes: 203, max_bytes: 1000, evictions: 0 }"
    );
}
