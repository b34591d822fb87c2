//! Keys as a stream and in their order; directories that come and go.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use discovery_core::store::{Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::{DiskStoreOptions, FileNames, FileOf};
use tokio_test::block_on;

use crate::{directory, get, put};

/// `a/b/c` is the file `c.value` in the directories `a` and `b`.
struct Paths;

impl FileNames for Paths {
    fn file_name(&self, key: &str) -> PathBuf {
        format!("{key}.value").into()
    }

    fn file_of(&self, file_name: &Path) -> FileOf {
        match file_name
            .to_str()
            .and_then(|name| name.strip_suffix(".value"))
        {
            Some(key) => FileOf::Key(key.to_owned()),
            None => FileOf::Nobody,
        }
    }
}

fn keys(store: &DiskStore, prefix: &str) -> Vec<String> {
    let mut keys: Vec<_> = store
        .iter_keys(prefix)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    keys.sort();
    keys
}

#[test]
fn keys_are_told_one_by_one() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().file_names(Paths);
    let store = DiskStore::with_options(&cache, options);
    assert_eq!(keys(&store, ""), [""; 0]);
    for key in ["a/1", "a/2", "a/b/3", "b/1", "c"] {
        put(&store, key, "value");
    }
    fs::write(cache.join("foreign"), "").unwrap();
    assert_eq!(keys(&store, ""), ["a/1", "a/2", "a/b/3", "b/1", "c"]);
    assert_eq!(keys(&store, "a/"), ["a/1", "a/2", "a/b/3"]);
    assert_eq!(keys(&store, "x"), [""; 0]);
    assert_eq!(store.iter_keys("").unwrap().take(2).count(), 2);
    assert_eq!(store.keys_from(None, 2).unwrap(), ["a/1", "a/2"]);
    assert_eq!(store.keys_from(Some("a/2"), 2).unwrap(), ["a/b/3", "b/1"]);
    assert_eq!(store.keys_from(Some("c"), 2).unwrap(), [""; 0]);
    assert_eq!(store.keys_from(None, 0).unwrap(), [""; 0]);
}

/// A name that is too long for its key has a sum in place of its end.
#[test]
fn a_name_that_does_not_tell_its_key_is_an_error_among_others() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    put(&store, "short", "value");
    put(&store, &"long".repeat(100), "value");
    let (keys, errors): (Vec<_>, Vec<_>) = store.iter_keys("").unwrap().partition(Result::is_ok);
    assert_eq!(keys.len(), 1);
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].as_ref().unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn the_index_follows_the_stores_own_writes() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().index(true).file_names(Paths);
    put(
        &DiskStore::with_options(&cache, options.clone()),
        "before",
        "value",
    );
    let store = DiskStore::with_options(&cache, options);
    let all = || store.keys_from(None, 100).unwrap();
    assert_eq!(all(), ["before"]);
    put(&store, "b/2", "value");
    let writer = crate::create(&store, "a/1", "value");
    block_on(writer.commit()).unwrap();
    put(&store.clone(), "b/2", "value");
    assert_eq!(all(), ["a/1", "b/2", "before"]);
    assert_eq!(store.keys_from(Some("a/1"), 1).unwrap(), ["b/2"]);
    block_on(store.remove("b/2")).unwrap();
    assert_eq!(all(), ["a/1", "before"]);
    block_on(store.clear()).unwrap();
    assert_eq!(all(), [""; 0]);
}

/// Names that let something happen between a change of a file and the note of it.
#[derive(Clone, Default)]
struct Between(Arc<Mutex<Option<Meddle>>>);

type Meddle = Box<dyn FnOnce() + Send>;

impl FileNames for Between {
    fn file_name(&self, key: &str) -> PathBuf {
        key.into()
    }

    fn file_of(&self, file_name: &Path) -> FileOf {
        let meddle = self.0.lock().unwrap().take();
        if let Some(meddle) = meddle {
            meddle();
        }
        FileOf::Key(file_name.to_str().unwrap().to_owned())
    }
}

