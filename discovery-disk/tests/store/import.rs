//! Files that become values.

use std::fs;
use std::io::ErrorKind;

use discovery_core::store::Store;
use discovery_disk::store::{Compression, DiskStoreOptions, Import};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::{directory, files::tree, get, put};

#[test]
fn a_file_becomes_a_value_in_each_form() {
    let options = [
        DiskStoreOptions::new(),
        DiskStoreOptions::new().fsync(true),
        DiskStoreOptions::new().checksum(true),
        DiskStoreOptions::new().compression(Compression::Zstd),
    ];
    for options in options {
        for how in [Import::Copy, Import::Move] {
            let (dir, cache) = directory();
            let source = dir.path().join("source");
            let content = "line\n".repeat(200_000);
            fs::write(&source, &content).unwrap();
            let store = DiskStore::with_options(&cache, options.clone());
            put(&store, "key", "before");
            block_on(store.import(&source, "key", how)).unwrap();
            assert_eq!(get(&store, "key").as_deref(), Some(&*content));
            assert_eq!(source.exists(), how == Import::Copy);
            assert_eq!(tree(&cache).len(), 1, "no temporary file is left");
            #[cfg(unix)]
            assert_eq!(crate::files::mode(cache.join("key")), 0o660);
            assert_eq!(store.stats().written, 2);
        }
    }
    let (dir, cache) = directory();
    fs::write(dir.path().join("source"), "value").unwrap();
    let store = KubectlStore::new(&cache);
    block_on(
        store
            .disk()
            .import(dir.path().join("source"), "key", Import::Move),
    )
    .unwrap();
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
}

#[test]
fn a_source_that_can_not_be_taken_is_an_error_and_stays() {
    let (dir, cache) = directory();
    let store = DiskStore::with_options(&cache, DiskStoreOptions::new().max_value_size(5));
    put(&store, "key", "old");
    let source = dir.path().join("source");
    fs::write(&source, "too long").unwrap();
    for how in [Import::Copy, Import::Move] {
        let import = |source: &str, key| {
            let error = block_on(store.import(dir.path().join(source), key, how)).unwrap_err();
            error.kind()
        };
        assert_eq!(import("source", "key"), ErrorKind::FileTooLarge);
        assert_eq!(import("absent", "key"), ErrorKind::NotFound);
        assert_eq!(import(".", "key"), ErrorKind::NotFound);
        #[cfg(unix)]
        {
            let link = dir.path().join("link");
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&source, &link).unwrap();
            assert_eq!(import("link", "key"), ErrorKind::NotFound);
        }
    }
    assert!(source.exists());
    assert_eq!(get(&store, "key").as_deref(), Some("old"));
    let refused = DiskStoreOptions::new().file_names(|_: &str| "../out".into());
    let store = DiskStore::with_options(&cache, refused);
    assert!(block_on(store.import(&source, "key", Import::Move)).is_err());
    assert!(source.exists());
}

/// `/dev/shm` is another file system than the one of the test's directory, where there is one.
#[cfg(target_os = "linux")]
#[test]
fn a_file_moves_from_another_file_system() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, cache) = directory();
    let Ok(shm) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let store = DiskStore::open(&cache, DiskStoreOptions::new()).unwrap();
    let device = |path: &std::path::Path| fs::metadata(path).unwrap().dev();
    let is_other = device(shm.path()) != device(&cache);
    let source = shm.path().join("source");
    fs::write(&source, "value").unwrap();
    block_on(store.import(&source, "key", Import::Move)).unwrap();
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert!(!source.exists());

    if is_other {
        let options = DiskStoreOptions::new().temp_dir(shm.path().join("temp"));
        let error = DiskStore::open(&cache, options.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CrossesDevices);
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert!(
            format!("{error:?} {source:?}").contains("another file system"),
            "{error:?}"
        );
        let store = DiskStore::with_options(&cache, options);
        let error = block_on(store.put("key", discovery_core::store::Value::default()));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::CrossesDevices);
        assert_eq!(get(&store, "key").as_deref(), Some("value"));
    }
}

/// The file is where it was, as it was, whatever goes wrong.
#[cfg(unix)]
#[test]
fn a_file_that_could_not_be_taken_is_as_it_was() {
    use discovery_disk::store::faults::{Fault, Step};
    for step in [Step::SetMode, Step::Sync, Step::Rename, Step::MakeDir] {
        let (dir, cache) = directory();
        put(&DiskStore::new(&cache), "key", "old");
        let source = dir.path().join("source");
        fs::write(&source, "new").unwrap();
        crate::files::set_mode(&source, 0o640);
        let fails = move |seen: Step, path: &std::path::Path| {
            let is_of_it = !path.ends_with(".diskv-temp");
            (seen == step && is_of_it).then(|| Fault::Error(ErrorKind::StorageFull.into()))
        };
        let options = DiskStoreOptions::new().fsync(true).with_faults(fails);
        let store = DiskStore::with_options(&cache, options);
        let error = block_on(store.import(&source, "key", Import::Move)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{step:?}");
        assert_eq!(crate::files::mode(&source), 0o640, "{step:?}");
        assert_eq!(get(&store, "key").as_deref(), Some("old"), "{step:?}");
    }
}

/// The files of a store without checksums, in a store that is to have them.
#[test]
fn a_values_own_file_becomes_the_value() {
    for options in [
        DiskStoreOptions::new(),
        DiskStoreOptions::new().checksum(true),
        DiskStoreOptions::new().compression(Compression::Gzip),
    ] {
        for how in [Import::Copy, Import::Move] {
            let (_dir, cache) = directory();
            put(&DiskStore::new(&cache), "key", "value");
            let store = DiskStore::with_options(&cache, options.clone());
            // The same place by another way.
            let source = cache.join("../cache/key");
            block_on(store.import(source, "key", how)).unwrap();
            assert_eq!(get(&store, "key").as_deref(), Some("value"), "{options:?}");
        }
    }
}

/// A rename does nothing then.
#[cfg(unix)]
#[test]
fn a_second_name_of_the_values_file_goes_when_it_is_moved() {
    let (dir, cache) = directory();
    let store = DiskStore::new(&cache);
    put(&store, "key", "value");
    let source = dir.path().join("source");
    fs::hard_link(cache.join("key"), &source).unwrap();
    block_on(store.import(&source, "key", Import::Move)).unwrap();
    assert!(!source.exists());
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
}

/// The directory goes with the last value in it.
#[test]
fn a_directory_that_goes_meanwhile_is_made_again() {
    use discovery_disk::store::faults::Step;
    use std::sync::atomic::{AtomicBool, Ordering};
    let (dir, cache) = directory();
    let source = dir.path().join("source");
    fs::write(&source, "value").unwrap();
    let shard = cache.join("shard");
    let (removed, is_first) = (shard.clone(), AtomicBool::new(true));
    let options = DiskStoreOptions::new()
        .file_names(|key: &str| format!("shard/{key}").into())
        .with_faults(move |step, _| {
            if step == Step::Rename && is_first.swap(false, Ordering::SeqCst) {
                fs::remove_dir(&removed).unwrap();
            }
            None
        });
    let store = DiskStore::with_options(&cache, options);
    block_on(store.import(&source, "key", Import::Move)).unwrap();
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert!(shard.is_dir() && !source.exists());
}
