//! Keys and their files.

use std::fs;
use std::io::ErrorKind;

use discovery_core::store::{Store, Value};
use discovery_disk::DiskStore;
use discovery_disk::store::{EscapedNames, FileNames};
use tokio_test::block_on;

use crate::files::tree;
use crate::{directory, get, put};

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

/// Everything would lie among the temporary files.
#[test]
fn a_store_in_its_temporary_directory_takes_nothing() {
    let (dir, cache) = directory();
    for temp in [cache.as_path(), dir.path()] {
        let store = DiskStore::new(&cache).temp_dir(temp);
        let error = block_on(store.put("key", Value::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("temporary"), "{error}");
        assert_eq!(get(&store, "key"), None);
    }
    let store = DiskStore::new(&cache).temp_dir(dir.path().join("temp"));
    put(&store, "key", "value");
    assert_eq!(get(&store, "key").as_deref(), Some("value"));
    assert_eq!(tree(dir.path()).len(), 1);
}
