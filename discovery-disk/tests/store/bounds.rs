//! Bounds on bytes, values and age.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use discovery_core::store::{Store, StoreSize, Value};
use discovery_core::sync::clock::{Clock, ManualClock};
use discovery_disk::store::faults::Step;
use discovery_disk::store::{Compression, DiskStoreOptions};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::{create, directory, get, put, random, write};

const MINUTE: Duration = Duration::from_secs(60);

fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000))
}

fn size(store: &dyn Store) -> StoreSize {
    block_on(store.size()).unwrap()
}

/// Outside of a runtime, a write that exceeds a bound removes at once what is too much.
fn put_now(store: &dyn Store, key: &str, value: &str) {
    let put = store.put(key, Value::new("", value.to_owned()));
    futures_now(put).unwrap();
}

fn futures_now<T>(op: discovery_core::store::Op<T>) -> T {
    match op {
        discovery_core::store::Op::Ready(value) => value,
        discovery_core::store::Op::Wait(_) => panic!("done in place without a runtime"),
    }
}

#[test]
fn values_that_were_not_used_make_room() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new().max_values(20).clock(clock.clone());
    let store = DiskStore::with_options(&cache, options.clone());
    // Another process, which only reads.
    let reader = DiskStore::with_options(&cache, options);
    for n in 0..20 {
        put_now(&store, &format!("{n}"), "value");
        clock.advance(MINUTE);
    }
    assert_eq!(
        size(&store).values,
        20,
        "a bound that is reached is not exceeded"
    );
    for n in [0, 2, 4] {
        assert!(get(&reader, &format!("{n}")).is_some());
    }
    clock.advance(MINUTE);
    put_now(&store, "new", "value");
    // A tenth of the bound is free now.
    assert_eq!(size(&store).values, 18);
    for (key, is_there) in [
        ("0", true),
        ("1", false),
        ("2", true),
        ("3", false),
        ("4", true),
        ("5", false),
        ("6", true),
        ("new", true),
    ] {
        assert_eq!(store.contains(key).unwrap(), is_there, "{key}");
    }
    assert_eq!(store.stats().evicted, 3);
}

#[test]
fn bytes_are_bound_by_the_files_that_are_there() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new()
        .max_bytes(10_000)
        .clock(clock.clone());
    let store = KubectlStore::with_options(&cache, options);
    let value = "x".repeat(968);
    for n in 0..200 {
        put_now(&store, &format!("{n}"), &value);
        clock.advance(MINUTE);
        // Nine remain where the eleventh came.
        assert!(size(&store).bytes <= 10_000, "{n}");
        assert!(get(&store, &format!("{n}")).is_some(), "{n}");
    }
    assert!(size(&store).values >= 9);
    // Replaced again and again, the same values are not counted twice.
    let evicted = store.disk().stats().evicted;
    for n in 0..200 {
        put_now(
            &store,
            &format!("{}", 195 + n % 5),
            &format!("{n}{}", "x".repeat(960)),
        );
    }
    assert_eq!(store.disk().stats().evicted, evicted);
    // One that would be too large alone.
    let error = block_on(store.put("large", Value::new("", vec![0; 10_001]))).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    let writer = create(&store, "large", "");
    assert!(block_on(writer.write(vec![0; 10_001].into())).is_err());
}

#[test]
fn values_that_come_piece_by_piece_count_as_well() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new()
        .max_bytes(2_000_000)
        .clock(clock.clone());
    let store = DiskStore::with_options(&cache, options);
    for n in 0..20 {
        let writer = create(&store, &format!("{}", n % 10), "head");
        let writer = write(writer, vec![n; 400_000]);
        futures_now(writer.commit()).unwrap();
        clock.advance(MINUTE);
        assert!(size(&store).bytes <= 2_000_000, "{n}");
    }
    assert!(size(&store).values >= 4);
}

