//! Values, and the files that they are in.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use discovery_core::store::{Store, Value};
use discovery_core::sync::clock::ManualClock;
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::files::tree;
#[cfg(unix)]
use crate::files::{inode, mode, set_mode};
use crate::{create, directory, get, put, write};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The umask, seen on a directory made for everybody.
#[cfg(unix)]
fn umask() -> u32 {
    use std::os::unix::fs::DirBuilderExt;
    let dir = tempfile::tempdir().unwrap();
    let probe = dir.path().join("probe");
    fs::DirBuilder::new().mode(0o777).create(&probe).unwrap();
    0o777 & !mode(probe)
}

#[test]
fn nothing_is_made_before_the_first_write() {
    let (dir, cache) = directory();
    for store in [
        Box::new(DiskStore::new(&cache)) as Box<dyn Store>,
        Box::new(KubectlStore::new(&cache)),
    ] {
        assert_eq!(get(&store, "key"), None);
        block_on(store.remove("key")).unwrap();
        drop(create(&store, "key", "head"));
    }
    assert_eq!(DiskStore::new(&cache).sweep(DAY).unwrap().temporary, 0);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn modes_are_kubectls() {
    let (dir, cache) = directory();
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().file_names(|key: &str| format!("a/b/{key}").into()),
    );
    put(&store, "put", "value");
    let mut writer = create(&store, "streamed", "head");
    writer = write(writer, vec![0; 600_000]);
    block_on(writer.commit()).unwrap();
    for file in ["put", "streamed"] {
        assert_eq!(mode(cache.join("a/b").join(file)), 0o660, "{file}");
    }
    let expected = 0o750 & !umask();
    let root = dir.path().join("root");
    for made in [
        &root,
        &cache,
        &cache.join(".diskv-temp"),
        &cache.join("a"),
        &cache.join("a/b"),
    ] {
        assert_eq!(mode(made), expected, "{}", made.display());
    }
}

#[cfg(unix)]
#[test]
fn modes_can_be_set() {
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().dir_mode(0o700).file_mode(0o640),
    );
    put(&store, "key", "value");
    assert_eq!(mode(cache.join("key")), 0o640);
    assert_eq!(mode(&cache), 0o700 & !umask());
}

#[cfg(unix)]
#[test]
fn a_temporary_file_is_its_owners_alone() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    let mut writer = create(&store, "key", "head");
    writer = write(writer, vec![0; 600_000]);
    let temporary = tree(&cache.join(".diskv-temp"));
    let [(name, _)] = &temporary[..] else {
        panic!("one temporary file expected");
    };
    assert!(name.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
    assert_eq!(mode(cache.join(".diskv-temp").join(name)), 0o600);
    drop(writer);
    assert_eq!(tree(&cache), []);
}

#[test]
fn short_writers_need_no_temporary_file() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    let mut writer = create(&store, "key", "head");
    writer = write(writer, vec![0; 200_000]);
    assert_eq!(tree(&cache), []);
    block_on(writer.commit()).unwrap();
    assert_eq!(tree(&cache).len(), 1);
}

#[test]
fn directories_that_vanish_are_made_again() {
    let (dir, cache) = directory();
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().file_names(|key: &str| format!("sub/{key}").into()),
    );
    put(&store, "key", "one");
    fs::remove_dir_all(dir.path().join("root")).unwrap();
    assert_eq!(get(&store, "key"), None);
    put(&store, "key", "two");
    assert_eq!(get(&store, "key").as_deref(), Some("two"));
    fs::remove_dir_all(cache.join("sub")).unwrap();
    put(&store, "key", "three");
    fs::remove_dir_all(cache.join(".diskv-temp")).unwrap();
    put(&store, "key", "four");
    assert_eq!(get(&store, "key").as_deref(), Some("four"));
}

