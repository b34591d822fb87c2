//! Faults in any step: the old value is whole, no temporary file stays, and the caller gets an
//! error.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use discovery_core::store::{Store, Value};
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::store::faults::{Fault, Step};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::files::tree;
use crate::{create, directory, get, put, write};

/// ENOSPC, EACCES, EIO (which has no kind of its own), EROFS, EINVAL.
const ERRORS: [ErrorKind; 5] = [
    ErrorKind::StorageFull,
    ErrorKind::PermissionDenied,
    ErrorKind::Other,
    ErrorKind::ReadOnlyFilesystem,
    ErrorKind::InvalidInput,
];

/// Makes the `at`-th call of `step` fail, and counts the calls.
fn failing(
    options: DiskStoreOptions,
    step: Step,
    at: usize,
    fault: impl Fn() -> Fault + Send + Sync + 'static,
) -> (DiskStoreOptions, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let options = options.with_faults(move |seen, _| {
        (seen == step && count.fetch_add(1, Ordering::SeqCst) == at).then(&fault)
    });
    (options, calls)
}

fn big(fill: u8) -> Value {
    Value::new("head", vec![fill; 270_000])
}

fn stream(store: &dyn Store, key: &str, value: &Value) -> io::Result<()> {
    let mut writer = block_on(store.create(key, value.head.clone()))?;
    let mut body = value.body.clone();
    while !body.is_empty() {
        writer = block_on(writer.write(body.split_to(body.len().min(100_000))))?;
    }
    block_on(writer.commit())
}

/// The steps of a write. `Sync` is the one that may come after the value was published.
const WRITING: [Step; 6] = [
    Step::OpenTemp,
    Step::Write,
    Step::SetMode,
    Step::Sync,
    Step::Close,
    Step::Rename,
];

#[test]
fn a_failed_write_is_told() {
    for step in WRITING {
        for kind in ERRORS {
            let (_dir, cache) = directory();
            put(&DiskStore::new(&cache), "key", "old");
            let options = DiskStoreOptions::new().fsync(step == Step::Sync);
            let (options, _) = failing(options, step, 0, move || Fault::Error(kind.into()));
            let store = DiskStore::with_options(&cache, options);
            let error = block_on(store.put("key", Value::new("", "new"))).unwrap_err();
            assert_eq!(error.kind(), kind, "{step:?}: {error}");
            assert_eq!(get(&store, "key").as_deref(), Some("old"), "{step:?}");
            assert_eq!(tree(&cache).len(), 1, "{step:?}");
            // It is over: the next one succeeds.
            put(&store, "key", "new");
            assert_eq!(get(&store, "key").as_deref(), Some("new"), "{step:?}");
        }
    }
}

#[test]
fn whichever_call_fails_the_old_value_is_left() {
    for step in WRITING {
        // Each call of that step in turn, until there is none left to fail.
        for at in 0.. {
            let (_dir, cache) = directory();
            let healthy = KubectlStore::new(&cache);
            block_on(healthy.put("put", big(1))).unwrap();
            block_on(healthy.put("streamed", big(2))).unwrap();

            let kind = ERRORS[at % ERRORS.len()];
            let options = DiskStoreOptions::new().fsync(step == Step::Sync);
            let (options, calls) = failing(options, step, at, move || Fault::Error(kind.into()));
            let store = KubectlStore::with_options(&cache, options);
            let put = block_on(store.put("put", big(3)));
            let streamed = stream(&store, "streamed", &big(4));
            if calls.load(Ordering::SeqCst) <= at {
                put.unwrap();
                streamed.unwrap();
                assert!(at >= 2, "{step:?} is called {at} times for two writes");
                break;
            }
            assert!(put.is_ok() || streamed.is_ok(), "one call failed");
            // Of the two syncs of a write the second is for the directory.
            let published = step == Step::Sync && at % 2 == 1;
            for (key, outcome, old, new) in [("put", put, 1, 3), ("streamed", streamed, 2, 4)] {
                let expected = match outcome {
                    Ok(()) => new,
                    Err(error) => {
                        assert_eq!(error.kind(), kind, "{step:?} {at}: {error}");
                        if published { new } else { old }
                    }
                };
                let got = block_on(healthy.get(key)).unwrap();
                assert_eq!(got, Some(big(expected)), "{step:?} {at}: {key}");
            }
            assert_eq!(
                tree(&cache).len(),
                2,
                "{step:?} {at}: a temporary file is left"
            );
        }
    }
}