#[test]
fn other_processes_writes_are_counted_after_some_of_ones_own() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new().max_values(100).clock(clock.clone());
    let store = DiskStore::with_options(&cache, options);
    put_now(&store, "first", "value");
    let unbound = DiskStore::with_options(&cache, DiskStoreOptions::new().clock(clock.clone()));
    for n in 0..500 {
        put_now(&unbound, &format!("other {n}"), "value");
    }
    for n in 0..20 {
        clock.advance(MINUTE);
        put_now(&store, &format!("mine {n}"), "value");
    }
    assert!(size(&store).values <= 100);
    assert!(store.contains("mine 19").unwrap());
}

#[tokio::test]
async fn a_runtime_does_it_on_another_thread() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().max_values(10);
    let store = DiskStore::with_options(&cache, options);
    for n in 0..100 {
        store.put(&format!("{n}"), Value::default()).await.unwrap();
    }
    // Work that may still be under way is done after this.
    store.sweep(Duration::MAX).unwrap();
    assert!(store.size().await.unwrap().values <= 10);
}

#[test]
fn a_value_counts_for_its_time() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new()
        .max_age(10 * MINUTE)
        .clock(clock.clone())
        .read_cache(1 << 20);
    let store = DiskStore::with_options(&cache, options);
    put(&store, "old", "value");
    put(&store, "renewed", "value");
    clock.advance(10 * MINUTE);
    assert!(get(&store, "old").is_some());
    assert!(get(&store, "old").is_some(), "from memory");
    put(&store, "renewed", "value");
    clock.advance(Duration::from_secs(1));
    assert_eq!(get(&store, "old"), None);
    assert!(!store.contains("old").unwrap());
    assert!(store.reader("old").unwrap().is_none());
    assert!(get(&store, "renewed").is_some());
    assert_eq!(size(&store).values, 2);
    let report = store.sweep(Duration::MAX).unwrap();
    assert_eq!((report.expired, report.evicted, report.bytes), (1, 0, 5));
    assert_eq!(size(&store).values, 1);
}

/// Names that nobody can read back don't tell which files are values.
#[test]
fn a_bound_needs_names_that_can_be_read_back() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new()
        .max_values(1)
        .file_names(|key: &str| key.into());
    let error = DiskStore::open(&cache, options.clone()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(!cache.exists());
    // Values are kept all the same.
    let store = DiskStore::with_options(&cache, options);
    put_now(&store, "one", "value");
    put_now(&store, "two", "value");
    assert!(get(&store, "one").is_some() && get(&store, "two").is_some());
    assert!(store.sweep(Duration::MAX).is_err());
}

/// Otherwise the values that are used most would go first.
#[test]
fn a_value_that_is_told_from_memory_is_used() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new().max_values(20).clock(clock.clone());
    let store = DiskStore::with_options(&cache, options.clone().read_cache(1 << 20));
    let other = DiskStore::with_options(&cache, options);
    for n in 0..20 {
        put_now(&store, &format!("{n}"), "value");
    }
    get(&store, "0");
    for _ in 0..10 {
        clock.advance(MINUTE / 2);
        assert!(get(&store, "0").is_some());
    }
    assert!(store.stats().cache_hits >= 5);
    for n in 1..18 {
        get(&other, &format!("{n}"));
    }
    clock.advance(MINUTE);
    get(&store, "0");
    put_now(&store, "new", "value");
    assert!(store.contains("0").unwrap());
    assert!(!store.contains("18").unwrap() && !store.contains("19").unwrap());
}

/// It would drive out all others, and then go itself.
#[test]
fn a_value_whose_file_exceeds_the_bound_is_refused() {
    let random = random(10_000);
    let new = || DiskStoreOptions::new().max_bytes(10_000);
    for options in [
        new().checksum(true),
        new().compression(Compression::Gzip).checksum(true),
    ] {
        let (_dir, cache) = directory();
        let store = DiskStore::with_options(&cache, options);
        put_now(&store, "small", "value");
        let error = block_on(store.put("large", Value::new("", random.clone()))).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
        let writer = create(&store, "large", "");
        let written = block_on(writer.write(random.clone().into()));
        let committed = written.and_then(|writer| block_on(writer.commit()));
        let error = committed.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
        assert_eq!(block_on(store.keys("")).unwrap(), ["small"]);
    }
    // One that becomes small enough is none such.
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(&cache, new().compression(Compression::Gzip));
    block_on(store.put("zeros", Value::new("", vec![0; 100_000]))).unwrap();
    assert!(block_on(store.get("zeros")).unwrap().is_some());
}

