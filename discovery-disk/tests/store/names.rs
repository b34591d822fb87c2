//! Keys and their files.

use std::fs;
use std::io::ErrorKind;

use discovery_core::store::{Store, Value};
use discovery_disk::{DiskStore, KubectlStore};

use discovery_disk::store::{DiskStoreOptions, EscapedNames, FileNames};
use tokio_test::block_on;

use crate::files::tree;
use crate::{directory, get, put};

#[test]
fn names_that_leave_are_refused() {
    let (dir, cache) = directory();
    let outside = dir.path().join("root/outside");
    fs::create_dir_all(&cache).unwrap();
    fs::write(&outside, "outside").unwrap();
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().file_names(|key: &str| key.into()),
    );
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
        block_on(store.remove(key)).unwrap();
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
    block_on(store.remove(&long)).unwrap();
    block_on(store.put(&long, Value::default())).unwrap_err();
    // A file where a directory would have to be.
    assert_eq!(get(&store, "inside/file/below"), None);
    block_on(store.remove("inside/file/below")).unwrap();
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

/// Everything would lie among the temporary files.
#[test]
fn a_store_in_its_temporary_directory_takes_nothing() {
    let (dir, cache) = directory();
    for temp in [cache.as_path(), dir.path()] {
        let store = DiskStore::with_options(&cache, DiskStoreOptions::new().temp_dir(temp));
        let error = block_on(store.put("key", Value::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("temporary"), "{error}");
        assert_eq!(get(&store, "key"), None);
    }
    let store = DiskStore::with_options(
        &cache,
        DiskStoreOptions::new().temp_dir(dir.path().join("temp")),
    );
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert_eq!(tree(dir.path()).len(), 1);
}

/// Names that tell their keys are listed; a sum in a name does not tell a key.
#[test]
fn keys_are_listed_where_the_names_tell_them() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    assert_eq!(block_on(store.keys("")).unwrap(), [""; 0]);
    for key in ["a", "a/b", "https://h/Api", ""] {
        put(&store, key, "value");
    }
    let mut keys = block_on(store.keys("")).unwrap();
    keys.sort();
    assert_eq!(keys, ["", "a", "a/b", "https://h/Api"]);
    assert_eq!(block_on(store.keys("https:")).unwrap(), ["https://h/Api"]);
    let size = block_on(store.size()).unwrap();
    assert_eq!((size.values, size.bytes), (4, 20));

    put(&store, "https://h/Api?timeout=32s", "value");
    let error = block_on(store.keys("")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(block_on(store.size()).unwrap().values, 5);
}

/// Files of others, directories and temporary files are left.
#[test]
fn clear_removes_the_files_of_keys_alone() {
    let (_dir, cache) = directory();
    for store in [
        Box::new(DiskStore::new(cache.join("disk"))) as Box<dyn Store>,
        Box::new(KubectlStore::new(cache.join("kubectl"))),
    ] {
        put(&*store, "https://u:p@h/a?b", "value");
        put(&*store, "key", "value");
    }
    let others = [
        "README.md",
        "A",
        "%zz",
        "a~b",
        ".hidden",
        ".diskv-temp/123",
        "d/e%41",
    ];
    for dir in ["disk", "kubectl"] {
        fs::create_dir(cache.join(dir).join("d")).unwrap();
        for name in others {
            fs::write(cache.join(dir).join(name), "another's").unwrap();
        }
    }
    let disk = DiskStore::new(cache.join("disk"));
    let kubectl = KubectlStore::new(cache.join("kubectl"));
    assert_eq!(block_on(disk.size()).unwrap().values, 2);
    assert_eq!(block_on(kubectl.size()).unwrap().values, 2);
    block_on(disk.clear()).unwrap();
    block_on(kubectl.clear()).unwrap();
    assert_eq!(tree(&cache).len(), 2 * others.len());
    assert_eq!(block_on(disk.size()).unwrap().values, 0);

    // Names of one's own that can't be read back.
    let options = DiskStoreOptions::new().file_names(|key: &str| key.into());
    let own = DiskStore::with_options(cache.join("own"), options);
    put(&own, "key", "value");
    for error in [
        block_on(own.keys("")).unwrap_err(),
        block_on(own.clear()).unwrap_err(),
        block_on(own.size()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    assert_eq!(get(&own, "key").as_deref(), Some("value"));
}

#[test]
fn no_name_has_a_secret_of_its_key_and_no_two_users_share_one() {
    let name = |key: &str| {
        EscapedNames
            .file_name(key)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    let keys = [
        "https://user:p%40ss@h/x?token=SECRET&b=1",
        "https://user2:p%40ss@h/x?token=SECRET&b=1",
        "https://h/x?token=SECRET&b=1",
        "https://h/x?token=SECRET&b=2",
        "https://h/x",
        "https://h/x\naccept: SECRET",
        "https://h/x#SECRET",
    ];
    let names: std::collections::HashSet<_> = keys.map(name).into();
    assert_eq!(names.len(), keys.len());
    for name in names {
        assert!(name.starts_with("https%3a%2f%2fh%2fx"), "{name}");
        assert!(!name.contains("user") && !name.contains("ecret"), "{name}");
        assert!(!name.contains("53%45"), "{name}");
    }
}