#[test]
fn a_torn_write_leaves_the_old_value() {
    for torn in [0, 1, 33, 1000, 262_143] {
        for at in 0.. {
            let (_dir, cache) = directory();
            let healthy = KubectlStore::new(&cache);
            block_on(healthy.put("put", big(1))).unwrap();
            block_on(healthy.put("streamed", big(2))).unwrap();
            let before = tree(&cache);

            let (options, calls) = failing(DiskStoreOptions::new(), Step::Write, at, move || {
                Fault::Torn(torn)
            });
            let store = KubectlStore::with_options(&cache, options);
            let put = block_on(store.put("put", big(3)));
            let streamed = if put.is_err() {
                put
            } else {
                assert_eq!(block_on(healthy.get("put")).unwrap(), Some(big(3)));
                block_on(healthy.put("put", big(1))).unwrap();
                stream(&store, "streamed", &big(4))
            };
            if calls.load(Ordering::SeqCst) <= at {
                streamed.unwrap();
                break;
            }
            assert_eq!(streamed.unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!(tree(&cache), before, "torn at {torn}, write {at}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    for kind in ERRORS {
        let (_dir, cache) = directory();
        let (options, _) = failing(DiskStoreOptions::new(), Step::MakeDir, 0, move || {
            Fault::Error(kind.into())
        });
        let store = DiskStore::with_options(&cache, options);
        assert_eq!(get(&store, "key"), None);
        let error = block_on(store.put("key", Value::default())).unwrap_err();
        assert_eq!(error.kind(), kind);
        let source = std::error::Error::source(error.get_ref().unwrap()).unwrap();
        assert!(source.is::<io::Error>());
        assert!(
            error.to_string().starts_with("cannot make directory "),
            "{error}"
        );
        // It is tried again.
        put(&store, "key", "value");
        assert_eq!(get(&store, "key").as_deref(), Some("value"));
    }
}

#[test]
fn a_read_that_fails_is_an_error_and_not_an_absence() {
    for step in [Step::Open, Step::Read] {
        for kind in ERRORS {
            let (_dir, cache) = directory();
            put(&KubectlStore::new(&cache), "key", "value");
            let (options, _) = failing(DiskStoreOptions::new(), step, 0, move || {
                Fault::Error(kind.into())
            });
            let store = KubectlStore::with_options(&cache, options);
            assert_eq!(block_on(store.get("key")).unwrap_err().kind(), kind);
            assert_eq!(get(&store, "key").as_deref(), Some("value"));
        }
    }
    let (_dir, cache) = directory();
    put(&DiskStore::new(&cache), "key", "value");
    let (options, _) = failing(DiskStoreOptions::new(), Step::Open, 0, || {
        Fault::Error(ErrorKind::NotFound.into())
    });
    let store = DiskStore::with_options(&cache, options);
    assert_eq!(get(&store, "key"), None);
    // Shortened under the reader: damaged, which is absent.
    let (options, _) = failing(DiskStoreOptions::new(), Step::Read, 0, || {
        Fault::Error(ErrorKind::UnexpectedEof.into())
    });
    let store = DiskStore::with_options(&cache, options);
    assert_eq!(get(&store, "key"), None);
}

#[test]
fn a_file_that_cannot_be_compared_or_touched_is_written_again() {
    for step in [Step::Open, Step::Read, Step::Touch] {
        let (_dir, cache) = directory();
        put(&DiskStore::new(&cache), "key", "value");
        let (options, calls) = failing(DiskStoreOptions::new(), step, 0, || {
            Fault::Error(ErrorKind::PermissionDenied.into())
        });
        let store = DiskStore::with_options(&cache, options);
        put(&store, "key", "value");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{step:?}");
        assert_eq!(
            get(&DiskStore::new(&cache), "key").as_deref(),
            Some("value")
        );
    }
}

#[test]
fn a_file_that_cannot_be_removed_is_an_error() {
    let (_dir, cache) = directory();
    put(&DiskStore::new(&cache), "key", "value");
    let (options, _) = failing(DiskStoreOptions::new(), Step::Remove, 0, || {
        Fault::Error(ErrorKind::PermissionDenied.into())
    });
    let store = DiskStore::with_options(&cache, options);
    let error = block_on(store.remove("key")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    block_on(store.remove("key")).unwrap();
    assert_eq!(get(&store, "key"), None);
}

#[test]
fn temporary_names_that_are_taken_are_left_alone() {
    let (_dir, cache) = directory();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().with_faults(move |step, _| {
            (step == Step::OpenTemp && count.fetch_add(1, Ordering::SeqCst) < 500)
                .then(|| Fault::Error(ErrorKind::AlreadyExists.into()))
        }),
    );
    put(&store, "key", "value");
    assert_eq!(
        taken.load(Ordering::SeqCst),
        501 + 1,
        "and one to make the directory"
    );

    // But not for ever.
    let full = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().with_faults(|step, _| {
            (step == Step::OpenTemp).then(|| Fault::Error(ErrorKind::AlreadyExists.into()))
        }),
    );
    let error = block_on(full.put("other", Value::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_temporary_file_that_cannot_be_removed_fails_nothing() {
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().with_faults(|step, _| {
            (step == Step::Remove).then(|| Fault::Error(ErrorKind::PermissionDenied.into()))
        }),
    );
    let mut writer = create(&store, "key", "head");
    writer = write(writer, vec![0; 600_000]);
    drop(writer);
    assert_eq!(tree(&cache).len(), 1);
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
}

/// Without faults made up: what a user runs into.
#[test]
fn a_cache_where_a_file_is_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    for path in ["file", "file/cache"] {
        let store = KubectlStore::new(dir.path().join(path));
        assert_eq!(get(&store, "key"), None, "{path}");
        block_on(store.remove("key")).unwrap();
        block_on(store.put("key", Value::default())).unwrap_err();
        stream(&store, "key", &big(1)).unwrap_err();
    }
}
