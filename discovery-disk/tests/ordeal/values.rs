//! Values that tell their key, and whether they are whole.

use std::path::Path;

use discovery_core::store::{Store, Value};
use discovery_disk::store::{Compression, DiskStoreOptions};
use discovery_disk::{DiskStore, KubectlStore};

/// A value for `key`, of a length that depends on the round.
pub(crate) fn signed(key: &str, round: u64) -> Value {
    let len = match round % 7 {
        0 => 0,
        1..=3 => round % 5_000,
        4 | 5 => 20_000 + round % 30_000,
        // More than a writer holds, so that it comes in pieces.
        _ => 270_000 + round % 50_000,
    };
    let fill = b'a' + (round % 26) as u8;
    Value::new(format!("{key}\n{len} {round}\n"), vec![fill; len as usize])
}

/// Panics unless a value is one that [`signed`] has made for this key.
pub(crate) fn check(key: &str, value: Value) {
    let bytes = value.into_bytes();
    let mut lines = bytes.splitn(3, |&byte| byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next().expect("a line")).expect("text");
    assert_eq!(line(), key, "another key's value");
    let (len, round) = line().split_once(' ').expect("two numbers");
    let (len, round): (usize, u64) = (len.parse().unwrap(), round.parse().unwrap());
    let body = lines.next().expect("a body");
    assert_eq!(body.len(), len, "a torn value of {key}");
    let fill = b'a' + (round % 26) as u8;
    assert!(
        body.iter().all(|&byte| byte == fill),
        "a mixed value of {key}"
    );
}

/// The kinds of stores, each in a directory of its own.
pub(crate) const KINDS: u8 = 5;

pub(crate) fn store(directory: &Path, kind: u8) -> Box<dyn Store> {
    let directory = directory.join(kind.to_string());
    let options = DiskStoreOptions::new().clock(clock);
    match kind {
        0 => Box::new(DiskStore::with_options(directory, options)),
        1 => Box::new(DiskStore::with_options(directory, options.fsync(true))),
        2 => Box::new(KubectlStore::with_options(directory, options)),
        3 => {
            let options = options.compression(Compression::Zstd).checksum(true);
            Box::new(DiskStore::with_options(directory, options))
        }
        _ => {
            let names = |key: &str| format!("{}/{key}", key.len()).into();
            Box::new(DiskStore::with_options(
                directory,
                options.file_names(names),
            ))
        }
    }
}

/// Removes the temporary files of a store of that kind.
pub(crate) fn sweep(directory: &Path, kind: u8) {
    let directory = directory.join(kind.to_string());
    let store = DiskStore::with_options(directory, DiskStoreOptions::new().clock(clock));
    store.sweep(std::time::Duration::ZERO).unwrap();
}

/// A little ahead, so that all files are older.
fn clock() -> std::time::SystemTime {
    std::time::SystemTime::now() + std::time::Duration::from_secs(1)
}
