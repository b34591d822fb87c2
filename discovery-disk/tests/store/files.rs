use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use discovery_core::clock::ManualClock;
use discovery_core::store::{Store, Value};
use discovery_disk::store::{EscapedNames, FileNames};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::{create, directory, get, put, tree};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(unix)]
fn mode(path: impl AsRef<Path>) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

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
        assert!(!block_on(store.remove("key")).unwrap());
        drop(create(&store, "key", "head"));
    }
    assert_eq!(
        DiskStore::new(&cache)
            .sweep(DAY, SystemTime::now())
            .unwrap(),
        0
    );
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn modes_are_kubectls() {
    let (dir, cache) = directory();
    let store = DiskStore::new(&cache).file_names(|key: &str| format!("a/b/{key}").into());
    put(&store, "put", "value");
    let mut writer = create(&store, "streamed", "head");
    writer.write(&vec![0; 600_000].into()).unwrap();
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
    let store = DiskStore::new(&cache).dir_mode(0o700).file_mode(0o640);
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
    writer.write(&vec![0; 600_000].into()).unwrap();
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
    writer.write(&vec![0; 200_000].into()).unwrap();
    assert_eq!(tree(&cache), []);
    block_on(writer.commit()).unwrap();
    assert_eq!(tree(&cache).len(), 1);
}