#[cfg(unix)]
#[test]
fn a_value_for_a_key_that_was_missing_is_not_compared() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use discovery_disk::store::faults::Step;

    let (dir, cache) = directory();
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let disk = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().with_faults(move |step, _| {
            count.fetch_add(usize::from(step == Step::Open), Ordering::SeqCst);
            None
        }),
    );
    let opens = || opened.swap(0, Ordering::SeqCst);
    put(&disk, "put", "value");
    assert_eq!(opens(), 1, "who has not asked has to compare");

    for (key, stream) in [("a", false), ("b", true)] {
        let write = |value: &'static str| {
            if stream {
                let mut writer = create(&disk, key, "");
                writer = write(writer, value);
                block_on(writer.commit()).unwrap();
            } else {
                put(&disk, key, value);
            }
        };
        assert_eq!(get(&disk, key), None);
        assert_eq!(opens(), 1);
        write("value");
        assert_eq!(opens(), 0, "compared with nothing");
        let file = &cache.join(key);
        fs::hard_link(file, dir.path().join(key)).unwrap();
        let before = inode(file);
        write("value");
        assert_eq!((opens(), inode(file)), (1, before), "the next time it is");

        // A value that another store has put there meanwhile is replaced.
        block_on(disk.remove(key)).unwrap();
        assert_eq!(get(&disk, key), None);
        put(&DiskStore::new(&cache), key, "value");
        fs::hard_link(file, dir.path().join(format!("{key}2"))).unwrap();
        let others = inode(file);
        write("value");
        assert_ne!(inode(file), others);
        assert_eq!(get(&disk, key).as_deref(), Some("value"));
        opens();
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_did_not_change_is_only_touched() {
    let (dir, cache) = directory();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let clock = ManualClock::new(now);
    let options = DiskStoreOptions::new().clock(clock.clone());
    let stores: [Box<dyn Store>; 2] = [
        Box::new(DiskStore::with_options(&cache, options.clone())),
        Box::new(KubectlStore::with_options(&cache, options)),
    ];
    for (at, store) in stores.iter().enumerate() {
        for value in ["", "value", &"long ".repeat(100_000)] {
            put(store, "key", value);
            let file = &cache.join(match at {
                0 => "key",
                _ => "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683",
            });
            // Its inode can't be given to another file while it has this name.
            let kept = dir.path().join(format!("{at} {}", value.len()));
            fs::hard_link(file, kept).unwrap();
            let before = inode(file);

            clock.advance(DAY);
            put(store, "key", value);
            assert_eq!(inode(file), before, "written again");
            let modified = fs::metadata(file).unwrap().modified().unwrap();
            assert_eq!(modified, discovery_core::sync::clock::Clock::now(&clock));

            let mut writer = create(store, "key", "");
            writer = write(writer, value.to_owned());
            block_on(writer.commit()).unwrap();
            assert_eq!(get(store, "key").as_deref(), Some(value));
            // Longer ones have gone through a temporary file by then.
            assert_eq!(inode(file) == before, value.len() < 200_000);
        }
    }
}

#[cfg(unix)]
#[test]
fn the_same_bytes_with_another_mode_are_written_again() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    put(&store, "key", "value");
    set_mode(cache.join("key"), 0o600);
    put(&store, "key", "value");
    assert_eq!(mode(cache.join("key")), 0o660);
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_values() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let (dir, cache) = directory();
    let store = DiskStore::new(&cache);
    put(&store, "value", "value");
    let outside = dir.path().join("outside");
    fs::write(&outside, "outside").unwrap();

    fs::create_dir(cache.join("directory")).unwrap();
    symlink(&outside, cache.join("link")).unwrap();
    symlink(cache.join("value"), cache.join("inside")).unwrap();
    symlink("/nowhere", cache.join("dangling")).unwrap();
    symlink("loop", cache.join("loop")).unwrap();
    let _socket = UnixListener::bind(cache.join("socket")).unwrap();
    let mut odd = vec!["directory", "link", "inside", "dangling", "loop", "socket"];
    // A pipe without a writer blocks who opens it without care.
    let made = std::process::Command::new("mkfifo")
        .arg(cache.join("pipe"))
        .status();
    if made.is_ok_and(|status| status.success()) {
        odd.push("pipe");
    }
    for key in odd {
        assert_eq!(get(&store, key), None, "{key}");
        if key == "directory" {
            let _ = block_on(store.remove(key));
            block_on(store.put(key, Value::new("", "new"))).unwrap_err();
            continue;
        }
        // Replaced, not written through.
        put(&store, key, "new");
        assert_eq!(get(&store, key).as_deref(), Some("new"), "{key}");
        assert!(fs::symlink_metadata(cache.join(key)).unwrap().is_file());
    }
    assert_eq!(fs::read(&outside).unwrap(), b"outside");
    assert_eq!(get(&store, "value").as_deref(), Some("value"));
    assert_eq!(tree(&cache.join(".diskv-temp")), []);

    // The way there may have links.
    symlink(&cache, dir.path().join("way")).unwrap();
    let store = DiskStore::new(dir.path().join("way"));
    assert_eq!(get(&store, "value").as_deref(), Some("value"));
}

#[test]
fn oversized_files_are_no_values() {
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(&cache, DiskStoreOptions::new().max_value_size(1_000));
    put(&store, "key", &"x".repeat(1_000));
    assert_eq!(get(&store, "key").unwrap().len(), 1_000);
    // Sparse: to read it would take more memory than there is.
    let file = File::options().write(true).open(cache.join("key")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(get(&store, "key"), None);
    file.set_len(1_001).unwrap();
    assert_eq!(get(&store, "key"), None);

    let error = block_on(store.put("key", Value::new("x", "x".repeat(1_000)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    let mut writer = create(&store, "key", "x");
    writer = write(writer, "x".repeat(999));
    let error = block_on(writer.write("x".into())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert_eq!(tree(&cache.join(".diskv-temp")), []);

    put(&store, "key", "small");
    assert_eq!(get(&store, "key").as_deref(), Some("small"));
}

#[test]
fn stores_with_other_options_may_share_a_directory() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    let small = DiskStore::with_options(&cache, DiskStoreOptions::new().max_value_size(3));
    put(&store, "key", "value");
    assert_eq!(get(&small, "key"), None);
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert_eq!(store.dir(), cache);
    let shown = format!("{store:?}");
    assert!(shown.starts_with("DiskStore { dir: "), "{shown}");
}
