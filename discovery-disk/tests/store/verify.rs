//! All values looked at, and the damaged ones removed.

use std::fs;

use discovery_core::store::{Store, Value};
use discovery_disk::store::{Compression, DiskStoreOptions};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::{directory, get};

#[test]
fn damaged_values_are_found_and_removed() {
    let new = DiskStoreOptions::new;
    for options in [
        new().checksum(true),
        new().compression(Compression::Gzip),
        new().compression(Compression::Zlib),
        new().compression(Compression::Zstd),
    ] {
        let (_dir, cache) = directory();
        let store = DiskStore::with_options(&cache, options.clone());
        for n in 0..20 {
            let value = Value::new("", format!("{n}").repeat(10_000));
            block_on(store.put(&format!("{n}"), value)).unwrap();
        }
        // Also where this process knows that a file was right.
        for n in [3, 7] {
            let path = cache.join(format!("{n}"));
            let mut file = fs::read(&path).unwrap();
            let last = file.len() - 1;
            file[last - 80.min(last / 2)] ^= 0x10;
            fs::write(&path, &file).unwrap();
        }
        fs::write(cache.join("9"), "").unwrap();
        fs::write(cache.join("README"), "not a value").unwrap();
        let report = store.verify().unwrap();
        assert_eq!(
            (report.values, report.damaged, report.unreadable),
            (20, 3, 0),
            "{options:?}"
        );
        assert!(report.bytes > 0);
        for n in 0..20 {
            let is_there = get(&store, &format!("{n}")).is_some();
            assert_eq!(is_there, ![3, 7, 9].contains(&n), "{n}");
        }
        let again = store.verify().unwrap();
        assert_eq!((again.values, again.damaged), (17, 0));
        assert!(cache.join("README").exists());
    }
}

#[test]
fn kubectls_files_are_verified() {
    let (_dir, cache) = directory();
    let store = KubectlStore::new(&cache);
    for key in ["one", "two", "three"] {
        block_on(store.put(key, Value::new("", key))).unwrap();
    }
    let files = || {
        let entries = cache.read_dir().unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let damaged = &files()[0];
    let mut file = fs::read(damaged).unwrap();
    file[0] ^= 1;
    fs::write(damaged, file).unwrap();
    let report = store.disk().verify().unwrap();
    assert_eq!((report.values, report.damaged), (3, 1));
    assert_eq!(files().len(), 2);
}

/// There is nothing to compare with.
#[test]
fn plain_values_are_read_and_kept() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    block_on(store.put("key", Value::new("", "value"))).unwrap();
    fs::write(cache.join("key"), "vague").unwrap();
    let report = store.verify().unwrap();
    assert_eq!((report.values, report.bytes, report.damaged), (1, 5, 0));
    assert_eq!(get(&store, "key").as_deref(), Some("vague"));
    assert_eq!(
        DiskStore::new(cache.join("absent"))
            .verify()
            .unwrap()
            .values,
        0
    );
}
