//! A store over OpenDAL keeps the contract. It is the store of an example, which this file includes.

#[allow(
    dead_code,
    unreachable_pub,
    unfulfilled_lint_expectations,
    reason = "the example is a program"
)]
#[path = "../examples/opendal_store.rs"]
mod opendal_store;

use std::sync::Mutex;

use discovery_core::testing::conformance::Suite;
use opendal::Operator;
use opendal::services::{Fs, Memory};
use opendal_store::OpendalStore;
use tempfile::TempDir;

fn suite() -> Suite {
    Suite::new().spawn(|task| drop(tokio::spawn(task)))
}

fn in_memory() -> OpendalStore {
    OpendalStore::new(Operator::new(Memory::default()).unwrap())
}

/// Directories that go away with the test.
#[derive(Default)]
struct Directories(Mutex<Vec<TempDir>>);

impl Directories {
    fn store(&self) -> OpendalStore {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name).to_str().unwrap().to_owned();
        let fs = Fs::default()
            .root(&path("values"))
            .atomic_write_dir(&path("temporary"));
        let store = OpendalStore::new(Operator::new(fs).unwrap());
        self.0.lock().unwrap().push(dir);
        store
    }
}

#[tokio::test]
async fn a_store_over_the_memory_service_conforms_in_one_thread() {
    suite().run(in_memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_over_the_memory_service_conforms_in_several_threads() {
    suite().run(in_memory).await;
}

#[tokio::test]
async fn a_store_over_the_fs_service_conforms_in_one_thread() {
    let dirs = Directories::default();
    suite().run(|| dirs.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_over_the_fs_service_conforms_in_several_threads() {
    let dirs = Directories::default();
    suite().run(|| dirs.store()).await;
}
