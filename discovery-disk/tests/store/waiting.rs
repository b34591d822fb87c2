//! Nobody waits for another's file.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use discovery_core::store::{Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::store::faults::Step;
use tokio_test::block_on;

use crate::{create, directory, get, put, write};

/// The calls to the file system that were not seen in another call.
const SEEN: [Step; 9] = [
    Step::OpenTemp,
    Step::Write,
    Step::SetMode,
    Step::Close,
    Step::Rename,
    Step::Open,
    Step::Read,
    Step::Touch,
    Step::Remove,
];

fn everything(store: &DiskStore, key: &str) {
    put(store, key, "value");
    put(store, key, "value");
    get(store, key);
    get(store, key);
    let writer = write(create(store, key, "head"), vec![0; 300_000]);
    block_on(writer.commit()).unwrap();
    assert!(store.reader(key).unwrap().is_some());
    assert!(store.contains(key).unwrap());
    block_on(store.keys("")).unwrap();
    store.reindex().unwrap();
    assert!(
        store
            .keys_from(None, 100)
            .unwrap()
            .contains(&key.to_owned())
    );
    store.verify().unwrap();
    block_on(store.remove(key)).unwrap();
    store.sweep(Duration::MAX).unwrap();
}

/// While a call is in the file system, which may take its time, all other calls come to their end. This would not end if
/// one of them waited.
#[test]
fn a_call_that_is_in_the_file_system_holds_up_no_other() {
    let (_dir, cache) = directory();
    let place = Arc::new(OnceLock::<DiskStore>::new());
    let (inside, depth) = (Arc::clone(&place), AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let options = DiskStoreOptions::new()
        .checksum(true)
        .index(true)
        .max_values(100)
        .max_bytes(10_000_000)
        .max_age(Duration::from_secs(3600))
        .read_cache(1 << 20)
        .with_faults(move |step: Step, _: &Path| {
            let is_outer = depth.fetch_add(1, Ordering::SeqCst) == 0;
            // Each of them some times: a call may look again when others have been quicker, and they would always be.
            if is_outer
                && noted
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|seen| **seen == step)
                    .count()
                    < 8
            {
                noted.lock().unwrap().push(step);
                everything(inside.get().unwrap(), "inner");
            }
            depth.fetch_sub(1, Ordering::SeqCst);
            None
        });
    let store = DiskStore::with_options(&cache, options);
    assert!(place.set(store.clone()).is_ok());
    block_on(store.put("key", Value::default())).unwrap();
    everything(&store, "outer");
    let seen = seen.lock().unwrap();
    for step in SEEN {
        assert!(seen.contains(&step), "{step:?}");
    }
}
