//! A store's operations, beside those of a map.

use std::collections::BTreeMap;

use bolero::TypeGenerator;
use discovery_core::store::{Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk_fuzz::{FORMS, get, store};
use discovery_http_cache_fuzz::target;
use tokio_test::block_on;

#[derive(Clone, Debug, TypeGenerator)]
struct Story {
    form: u8,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Step {
    Put(u8, Vec<u8>),
    Write(u8, Vec<Vec<u8>>),
    GiveUp(u8, Vec<u8>),
    Get(u8),
    Remove(u8),
    Clear,
    Count,
    Reopen,
}

const KEYS: [&str; 6] = ["", "a", "A", "../a", "https://h/a?b", "con"];

#[test]
fn operations() {
    target!(Story, 300, |story| {
        let dir = tempfile::tempdir().expect("a directory");
        let form = story.form % FORMS;
        let open = || store(dir.path(), form);
        let mut store = open();
        let mut map: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let key = |n: &u8| KEYS[usize::from(*n) % KEYS.len()];
        for step in story.steps.iter().take(40) {
            match step {
                Step::Put(n, value) => {
                    block_on(store.put(key(n), Value::new("", value.clone()))).expect("room");
                    map.insert(key(n), value.clone());
                }
                Step::Write(n, pieces) => {
                    let mut writer = block_on(store.create(key(n), "".into())).expect("room");
                    for piece in pieces {
                        writer = block_on(writer.write(piece.clone().into())).expect("room");
                    }
                    block_on(writer.commit()).expect("room");
                    map.insert(key(n), pieces.concat());
                }
                Step::GiveUp(n, value) => {
                    let writer = block_on(store.create(key(n), "".into())).expect("room");
                    drop(block_on(writer.write(value.clone().into())));
                }
                Step::Get(n) => {
                    let expected = map.get(key(n)).map(|value| Value::new("", value.clone()));
                    assert_eq!(get(&*store, key(n)), expected);
                }
                Step::Remove(n) => {
                    block_on(store.remove(key(n))).expect("it can be removed");
                    map.remove(key(n));
                }
                Step::Clear => {
                    block_on(store.clear()).expect("all can be removed");
                    map.clear();
                }
                Step::Count => {
                    let size = block_on(store.size()).expect("they can be counted");
                    assert_eq!(size.values, map.len() as u64);
                }
                Step::Reopen => store = open(),
            }
        }
        for key in KEYS {
            let expected = map.get(key).map(|value| Value::new("", value.clone()));
            assert_eq!(get(&*open(), key), expected);
        }
        keys_in_order(dir.path(), &map, form);
    });
}

/// The keys of those whose names tell them.
fn keys_in_order(dir: &std::path::Path, map: &BTreeMap<&str, Vec<u8>>, form: u8) {
    if form == 0 || map.contains_key("https://h/a?b") {
        return;
    }
    let expected: Vec<_> = map.keys().copied().collect();
    for index in [false, true] {
        let options = DiskStoreOptions::new().index(index);
        let store = DiskStore::with_options(dir, options);
        let mut keys = Vec::new();
        // Page by page.
        while let Some(next) = store
            .keys_from(keys.last().map(String::as_str), 2)
            .map(|page| (!page.is_empty()).then_some(page))
            .expect("keys")
        {
            keys.extend(next);
        }
        assert_eq!(keys, expected);
    }
}
