//! The files and directories that are synced when a store is told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use discovery_core::store::{Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::store::faults::Step;
use tokio_test::block_on;

use crate::directory;

/// A store, and the paths that it syncs.
fn synced(cache: &Path, fsync: bool) -> (DiskStore, Arc<Mutex<Vec<PathBuf>>>) {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let store = DiskStore::with_options(
        cache,
        DiskStoreOptions::new()
            .file_names(|key: &str| format!("sub/{key}").into())
            .fsync(fsync)
            .with_faults(move |step, path| {
                if step == Step::Sync {
                    seen.lock().unwrap().push(path.to_owned());
                }
                None
            }),
    );
    (store, paths)
}

#[test]
fn the_value_its_name_and_new_directories_are_synced() {
    let (dir, cache) = directory();
    let (store, paths) = synced(&cache, true);
    let (root, temp, sub) = (
        dir.path().join("root"),
        cache.join(".diskv-temp"),
        cache.join("sub"),
    );
    let put = |value: &'static str| {
        block_on(store.put("key", Value::new("", value))).unwrap();
        std::mem::take(&mut *paths.lock().unwrap())
    };
    let first = put("one");
    // The directory of each directory that was made, the file, its new directory's, and its own.
    let [made @ .., file, for_sub, last] = &first[..] else {
        panic!("{first:?}");
    };
    assert_eq!(made, [cache.clone(), root, dir.path().to_owned()]);
    assert!(file.starts_with(&temp), "{file:?}");
    assert_eq!((for_sub, last), (&cache, &sub));

    let replaced = put("two");
    assert_eq!(replaced.len(), 2, "{replaced:?}");
    assert!(replaced[0].starts_with(&temp) && replaced[1] == sub);
    // The bytes are there, but maybe not on the disk.
    assert_eq!(put("two"), [sub.join("key"), sub]);
}

#[test]
fn nothing_is_synced_unless_the_store_is_told_to() {
    let (_dir, cache) = directory();
    let (store, paths) = synced(&cache, false);
    for value in ["one", "two", "two"] {
        block_on(store.put("key", Value::new("", value))).unwrap();
    }
    assert!(paths.lock().unwrap().is_empty());
}
