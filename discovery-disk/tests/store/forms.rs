//! Checksums, compression, and reading piece by piece.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bytes::Bytes;
use discovery_core::store::{Store, Value};
use discovery_disk::store::{Compression, DiskStoreOptions};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

use crate::{create, directory, get, put, random, write};

/// All forms, with a name; the second flag tells that damage is always found.
fn forms() -> Vec<(&'static str, DiskStoreOptions, bool)> {
    let new = DiskStoreOptions::new;
    vec![
        ("plain", new(), false),
        ("checksum", new().checksum(true), true),
        ("gzip", new().compression(Compression::Gzip), false),
        ("zlib", new().compression(Compression::Zlib), false),
        ("zstd", new().compression(Compression::Zstd), false),
        (
            "gzip and checksum",
            new().compression(Compression::Gzip).checksum(true),
            true,
        ),
        (
            "zlib and checksum",
            new().compression(Compression::Zlib).checksum(true),
            true,
        ),
        (
            "zstd and checksum",
            new().compression(Compression::Zstd).checksum(true),
            true,
        ),
    ]
}

/// Bytes that compress somewhat.
fn bytes(len: usize) -> Bytes {
    let mut state = 1_u32;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"abcdefghijklmnop"[(state >> 28) as usize]
    };
    (0..len).map(byte).collect()
}

fn read_all(store: &DiskStore, key: &str) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    store.reader(key).unwrap()?.read_to_end(&mut read).unwrap();
    Some(read)
}

#[test]
fn a_value_is_the_same_in_each_form_and_by_each_way() {
    for (name, options, _) in forms() {
        let (_dir, cache) = directory();
        for len in [0, 1, 5_000, 300_000, 1_200_000] {
            let body = bytes(len);
            let store = DiskStore::with_options(&cache, options.clone());
            block_on(store.put("put", Value::new("head", body.clone()))).unwrap();
            let mut writer = create(&store, "written", "head");
            for piece in body.chunks(70_000) {
                writer = write(writer, piece.to_vec());
            }
            block_on(writer.commit()).unwrap();
            let expected = Value::new("head", body.clone());
            for key in ["put", "written"] {
                // One that knows the file, and one that does not.
                for store in [&store, &DiskStore::with_options(&cache, options.clone())] {
                    let read = read_all(store, key).unwrap();
                    assert!(read == expected.clone().into_bytes(), "{name} {len} {key}");
                    let got = block_on(store.get(key)).unwrap().unwrap();
                    assert!(got == expected, "{name} {len} {key}");
                    assert!(got.stored_at.is_some());
                }
            }
            // The same bytes by the other way are no new file.
            block_on(store.put("written", expected)).unwrap();
            assert!(store.stats().renewed >= 1, "{name} {len}");
        }
    }
}

/// Each cut and each flipped bit, read by a store that has not checked the file before.
#[test]
fn damage_is_absence() {
    let value = bytes(300);
    for (name, options, has_sum) in forms() {
        let (_dir, cache) = directory();
        let store = DiskStore::with_options(&cache, options.clone());
        block_on(store.put("key", Value::new("", value.clone()))).unwrap();
        let path = cache.join("key");
        let whole = fs::read(&path).unwrap();
        let is_compressed = name != "plain" && name != "checksum";
        let look = |file: &[u8], what: &str| {
            fs::write(&path, file).unwrap();
            let store = DiskStore::with_options(&cache, options.clone());
            let got = block_on(store.get("key")).unwrap();
            let mut read = Vec::new();
            let reader = store.reader("key").unwrap();
            let outcome = reader.map(|mut reader| reader.read_to_end(&mut read));
            let is_right = got.is_none() || got == Some(Value::new("", value.clone()));
            assert!(is_right, "{name} {what}");
            match outcome {
                Some(Ok(_)) => assert!(read == value, "{name} {what}"),
                Some(Err(error)) => {
                    assert!(error.raw_os_error().is_none(), "{name} {what} {error}");
                }
                None => {}
            }
            got.is_none()
        };
        if has_sum || is_compressed {
            for len in 0..whole.len() {
                assert!(look(&whole[..len], "cut"), "{name} {len}");
            }
        }
        if has_sum {
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(look(&flipped, "flipped"), "{name} {bit}");
            }
        } else if name == "gzip" || name == "zlib" || name == "zstd" {
            // They have sums of their own, and fields that do not matter.
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                look(&flipped, "flipped");
            }
        }
        assert!(!look(&whole, "whole"));
    }
}

/// The reader does not know before the end; a caller who goes on after an error learns nothing else.
#[test]
fn a_damaged_value_never_ends_as_if_it_were_whole() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().checksum(true);
    let store = DiskStore::with_options(&cache, options.clone());
    block_on(store.put("key", Value::new("", bytes(10_000)))).unwrap();
    let mut file = fs::read(cache.join("key")).unwrap();
    file[0] ^= 1;
    fs::write(cache.join("key"), file).unwrap();
    let store = DiskStore::with_options(&cache, options);
    let mut reader = store.reader("key").unwrap().unwrap();
    let mut piece = [0; 4_000];
    assert_eq!(reader.read(&mut piece).unwrap(), 4_000);
    assert_eq!(reader.read(&mut piece).unwrap(), 4_000);
    for _ in 0..3 {
        let error = reader.read(&mut piece).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
    // Nobody takes it for checked now.
    assert_eq!(get(&store, "key"), None);
}

