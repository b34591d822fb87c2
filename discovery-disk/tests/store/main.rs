//! The stores on disk: the contract, the files, faults, kubectl's entries, many processes.

mod conforms;
mod faults;
mod files;
mod kubectl;
mod large;
#[cfg(unix)]
mod processes;

use std::fs;
use std::path::{Path, PathBuf};

use discovery_core::store::{Store, Value, Writer};
use tokio_test::block_on;

/// A directory that goes away with the test, and the path of a cache below it that is not there.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("root/cache");
    (dir, cache)
}

fn get(store: &dyn Store, key: &str) -> Option<String> {
    let value = block_on(store.get(key)).unwrap()?;
    Some(String::from_utf8(value.into_bytes().into()).unwrap())
}

fn put(store: &dyn Store, key: &str, value: &str) {
    block_on(store.put(key, Value::new("", value.to_owned()))).unwrap();
}

fn create(store: &dyn Store, key: &str, head: &'static str) -> Box<dyn Writer> {
    block_on(store.create(key, head.into())).unwrap()
}

/// All files below a directory, sorted, with what is in them.
fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.push((name.to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}