/// Values from before a clock was set back would outlast all others.
#[test]
fn values_from_the_future_make_room_first() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new().max_values(20).clock(clock.clone());
    let future = ManualClock::new(clock.now() + 10_000 * MINUTE);
    let wrong = DiskStore::with_options(&cache, options.clone().clock(future));
    for n in 0..20 {
        put_now(&wrong, &format!("future {n}"), "value");
    }
    let store = DiskStore::with_options(&cache, options);
    // One that is used now is as good as any.
    assert!(get(&store, "future 7").is_some());
    for n in 0..10 {
        clock.advance(MINUTE);
        put_now(&store, &format!("{n}"), "value");
    }
    for n in 0..10 {
        assert!(store.contains(&format!("{n}")).unwrap(), "{n}");
    }
    assert!(store.contains("future 7").unwrap());
    assert!(size(&store).values <= 20);
}

#[test]
fn a_value_from_the_future_does_not_count_for_ever() {
    let (_dir, cache) = directory();
    let clock = clock();
    let options = DiskStoreOptions::new()
        .max_age(10 * MINUTE)
        .clock(clock.clone());
    let store = DiskStore::with_options(&cache, options);
    for (minutes, counts) in [(10, true), (11, false)] {
        put(&store, "key", "value");
        let file = std::fs::File::options()
            .write(true)
            .open(cache.join("key"))
            .unwrap();
        file.set_modified(clock.now() + minutes * MINUTE).unwrap();
        assert_eq!(get(&store, "key").is_some(), counts);
        assert_eq!(
            store.sweep(Duration::MAX).unwrap().expired,
            u64::from(!counts)
        );
    }
    // All times are allowed.
    for time in [
        SystemTime::UNIX_EPOCH - 1_000_000 * MINUTE,
        SystemTime::UNIX_EPOCH,
        clock.now() + 100_000_000 * MINUTE,
    ] {
        for max_age in [Duration::ZERO, Duration::MAX] {
            let options = DiskStoreOptions::new()
                .max_age(max_age)
                .max_values(1)
                .clock(clock.clone());
            let store = DiskStore::with_options(&cache, options);
            put(&store, "key", "value");
            assert!(get(&store, "key").is_some());
            let file = std::fs::File::options()
                .write(true)
                .open(cache.join("key"))
                .unwrap();
            file.set_modified(time).unwrap();
            let is_there = get(&store, "key").is_some();
            assert_eq!(is_there, max_age == Duration::MAX, "{time:?}");
        }
    }
}

/// Two that find too many values at the same time remove no more than one would.
#[test]
fn processes_that_evict_at_once_do_not_remove_twice_as_many() {
    for first in [Step::Open, Step::Remove] {
        let (_dir, cache) = directory();
        let clock = clock();
        let unbound = DiskStoreOptions::new().clock(clock.clone());
        let filling = DiskStore::with_options(&cache, unbound.clone());
        for n in 0..30 {
            put_now(&filling, &format!("{n}"), "value");
            clock.advance(MINUTE);
        }
        let other = DiskStore::with_options(&cache, unbound.clone().max_values(20));
        let is_first = AtomicBool::new(true);
        let options = unbound.max_values(20).with_faults(move |step, _| {
            if step == first && is_first.swap(false, Ordering::SeqCst) {
                assert_eq!(other.sweep(Duration::MAX).unwrap().evicted, 12);
            }
            None
        });
        let store = DiskStore::with_options(&cache, options);
        store.sweep(Duration::MAX).unwrap();
        assert_eq!(size(&store).values, 18, "{first:?}");
    }
}