#[test]
fn directories_that_vanish_are_made_again() {
    let (dir, cache) = directory();
    let store = DiskStore::new(&cache).file_names(|key: &str| format!("sub/{key}").into());
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

/// Finds out whether a file was replaced, by keeping another name of it.
#[cfg(unix)]
fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

#[cfg(unix)]
#[test]
fn what_did_not_change_is_only_touched() {
    let (dir, cache) = directory();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let clock = ManualClock::new(now);
    let disk = DiskStore::new(&cache).clock(clock.clone());
    let stores: [Box<dyn Store>; 2] = [Box::new(disk.clone()), Box::new(KubectlStore::over(disk))];
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
            assert_eq!(modified, discovery_core::clock::Clock::now(&clock));

            let mut writer = create(store, "key", "");
            writer.write(&value.to_owned().into()).unwrap();
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
    use std::os::unix::fs::PermissionsExt;
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    put(&store, "key", "value");
    fs::set_permissions(cache.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
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
            assert!(!block_on(store.remove(key)).unwrap_or(false));
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

#[cfg(unix)]
#[test]
fn a_temporary_directory_of_links_is_not_followed() {
    let (dir, cache) = directory();
    let store = DiskStore::new(&cache);
    // Every name that a temporary file could get can't be taken in advance, but one that exists
    // is never opened: that is what O_EXCL is for. What can be made is a link for the directory,
    // and that is the owner's choice.
    fs::create_dir_all(&cache).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, cache.join(".diskv-temp")).unwrap();
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert_eq!(tree(&elsewhere), []);
}

#[test]
fn oversized_files_are_no_values() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache).max_value_size(1_000);
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
    writer.write(&"x".repeat(999).into()).unwrap();
    let error = writer.write(&"x".into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    drop(writer);
    assert_eq!(tree(&cache.join(".diskv-temp")), []);

    put(&store, "key", "small");
    assert_eq!(get(&store, "key").as_deref(), Some("small"));
}

#[test]
fn names_that_leave_are_refused() {
    let (dir, cache) = directory();
    let outside = dir.path().join("root/outside");
    fs::create_dir_all(&cache).unwrap();
    fs::write(&outside, "outside").unwrap();
    let store = DiskStore::new(&cache).file_names(|key: &str| key.into());
    put(&store, "inside/file", "inside");
    for key in [
        "../outside",
        "inside/../../outside",
        "/etc/hostname",
        outside.to_str().unwrap(),
        "",
        ".",
        "..",
        "a\0b",
        ".diskv-temp",
        ".diskv-temp/1",
    ] {
        assert_eq!(get(&store, key), None, "{key:?}");
        assert!(!block_on(store.remove(key)).unwrap(), "{key:?}");
        let error = block_on(store.put(key, Value::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}");
        let error = block_on(store.create(key, "".into())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}");
    }
    assert_eq!(fs::read(outside).unwrap(), b"outside");
    assert_eq!(tree(&cache).len(), 1);

    // Too long for the file system: not there, and not to be had.
    let long = "x".repeat(5_000);
    assert_eq!(get(&store, &long), None);
    assert!(!block_on(store.remove(&long)).unwrap());
    block_on(store.put(&long, Value::default())).unwrap_err();
    // A file where a directory would have to be.
    assert_eq!(get(&store, "inside/file/below"), None);
    assert!(!block_on(store.remove("inside/file/below")).unwrap());
    block_on(store.put("inside/file/below", Value::default())).unwrap_err();
    assert_eq!(tree(&cache).len(), 1);
}

#[test]
fn escaped_names_are_short_flat_and_portable() {
    for key in [
        "",
        "a",
        "A",
        "/",
        "..",
        ".a.",
        &"é".repeat(79),
        &"/".repeat(4096),
        "\0",
    ] {
        let name = EscapedNames.file_name(key);
        let name = name.to_str().unwrap();
        assert!((1..=160).contains(&name.len()), "{name}");
        assert!(!name.starts_with('.') && !name.ends_with('.'), "{name}");
        let fine = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.%~".contains(&byte)
        };
        assert!(name.bytes().all(fine), "{name}");
    }
    // The last key that is spelt out, and the first that is not.
    let spelt = EscapedNames.file_name(&"k".repeat(160));
    assert_eq!(spelt.to_str(), Some("k".repeat(160).as_str()));
    let cut = EscapedNames.file_name(&"k".repeat(161));
    let cut = cut.to_str().unwrap();
    assert_eq!(cut.find('~'), Some(95));
    // Not in the middle of an escape.
    for shift in 0..3 {
        let name = EscapedNames.file_name(&("k".repeat(shift) + &"/".repeat(200)));
        let (readable, _) = name.to_str().unwrap().split_once('~').unwrap();
        assert_eq!((readable.len() - shift) % 3, 0, "{readable}");
    }
}

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
    file("not ours", DAY * 100);
    fs::create_dir(temp.join("67")).unwrap();
    let names = || -> Vec<String> { tree(&temp).into_iter().map(|(name, _)| name).collect() };

    // A first write does it quietly, and only a first one.
    let store = DiskStore::new(&cache).clock(ManualClock::new(now));
    assert_eq!(get(&store, "key"), None);
    assert_eq!(names().len(), 6);
    put(&store, "key", "value");
    assert_eq!(names(), ["3", "4", "5", "not ours"]);
    file("8", DAY * 2);
    put(&store.clone(), "key", "another");
    assert_eq!(names(), ["3", "4", "5", "8", "not ours"]);

    // By hand, as old as one likes.
    assert_eq!(store.sweep(DAY, now).unwrap(), 1);
    assert_eq!(store.sweep(Duration::from_secs(1), now).unwrap(), 1);
    assert_eq!(names(), ["4", "5", "not ours"]);
    assert_eq!(store.sweep(Duration::ZERO, now + DAY).unwrap(), 2);
    assert_eq!(names(), ["not ours"]);
    assert_eq!(get(&store, "key").as_deref(), Some("another"));
}

#[test]
fn settings_of_a_clone_are_its_own() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    let small = store.clone().max_value_size(3);
    put(&store, "key", "value");
    assert_eq!(get(&small, "key"), None);
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert_eq!(store.dir(), cache);
    let shown = format!("{store:?}");
    assert!(shown.starts_with("DiskStore { dir: "), "{shown}");
}

#[test]
fn reserved_bytes_are_filled_in() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    for len in [0, 10, 300_000, 900_000] {
        let body = "b".repeat(len);
        for pieces in [1, 7] {
            let mut writer = store.create_reserved("key", 4, b"head").unwrap();
            let writer_dyn: &mut dyn discovery_core::store::Writer = &mut writer;
            for piece in body.as_bytes().chunks(len / pieces + 1) {
                writer_dyn.write(&piece.to_vec().into()).unwrap();
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
    let writer: Box<dyn discovery_core::store::Writer> =
        Box::new(store.create_reserved("other", 4, b"head").unwrap());
    block_on(writer.commit()).unwrap_err();
    assert_eq!(get(&store, "other"), None);
    assert_eq!(tree(&cache).len(), 1);
}