#[test]
fn a_value_with_a_checksum_is_readable_by_cat() {
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(&cache, DiskStoreOptions::new().checksum(true));
    put(&store, "key", "a value");
    let file = fs::read_to_string(cache.join("key")).unwrap();
    // `printf 'a value' | sha256sum`
    let sum = "aa62dea5c98c96bdbb4abf7e49a15b90c13453552e04199caf3f4ad333e33c7d";
    assert_eq!(file, format!("a value\nsha256 {sum}\n"));
}

/// A file of another form is no value, whatever it holds.
#[test]
fn a_file_of_another_form_is_no_value() {
    for (name, options, _) in forms().into_iter().skip(1) {
        let (_dir, cache) = directory();
        put(&DiskStore::new(&cache), "key", "a value");
        let store = DiskStore::with_options(&cache, options);
        assert_eq!(get(&store, "key"), None, "{name}");
        put(&store, "key", "another");
        assert_eq!(get(&store, "key").as_deref(), Some("another"), "{name}");
        assert_eq!((store.stats().damaged, store.stats().hits), (1, 1));
    }
}

/// A few bytes that would become many.
#[test]
fn a_value_larger_than_the_limit_is_not_unpacked() {
    for compression in [Compression::Gzip, Compression::Zlib, Compression::Zstd] {
        let (_dir, cache) = directory();
        let options = DiskStoreOptions::new().compression(compression);
        let store = DiskStore::with_options(&cache, options.clone());
        block_on(store.put("key", Value::new("", vec![0; 1_000_000]))).unwrap();
        assert!(fs::metadata(cache.join("key")).unwrap().len() < 2_000);
        let small = DiskStore::with_options(&cache, options.max_value_size(999_999));
        assert_eq!(block_on(small.get("key")).unwrap(), None);
        let mut reader = small.reader("key").unwrap().unwrap();
        let read = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(read.kind(), ErrorKind::InvalidData);
        // Nor written, by either way.
        let error = block_on(small.put("key", Value::new("", vec![0; 1_000_000]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        let writer = create(&small, "key", "");
        let written = block_on(writer.write(vec![0; 1_000_000].into()));
        assert_eq!(written.err().unwrap().kind(), ErrorKind::FileTooLarge);
    }
}

/// Bytes that no compression makes smaller, at the limit.
#[test]
fn a_value_that_does_not_compress_fits_the_limit() {
    let random = random(200_000);
    for (name, options, _) in forms() {
        let (_dir, cache) = directory();
        let store = DiskStore::with_options(&cache, options.max_value_size(200_000));
        let value = Value::new("", random.clone());
        block_on(store.put("key", value.clone())).unwrap();
        assert!(block_on(store.get("key")).unwrap() == Some(value), "{name}");
    }
}

#[test]
fn kubectls_files_are_read_piece_by_piece() {
    let (_dir, cache) = directory();
    let store = KubectlStore::new(&cache);
    block_on(store.put("key", Value::new("head ", bytes(50_000)))).unwrap();
    let expected = Value::new("head ", bytes(50_000)).into_bytes();
    assert!(read_all(KubectlStore::new(&cache).disk(), "key").unwrap() == expected);
    assert!(read_all(store.disk(), "absent").is_none());
    let file = only_file(&cache);
    fs::write(&file, [7; 31]).unwrap();
    assert!(store.disk().reader("key").unwrap().is_none());
    let stats = store.disk().stats();
    assert_eq!((stats.hits, stats.misses, stats.damaged), (0, 2, 1));
}

fn only_file(cache: &Path) -> std::path::PathBuf {
    let mut files = cache.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.is_file()).unwrap()
}

/// A value in memory is told only as long as its file is the same.
#[test]
fn the_read_cache_sees_other_processes_writes() {
    let (_dir, cache) = directory();
    let options = DiskStoreOptions::new().checksum(true).read_cache(1 << 20);
    let store = DiskStore::with_options(&cache, options);
    let other = DiskStore::with_options(&cache, DiskStoreOptions::new().checksum(true));
    put(&store, "key", "one");
    for _ in 0..3 {
        assert_eq!(get(&store, "key").as_deref(), Some("one"));
    }
    assert_eq!(store.stats().cache_hits, 2);
    put(&other, "key", "two");
    assert_eq!(get(&store, "key").as_deref(), Some("two"));
    assert_eq!(get(&store, "key").as_deref(), Some("two"));
    assert_eq!(store.stats().cache_hits, 3);
    block_on(other.remove("key")).unwrap();
    assert_eq!(get(&store, "key"), None);
    assert_eq!(store.stats().hits, 5);
}
