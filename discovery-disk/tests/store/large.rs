//! Long work beside a runtime.

use bytes::Bytes;
use discovery_core::store::{Op, Store, Value};
use discovery_disk::store::DiskStoreOptions;
use discovery_disk::{DiskStore, KubectlStore};

use crate::directory;

fn small() -> Value {
    Value::new("", vec![1; 1_000])
}

fn large() -> Value {
    Value::new("", vec![2; 2 << 20])
}

fn is_ready<T>(op: &Op<T>) -> bool {
    matches!(op, Op::Ready(_))
}

#[tokio::test]
async fn small_values_are_handled_in_place_and_large_ones_elsewhere() {
    let (_dir, cache) = directory();
    for store in [
        Box::new(DiskStore::new(cache.join("disk"))) as Box<dyn Store>,
        Box::new(KubectlStore::new(cache.join("kubectl"))),
    ] {
        let put = store.put("small", small());
        assert!(is_ready(&put));
        put.await.unwrap();
        let get = store.get("small");
        assert!(is_ready(&get));
        assert_eq!(get.await.unwrap(), Some(small()));

        let put = store.put("large", large());
        assert!(!is_ready(&put));
        put.await.unwrap();
        let get = store.get("large");
        assert!(!is_ready(&get));
        assert_eq!(get.await.unwrap(), Some(large()));
        // A missing value is known at once.
        assert!(is_ready(&store.get("nothing")));
    }
}

#[test]
fn without_a_runtime_all_values_are_handled_in_place() {
    let (_dir, cache) = directory();
    let store = KubectlStore::new(cache);
    assert!(matches!(store.put("key", large()), Op::Ready(Ok(()))));
    assert!(matches!(store.get("key"), Op::Ready(Ok(Some(_)))));
}

#[tokio::test]
async fn the_limit_can_be_set() {
    let (_dir, cache) = directory();
    let with_limit = |bytes| {
        let options = DiskStoreOptions::new().max_inline_size(bytes);
        DiskStore::with_options(&cache, options)
    };
    let disk = with_limit(1 << 22);
    disk.put("large", large()).await.unwrap();
    assert!(is_ready(&disk.get("large")));
    let offloading = with_limit(10);
    let get = offloading.get("large");
    assert!(!is_ready(&get));
    assert_eq!(get.await.unwrap(), Some(large()));
}

#[tokio::test]
async fn a_synced_write_is_done_elsewhere() {
    let (_dir, cache) = directory();
    let store = DiskStore::with_options(cache, DiskStoreOptions::new().fsync(true));
    let put = store.put("key", small());
    assert!(!is_ready(&put));
    put.await.unwrap();
    let writer = store.create("key", Bytes::new()).await.unwrap();
    let writer = writer.write(large().body).await.unwrap();
    let commit = writer.commit();
    assert!(!is_ready(&commit));
    commit.await.unwrap();
    assert_eq!(store.get("key").await.unwrap(), Some(large()));
}

#[test]
fn a_runtime_that_ends_gives_an_error_or_an_outcome() {
    let (_dir, cache) = directory();
    let store = DiskStore::new(&cache);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let op = {
        let _inside = runtime.enter();
        store.put("key", large())
    };
    drop(runtime);
    // Whichever it is, it does not hang.
    let put = tokio_test::block_on(op);
    let got = tokio_test::block_on(store.get("key")).unwrap();
    assert_eq!(got.is_some(), put.is_ok());
}