/// A write and a removal at the same time may be noted in the other order.
#[test]
fn the_index_has_what_is_there_after_writes_and_removals_at_once() {
    let (_dir, cache) = directory();
    let between = Between::default();
    let options = DiskStoreOptions::new()
        .index(true)
        .file_names(between.clone());
    let store = DiskStore::with_options(&cache, options);
    let all = || store.keys_from(None, 100).unwrap();
    put(&store, "key", "value");
    assert_eq!(all(), ["key"]);
    let other = store.clone();
    *between.0.lock().unwrap() = Some(Box::new(move || put(&other, "key", "again")));
    block_on(store.remove("key")).unwrap();
    assert!(store.contains("key").unwrap());
    assert_eq!(all(), ["key"]);

    let other = store.clone();
    let remove = move || block_on(other.remove("key")).unwrap();
    *between.0.lock().unwrap() = Some(Box::new(remove));
    put(&store, "key", "another");
    assert!(!store.contains("key").unwrap());
    assert_eq!(all(), [""; 0]);
}

#[test]
fn empty_directories_go_with_their_last_value() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().file_names(Paths);
    let store = DiskStore::with_options(&cache, options);
    for key in ["a/b/c/1", "a/b/2", "d/1"] {
        put(&store, key, "value");
    }
    block_on(store.remove("a/b/c/1")).unwrap();
    assert!(!cache.join("a/b/c").exists() && cache.join("a/b").exists());
    block_on(store.remove("a/b/c/1")).unwrap();
    block_on(store.remove("a/b/2")).unwrap();
    assert!(!cache.join("a").exists());
    block_on(store.clear()).unwrap();
    assert!(!cache.join("d").exists());
    assert!(cache.exists(), "the store's own stays");

    // Those that have to make room, and those that are damaged, leave none either.
    let options = DiskStoreOptions::new().file_names(Paths).checksum(true);
    let store = DiskStore::with_options(&cache, options.clone().max_values(1));
    for key in ["a/b/1", "c/1"] {
        put(&store, key, "value");
        let file = fs::File::open(cache.join(format!("{key}.value"))).unwrap();
        let long_ago =
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(key.starts_with('c')));
        let times = fs::FileTimes::new()
            .set_accessed(long_ago)
            .set_modified(long_ago);
        file.set_times(times).unwrap();
    }
    store.sweep(std::time::Duration::MAX).unwrap();
    assert!(!cache.join("a").exists() && cache.join("c").exists());
    fs::write(cache.join("c/1.value"), "damaged").unwrap();
    let store = DiskStore::with_options(&cache, options);
    assert_eq!(store.verify().unwrap().damaged, 1);
    assert!(!cache.join("c").exists());
}

/// A writer whose directory is taken away makes it anew.
#[test]
fn pruning_does_not_race_a_writer() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().file_names(Paths);
    let store = DiskStore::with_options(&cache, options);
    let rounds = |key: &str| {
        for n in 0..200 {
            let value = Value::new("", n.to_string());
            block_on(store.put(key, value)).unwrap();
            assert_eq!(get(&store, key), Some(n.to_string()));
            block_on(store.remove(key)).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for key in ["a/b/c/one", "a/b/c/two", "a/b/other"] {
            scope.spawn(move || rounds(key));
        }
    });
    assert!(!cache.join("a").exists());
}

#[test]
fn a_store_that_can_not_be_used_does_not_open() {
    let (dir, cache) = directory();
    let store = DiskStore::open(&cache, DiskStoreOptions::new()).unwrap();
    assert_eq!(cache.join(".diskv-temp").read_dir().unwrap().count(), 0);
    put(&store, "key", "value");
    assert!(store.contains("key").unwrap() && !store.contains("other").unwrap());

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(DiskStore::open(file.join("cache"), DiskStoreOptions::new()).is_err());
    let above = DiskStoreOptions::new().temp_dir(dir.path());
    assert!(DiskStore::open(&cache, above).is_err());
    let indexed = DiskStoreOptions::new().index(true);
    let unreadable = indexed.file_names(|key: &str| key.into());
    let error = DiskStore::open(&cache, unreadable).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
