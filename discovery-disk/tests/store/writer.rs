//! Values that come bit by bit.

use std::io::ErrorKind;

use discovery_core::store::Writer;
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::store::faults::{Fault, Step};
use tokio_test::block_on;

use crate::files::tree;
use crate::{directory, get, put};

#[test]
fn reserved_bytes_are_filled_in() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    for len in [0, 10, 300_000, 900_000] {
        let body = "b".repeat(len);
        for pieces in [1, 7] {
            let mut writer = store.create_reserved("key", 4, b"head").unwrap();
            for piece in body.as_bytes().chunks(len / pieces + 1) {
                writer.append(piece).unwrap();
            }
            block_on(writer.commit_with(b"1234")).unwrap();
            assert_eq!(get(&store, "key"), Some(format!("1234head{body}")));
        }
    }
    // A prefix of another length is a mistake, and nothing is published.
    for prefix in [&b""[..], b"123", b"12345"] {
        let writer = store.create_reserved("other", 4, b"head").unwrap();
        let error = block_on(writer.commit_with(prefix)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let writer: Box<dyn Writer> = Box::new(store.create_reserved("other", 4, b"head").unwrap());
    block_on(writer.commit()).unwrap_err();
    assert_eq!(get(&store, "other"), None);
    assert_eq!(tree(&cache).len(), 1);
}

#[test]
fn after_a_write_that_failed_nothing_is_committed() {
    for fault in [
        || Fault::Torn(7),
        || Fault::Error(ErrorKind::StorageFull.into()),
    ] {
        for later in [0, 10, 400_000] {
            let (_dir, cache) = directory();
            put(&DiskStore::new(&cache), "key", "old");
            // The disk has room again after that.
            let full = std::sync::atomic::AtomicBool::new(true);
            let options = DiskStoreOptions::new().with_faults(move |step, _| {
                (step == Step::Write && full.swap(false, std::sync::atomic::Ordering::SeqCst))
                    .then(fault)
            });
            let store = DiskStore::with_options(&cache, options);
            let mut writer = store.create_reserved("key", 0, b"head").unwrap();
            let error = writer.append(&vec![1; 400_000]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            if later > 0 {
                writer.append(&vec![2; later]).unwrap();
            }
            block_on(writer.commit_with(b"")).unwrap_err();
            assert_eq!(get(&store, "key").as_deref(), Some("old"));
            assert_eq!(tree(&cache).len(), 1, "a temporary file is left");
        }
    }
    // The same where it was too long.
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(&cache, DiskStoreOptions::new().max_value_size(10));
    let mut writer = store.create_reserved("key", 0, b"head").unwrap();
    writer.append(b"too long").unwrap_err();
    writer.append(b"short").unwrap();
    block_on(writer.commit_with(b"")).unwrap_err();
    assert_eq!(get(&store, "key"), None);
}
