//! Temporary files that killed processes left.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use discovery_core::sync::clock::ManualClock;
use discovery_disk::DiskStore;
use discovery_disk::store::DiskStoreOptions;

use crate::files::tree;
use crate::{directory, get, put};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn abandoned_temporary_files_are_swept() {
    let (_dir, cache) = directory();
    let temp = cache.join(".diskv-temp");
    fs::create_dir_all(&temp).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let file = |name: &str, age: Duration| {
        let file = File::create(temp.join(name)).unwrap();
        file.set_modified(now - age).unwrap();
    };
    file("1", DAY * 2);
    file("2345678901", DAY);
    file("3", DAY - Duration::from_secs(1));
    file("4", Duration::ZERO);
    File::create(temp.join("5"))
        .unwrap()
        .set_modified(now + DAY)
        .unwrap();
    // From before the clock was set back.
    File::create(temp.join("6"))
        .unwrap()
        .set_modified(now + DAY + Duration::from_secs(1))
        .unwrap();
    file("not ours", DAY * 100);
    fs::create_dir(temp.join("67")).unwrap();
    let names = || -> Vec<String> { tree(&temp).into_iter().map(|(name, _)| name).collect() };

    // A first write does it quietly, and only a first one.
    let clock = ManualClock::new(now);
    let store = DiskStore::with_options(&cache, DiskStoreOptions::new().clock(clock.clone()));
    assert_eq!(get(&store, "key"), None);
    assert_eq!(names().len(), 7);
    put(&store, "key", "value");
    assert_eq!(names(), ["3", "4", "5", "not ours"]);
    file("8", DAY * 2);
    put(&store.clone(), "key", "another");
    assert_eq!(names(), ["3", "4", "5", "8", "not ours"]);

    // By hand, as old as one likes.
    assert_eq!(store.sweep(DAY).unwrap().temporary, 1);
    assert_eq!(store.sweep(Duration::from_secs(1)).unwrap().temporary, 1);
    assert_eq!(names(), ["4", "5", "not ours"]);
    clock.advance(DAY);
    assert_eq!(store.sweep(Duration::ZERO).unwrap().temporary, 2);
    assert_eq!(names(), ["not ours"]);
    assert_eq!(get(&store, "key").as_deref(), Some("another"));
}

/// Those that are there for another reason, or not old enough, don't keep it from the others.
#[test]
fn a_first_write_looks_at_all_and_removes_a_thousand() {
    let (_dir, cache) = directory();
    let temp = cache.join(".diskv-temp");
    fs::create_dir_all(&temp).unwrap();
    let now = SystemTime::now();
    for n in 0..1_100 {
        fs::write(temp.join(format!("{n}")), "new").unwrap();
    }
    let old = |n: u32| {
        let file = File::create(temp.join(format!("9{n:06}"))).unwrap();
        file.set_modified(now - 2 * DAY).unwrap();
    };
    (0..1_030).for_each(old);
    put(&DiskStore::new(&cache), "key", "value");
    assert_eq!(tree(&temp).len(), 1_100 + 6);
    put(&DiskStore::new(&cache), "key", "another");
    assert_eq!(tree(&temp).len(), 1_100);
}

/// Names of digits are what mail boxes and others have as well.
#[cfg(unix)]
#[test]
fn files_behind_a_link_are_not_swept() {
    use std::os::unix::fs::symlink;
    let (dir, cache) = directory();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let file = File::create(elsewhere.join("1")).unwrap();
    file.set_modified(SystemTime::now() - 2 * DAY).unwrap();
    let expected = [("1".to_owned(), Vec::new())];
    let temp = cache.join(".diskv-temp");

    // The directory is a link: values are written through it, as kubectl does.
    fs::create_dir_all(&cache).unwrap();
    symlink(&elsewhere, &temp).unwrap();
    let store = DiskStore::new(&cache);
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert_eq!(store.sweep(DAY).unwrap().temporary, 0);
    assert_eq!(tree(&elsewhere), expected);

    // There are links in it.
    fs::remove_file(&temp).unwrap();
    fs::create_dir(&temp).unwrap();
    symlink(elsewhere.join("1"), temp.join("2")).unwrap();
    symlink(&elsewhere, temp.join("3")).unwrap();
    let store = DiskStore::new(&cache);
    put(&store, "key", "another");
    assert_eq!(store.sweep(DAY).unwrap().temporary, 0);
    assert_eq!(tree(&elsewhere), expected);
}
