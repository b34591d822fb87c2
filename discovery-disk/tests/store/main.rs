//! The stores on disk: the contract, the files, faults, kubectl's entries, many processes.

mod bounds;
mod conforms;
mod faults;
#[path = "../shared/files.rs"]
mod files;
mod forms;
mod fsync;
mod import;
mod keys;
mod kubectl;
mod large;
mod names;
#[path = "../shared/processes.rs"]
#[cfg(unix)]
mod parts;
#[cfg(unix)]
mod processes;
mod sweeping;
mod trust;
mod values;
mod verify;
mod waiting;
mod writer;

use std::path::PathBuf;

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

fn write(writer: Box<dyn Writer>, data: impl Into<bytes::Bytes>) -> Box<dyn Writer> {
    block_on(writer.write(data.into())).unwrap()
}

fn create(store: &dyn Store, key: &str, head: &'static str) -> Box<dyn Writer> {
    block_on(store.create(key, head.into())).unwrap()
}

/// Bytes that no compression makes smaller.
fn random(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(next).collect()
}
