use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use discovery_core::store::{Store, Value};
use discovery_core::testing::conformance::{self, Suite};
use discovery_disk::store::{Compression, DiskStoreOptions, EscapedNames};
use discovery_disk::{DiskStore, KubectlStore};
use tempfile::TempDir;
use tokio_test::block_on;

/// Makes directories for stores, and keeps them until the test ends.
#[derive(Default)]
struct Directories(Mutex<Vec<TempDir>>);

impl Directories {
    fn next(&self) -> PathBuf {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("http");
        self.0.lock().unwrap().push(dir);
        path
    }

    /// No check may have left a temporary file, nor a file outside the directories.
    fn check(self) {
        let dirs = self.0.into_inner().unwrap();
        assert!(!dirs.is_empty());
        for dir in dirs {
            let temporary = dir.path().join("http/.diskv-temp");
            if let Ok(mut files) = temporary.read_dir() {
                assert!(files.next().is_none(), "a temporary file was left");
            }
            for entry in dir.path().read_dir().unwrap() {
                assert_eq!(entry.unwrap().file_name(), "http");
            }
        }
    }
}

#[test]
fn a_disk_store_conforms() {
    let dirs = Directories::default();
    block_on(conformance::run(|| DiskStore::new(dirs.next())));
    dirs.check();
}

#[test]
fn a_kubectl_store_conforms() {
    let dirs = Directories::default();
    block_on(conformance::run(|| KubectlStore::new(dirs.next())));
    dirs.check();
}

/// With a runtime, long work goes to its blocking threads.
#[tokio::test]
async fn a_disk_store_conforms_in_a_runtime_of_one_thread() {
    let dirs = Directories::default();
    conformance::run(|| DiskStore::new(dirs.next())).await;
    dirs.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_store_conforms_in_a_runtime_of_several_threads() {
    let dirs = Directories::default();
    conformance::run(|| DiskStore::new(dirs.next())).await;
    dirs.check();
}

#[tokio::test]
async fn a_disk_store_conforms_with_all_work_on_blocking_threads() {
    let dirs = Directories::default();
    conformance::run(|| {
        DiskStore::with_options(dirs.next(), DiskStoreOptions::new().max_inline_size(0))
    })
    .await;
    dirs.check();
}

#[tokio::test]
async fn a_kubectl_store_that_syncs_keeps_the_promises_about_writes() {
    // Not the whole suite: this waits for the disk.
    let dirs = Directories::default();
    let store = || KubectlStore::with_options(dirs.next(), DiskStoreOptions::new().fsync(true));
    conformance::last_write_wins(&store(), &Suite::new()).await;
    conformance::nothing_before_commit(&store(), &Suite::new()).await;
    conformance::cancelled_operations(&store(), &Suite::new()).await;
    dirs.check();
}

#[test]
fn two_disk_stores_share_a_directory() {
    let dirs = Directories::default();
    block_on(conformance::run_shared(|| {
        let dir = dirs.next();
        (DiskStore::new(&dir), DiskStore::new(&dir))
    }));
    dirs.check();
}

/// Of kubectl's directory only what could go wrong with the sums that a store remembers: summing
/// up megabytes takes long where the compiler does not optimise.
#[test]
fn two_kubectl_stores_share_a_directory() {
    let dirs = Directories::default();
    let dir = dirs.next();
    let stores = [KubectlStore::new(&dir), KubectlStore::new(&dir)];
    for round in 0..20u8 {
        // Of one length, so that only the times tell one state of the file from another.
        for (writer, reader) in [(0, 1), (1, 0), (0, 0)] {
            let value = Value::new(vec![round], vec![writer as u8; 5_000]);
            block_on(stores[writer].put("key", value.clone())).unwrap();
            let got = block_on(stores[reader].get("key")).unwrap();
            assert_eq!(got, Some(value), "round {round}");
        }
        block_on(stores[usize::from(round % 2)].remove("key")).unwrap();
        for store in &stores {
            assert_eq!(block_on(store.get("key")).unwrap(), None);
        }
    }
    dirs.check();
}

/// Each with the checksum, since that is where the two meet.
#[test]
fn disk_stores_of_other_forms_conform() {
    for form in [Compression::None, Compression::Zstd] {
        let dirs = Directories::default();
        let options = DiskStoreOptions::new().checksum(true).compression(form);
        block_on(conformance::run(|| {
            DiskStore::with_options(dirs.next(), options.clone())
        }));
        dirs.check();
    }
}

/// All that a store keeps in memory, and bounds that nothing reaches.
#[tokio::test]
async fn a_disk_store_conforms_with_memory_and_bounds() {
    let dirs = Directories::default();
    let options = DiskStoreOptions::new()
        .read_cache(1 << 20)
        .index(true)
        .max_bytes(1 << 40)
        .max_values(1 << 40)
        .max_age(Duration::from_secs(3600));
    conformance::run(|| DiskStore::with_options(dirs.next(), options.clone())).await;
    conformance::run_shared(|| {
        let dir = dirs.next();
        let store = || DiskStore::with_options(&dir, options.clone());
        (store(), store())
    })
    .await;
    dirs.check();
}

/// Names in directories, and temporary files elsewhere on the file system.
#[test]
fn a_disk_store_conforms_with_names_in_directories() {
    use discovery_disk::store::FileNames;
    let dirs = Directories::default();
    let names = |key: &str| {
        let name = EscapedNames.file_name(key);
        let first = name.to_str().unwrap()[..1].to_owned();
        PathBuf::from(first).join("files").join(name)
    };
    block_on(conformance::run(|| -> Box<dyn Store> {
        let dir = dirs.next();
        let options = DiskStoreOptions::new().temp_dir(dir.join("temp/orary"));
        Box::new(DiskStore::with_options(&dir, options.file_names(names)))
    }));
    dirs.check();
}
