//! Directories that somebody else can write to.
#![cfg(unix)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::time::Duration;

use discovery_core::store::{Store, Value};
use discovery_disk::store::{DiskStoreOptions, SweepReport, VerifyReport};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::files::set_mode;
use crate::{directory, get, put};

/// Nothing is found there and nothing is written.
fn assert_left_alone(cache: &std::path::Path) {
    let stores: [Box<dyn Store>; 2] = [
        Box::new(KubectlStore::new(cache)),
        Box::new(DiskStore::new(cache)),
    ];
    let before = crate::files::tree(cache);
    for store in stores {
        for _ in 0..2 {
            assert_eq!(get(&*store, "key"), None);
            let error = block_on(store.put("key", Value::new("", "new"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            block_on(store.remove("key")).unwrap();
        }
    }
    let store = DiskStore::new(cache);
    assert!(!store.contains("key").unwrap());
    assert!(store.reader("key").unwrap().is_none());
    // Nor is anything removed, which may be behind a link by then.
    assert_eq!(block_on(store.keys("")).unwrap(), [""; 0]);
    assert_eq!(store.keys_from(None, 9).unwrap(), [""; 0]);
    assert_eq!(block_on(store.size()).unwrap().values, 0);
    assert_eq!(store.verify().unwrap(), VerifyReport::default());
    assert_eq!(store.sweep(Duration::ZERO).unwrap(), SweepReport::default());
    block_on(store.clear()).unwrap();
    assert_eq!(crate::files::tree(cache), before);
    let error = DiskStore::open(cache, DiskStoreOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_directory_that_all_may_write_to_is_left_alone() {
    let (_dir, cache) = directory();
    put(&DiskStore::new(&cache), "key", "planted");
    put(&KubectlStore::new(&cache), "key", "planted");
    fs::write(cache.join(".diskv-temp/123"), "of somebody else").unwrap();
    for mode in [0o777, 0o1777, 0o702] {
        set_mode(&cache, mode);
        assert_left_alone(&cache);
        let trusting = DiskStoreOptions::new().trust_any_owner(true);
        let store = DiskStore::with_options(&cache, trusting);
        assert_eq!(get(&store, "key").as_deref(), Some("planted"));
    }
    // Those that a group may write to are how volumes are shared on purpose.
    for mode in [0o700, 0o750, 0o770, 0o775] {
        set_mode(&cache, mode);
        assert_eq!(
            get(&DiskStore::new(&cache), "key").as_deref(),
            Some("planted")
        );
    }
}

/// Only root can give files away.
#[test]
fn another_users_directory_is_left_alone() {
    let (_dir, cache) = directory();
    put(&DiskStore::new(&cache), "key", "planted");
    put(&KubectlStore::new(&cache), "key", "planted");
    if chown(&cache, Some(12_345), None).is_err() {
        return;
    }
    assert_left_alone(&cache);
    let trusting = DiskStoreOptions::new().trust_any_owner(true);
    let store = DiskStore::with_options(&cache, trusting);
    assert_eq!(get(&store, "key").as_deref(), Some("planted"));
}

/// It is looked at when it is there.
#[test]
fn a_directory_that_is_planted_later_is_left_alone() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    assert_eq!(get(&store, "key"), None);
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("key"), "planted").unwrap();
    set_mode(&cache, 0o777);
    assert_eq!(get(&store, "key"), None);
}

/// A temporary file that others can replace becomes a value of theirs.
#[test]
fn temporary_files_are_not_written_where_all_may_write() {
    let (dir, cache) = directory();
    let temp = dir.path().join("temp");
    fs::create_dir(&temp).unwrap();
    fs::write(temp.join("123"), "of somebody else").unwrap();
    set_mode(&temp, 0o777);
    let options = DiskStoreOptions::new().temp_dir(&temp);
    let store = DiskStore::with_options(&cache, options.clone());
    put(&DiskStore::new(&cache), "old", "value");
    let error = block_on(store.put("key", Value::new("", "new"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(store.sweep(Duration::ZERO).unwrap().temporary, 0);
    assert!(DiskStore::open(&cache, options.clone()).is_err());
    // Nothing is wrong with the values that are there.
    assert_eq!(get(&store, "old").as_deref(), Some("value"));
    let store = DiskStore::with_options(&cache, options.clone().trust_any_owner(true));
    put(&store, "key", "new");
    set_mode(&temp, 0o750);
    let store = DiskStore::with_options(&cache, options);
    put(&store, "key", "newer");
    assert_eq!(get(&store, "key").as_deref(), Some("newer"));
}
