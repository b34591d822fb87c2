//! The stores of this crate against the conformance suite, and the suite against stores that break
//! the contract.

use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use discovery_core::store::{
    Buffered, MapStore, NoStore, Op, PutOptions, Store, StoreSize, Value, WriteOrder, Writer,
};
use discovery_core::testing::conformance::{self, Suite};
use tokio_test::block_on;

#[test]
fn map_store_conforms() {
    block_on(conformance::run(MapStore::new));
}

#[test]
fn map_store_conforms_behind_pointers() {
    block_on(conformance::run(|| Arc::new(MapStore::new())));
    block_on(conformance::run(|| -> Box<dyn Store> {
        Box::new(MapStore::new())
    }));
    block_on(conformance::run(|| -> Arc<dyn Store> {
        Arc::new(Box::new(MapStore::new()))
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suite_runs_inside_a_runtime() {
    conformance::run(MapStore::new).await;
}

#[test]
fn map_store_is_shared_by_clones() {
    block_on(conformance::run_shared(|| {
        let store = MapStore::new();
        (store.clone(), store)
    }));
    let store = MapStore::new();
    assert!(store.is_empty());
    block_on(store.clone().put("key", Value::new("", "value"))).unwrap();
    assert_eq!(store.len(), 1);
    assert_eq!(store.all_keys(), ["key"]);
    assert_eq!(format!("{store:?}"), "MapStore { len: 1 }");
}

#[test]
fn map_store_returns_the_bytes_it_was_given() {
    let store = MapStore::new();
    let value = Value::new(vec![1; 100], vec![2; 100]);
    block_on(store.put("key", value.clone())).unwrap();
    let got = block_on(store.get("key")).unwrap().unwrap();
    assert_eq!(got.head.as_ptr(), value.head.as_ptr());
    assert_eq!(got.body.as_ptr(), value.body.as_ptr());
}

#[test]
fn no_store_keeps_nothing() {
    block_on(conformance::run_forgetful(|| NoStore));
    let run = panic::catch_unwind(|| block_on(conformance::run(|| NoStore)));
    assert!(run.is_err(), "a store that keeps nothing was found to keep");
    block_on(async {
        NoStore.put("key", Value::new("", "value")).await.unwrap();
        assert_eq!(NoStore.get("key").await.unwrap(), None);
        let writer = NoStore.create("key", "head".into()).await.unwrap();
        let writer = writer.write("body".into()).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(NoStore.get("key").await.unwrap(), None);
        NoStore.remove("key").await.unwrap();
    });
}

#[test]
fn stores_that_drop_a_table_of_values_may_forget() {
    let flaw = Flaw::ForgetsNow;
    block_on(conformance::run_forgetful(|| Broken::new(flaw)));
    assert!(fails(flaw, &Suite::new()));
}

#[test]
fn values_are_their_bytes() {
    let whole = Value::new("", "head body");
    assert_eq!(Value::new("head ", "body"), whole);
    assert_eq!(Value::new("head body", ""), whole);
    assert_ne!(Value::new("head", "body"), whole);
    assert_ne!(Value::new("head ", "bodY"), whole);
    assert_ne!(Value::default(), whole);
    assert!(Value::default().is_empty());
    assert_eq!(whole.len(), 9);

    // One part alone is not copied.
    let bytes = Bytes::from(vec![7; 10]);
    let pointer = bytes.as_ptr();
    assert_eq!(Value::new(bytes.clone(), "").into_bytes().as_ptr(), pointer);
    assert_eq!(Value::new("", bytes).into_bytes().as_ptr(), pointer);
    assert_eq!(Value::new("a", "b").into_bytes(), "ab");
}

#[test]
fn operations_map_and_stay_pending() {
    assert!(matches!(Op::Ready(1).map(|n| n + 1), Op::Ready(2)));
    assert_eq!(block_on(Op::wait(async { 1 }).map(|n| n + 1)), 2);
    assert_eq!(format!("{:?}", Op::Ready(1)), "Ready(1)");
    assert_eq!(format!("{:?}", Op::wait(async { 1 })), "Wait");

    let mut op = Op::Ready(1);
    let mut cx = std::task::Context::from_waker(Waker::noop());
    let mut op = std::pin::Pin::new(&mut op);
    assert_eq!(op.as_mut().poll(&mut cx), Poll::Ready(1));
    assert_eq!(op.as_mut().poll(&mut cx), Poll::Pending);
}

#[test]
fn suite_finds_each_flaw() {
    use Flaw::*;
    for flaw in [
        FirstWriteWins,
        LosesHead,
        LosesLongTails,
        VisibleBeforeCommit,
        CommitsOnDrop,
        EmptyIsAbsent,
        RemovesNothing,
        LowerCasesKeys,
        CleansPaths,
        CutsKeys,
        CutsKeysAtNul,
        TrimsKeys,
        OneWriterPerKey,
        ComparesLengthsOnly,
        LosesEmptyWrites,
        CancelledPutsLandLate,
        CancelledRemovesLandLate,
        RemovedComesBack,
        ListsTwice,
        ListsPrefixesOnly,
        CountsRemoved,
        ClearsNothing,
        TakesKeepForAsKeysOwn,
    ] {
        assert!(fails(flaw, &Suite::new()), "{flaw:?} was not found");
    }
    // To be allowed to forget excuses no wrong value.
    for flaw in [
        FirstWriteWins,
        LosesHead,
        VisibleBeforeCommit,
        CommitsOnDrop,
        RemovesNothing,
        LowerCasesKeys,
        CutsKeys,
    ] {
        assert!(
            fails(flaw, &Suite::new().forgetful()),
            "{flaw:?} was not found"
        );
    }
}

#[test]
fn suite_finds_torn_values() {
    // It takes a reader at the wrong moment: tried until there is one.
    for flaw in [Flaw::Tears, Flaw::AbsentWhileReplaced] {
        let found = (0..1000).any(|_| {
            let store: Arc<dyn Store> = Arc::new(Broken::new(flaw));
            quiet_panics(|| block_on(conformance::concurrent_writers(&store, &Suite::new())))
        });
        assert!(found, "{flaw:?} was not found");
    }
}

#[test]
fn without_a_flaw_the_wrapper_conforms() {
    block_on(conformance::run(|| Broken::new(Flaw::None)));
}

/// A store over a server: each operation is a request that goes on when nobody waits for it.
#[derive(Clone)]
struct Remote {
    map: MapStore,
    /// `None` breaks the promise for operations that are given up.
    order: Option<WriteOrder>,
    requests: Arc<AtomicUsize>,
}

impl Remote {
    fn new(is_in_order: bool) -> Self {
        Self {
            map: MapStore::new(),
            order: is_in_order.then(|| WriteOrder::new().spawn(|op| drop(tokio::spawn(op)))),
            requests: Arc::default(),
        }
    }

    /// Takes several turns of the runtime for a change, also when it is given up. It panics without
    /// a runtime.
    fn write(
        &self,
        key: &str,
        change: impl FnOnce(&MapStore) + Send + 'static,
    ) -> Op<io::Result<()>> {
        let map = self.map.clone();
        // Some are quicker than others.
        let turns = [9, 1][self.requests.fetch_add(1, Ordering::Relaxed) % 2];
        let request = async move {
            let task = tokio::spawn(async move {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                change(&map);
            });
            task.await.map_err(io::Error::other)
        };
        match &self.order {
            Some(order) => order.run(key, request),
            None => Op::wait(request),
        }
    }
}

impl Store for Remote {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let (map, key) = (self.map.clone(), key.to_owned());
        Op::wait(async move {
            tokio::spawn(async {}).await.map_err(io::Error::other)?;
            map.get(&key).await
        })
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        let name = key.to_owned();
        self.write(key, move |map| drop(map.put_with(&name, value, options)))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let writer = Waiting(Buffered::new(self.clone(), key, head, options));
        Op::wait(async move {
            tokio::task::yield_now().await;
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let name = key.to_owned();
        self.write(key, move |map| drop(map.remove(&name)))
    }
}

/// A writer whose writes take their time.
struct Waiting(Buffered<Remote>);

impl Writer for Waiting {
    fn write(self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::wait(async move {
            tokio::spawn(async {}).await.map_err(io::Error::other)?;
            Box::new(self.0).write(data).await
        })
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        Box::new(self.0).commit()
    }
}

#[tokio::test]
async fn a_store_that_needs_a_runtime_conforms_in_one_thread() {
    let suite = Suite::new().spawn(|task| drop(tokio::spawn(task)));
    suite.run(|| Remote::new(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_needs_a_runtime_conforms_in_several_threads() {
    let suite = Suite::new().spawn(|task| drop(tokio::spawn(task)));
    suite.run(|| Remote::new(true)).await;
    let pair = || {
        let store = Remote::new(true);
        (store.clone(), store)
    };
    suite.run_shared(pair).await;
}

#[tokio::test]
#[should_panic(expected = "polled")]
async fn a_store_whose_given_up_requests_arrive_late_is_found() {
    conformance::cancelled_operations(&Remote::new(false), &Suite::new()).await;
}

#[tokio::test]
#[should_panic(expected = "a task of the suite has panicked")]
async fn a_panic_of_a_task_fails_the_suite() {
    let store: Arc<dyn Store> = Arc::new(Remote::new(true));
    // Plain threads have no runtime.
    conformance::concurrent_removes(&store, &Suite::new()).await;
}

#[test]
fn a_store_that_lists_nothing_says_that_it_is_unsupported() {
    let store = Remote::new(true);
    for error in [
        block_on(store.keys("")).unwrap_err(),
        block_on(store.clear()).unwrap_err(),
        block_on(store.size()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
    }
}

#[test]
fn map_store_lists_keys_by_prefix_counts_and_clears() {
    let store = MapStore::new();
    for key in ["a", "ab", "b"] {
        block_on(store.put(key, Value::new("head", key))).unwrap();
    }
    assert_eq!(block_on(store.keys("a")).unwrap(), ["a", "ab"]);
    assert_eq!(block_on(store.size()).unwrap(), StoreSize::new(3, 16));
    block_on(store.clear()).unwrap();
    assert!(store.is_empty());
}

#[test]
fn a_buffered_writer_puts_its_options_and_no_spare_capacity() {
    let options = PutOptions::new().with_keep_for(Duration::from_secs(7));
    let kept = Kept::default();
    let writer = Buffered::new(kept.clone(), "key", "head ".into(), options.clone());
    let shown = format!("{writer:?}");
    assert!(
        shown.contains("len: 5") && !shown.contains("key"),
        "{shown}"
    );
    let writer = block_on(Box::new(writer).write("bo".into())).unwrap();
    let writer = block_on(writer.write("dy".into())).unwrap();
    block_on(writer.commit()).unwrap();
    let (key, value, seen) = kept.0.lock().unwrap().take().unwrap();
    assert_eq!((key.as_str(), seen), ("key", options));
    assert_eq!(
        (&value.head[..], &value.body[..]),
        (&b"head "[..], &b"body"[..])
    );
}

/// Keeps the last put with its options.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<(String, Value, PutOptions)>>>);

impl Store for Kept {
    fn get(&self, _: &str) -> Op<io::Result<Option<Value>>> {
        Op::Ready(Ok(None))
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        *self.0.lock().unwrap() = Some((key.to_owned(), value, options));
        Op::Ready(Ok(()))
    }

    fn create_with(&self, _: &str, _: Bytes, _: PutOptions) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn remove(&self, _: &str) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }
}

/// How a store breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    FirstWriteWins,
    LosesHead,
    LosesLongTails,
    VisibleBeforeCommit,
    CommitsOnDrop,
    EmptyIsAbsent,
    RemovesNothing,
    LowerCasesKeys,
    CleansPaths,
    CutsKeys,
    CutsKeysAtNul,
    TrimsKeys,
    OneWriterPerKey,
    ComparesLengthsOnly,
    LosesEmptyWrites,
    CancelledPutsLandLate,
    CancelledRemovesLandLate,
    RemovedComesBack,
    ListsTwice,
    ListsPrefixesOnly,
    CountsRemoved,
    ClearsNothing,
    TakesKeepForAsKeysOwn,
    /// Not broken, but forgetful.
    ForgetsNow,
    Tears,
    AbsentWhileReplaced,
}

/// A write, or a removal.
type Change = (String, Option<Vec<u8>>);

#[derive(Clone)]
struct Broken {
    flaw: Flaw,
    values: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    removed: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    writing: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    late: Arc<Mutex<Vec<Change>>>,
    short: Arc<Mutex<HashSet<String>>>,
}

struct BrokenWriter {
    store: Broken,
    key: String,
    bytes: Vec<u8>,
    committed: bool,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            values: Arc::default(),
            removed: Arc::default(),
            writing: Arc::default(),
            late: Arc::default(),
            short: Arc::default(),
        }
    }

    /// A change that comes later if it is given up.
    fn late(&self, key: &str, bytes: Option<Vec<u8>>) -> Op<io::Result<()>> {
        let change = (key.to_owned(), bytes);
        self.late.lock().unwrap().push(change.clone());
        let store = self.clone();
        Op::wait(async move {
            tokio::task::yield_now().await;
            store.late.lock().unwrap().retain(|late| *late != change);
            store.apply(&change.0, change.1);
            Ok(())
        })
    }

    fn apply(&self, key: &str, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.set(key, bytes),
            None => drop(self.values.lock().unwrap().remove(key)),
        }
    }

    fn name(&self, key: &str) -> String {
        match self.flaw {
            Flaw::LowerCasesKeys => key.to_lowercase(),
            Flaw::CleansPaths => key.split('/').filter(|part| *part != ".").collect(),
            Flaw::CutsKeys => key.chars().take(255).collect(),
            Flaw::CutsKeysAtNul => key.split('\0').next().unwrap_or_default().to_owned(),
            Flaw::TrimsKeys => key.trim().to_owned(),
            _ => key.to_owned(),
        }
    }

    fn set(&self, key: &str, mut bytes: Vec<u8>) {
        let key = self.name(key);
        match self.flaw {
            Flaw::LosesLongTails => bytes.truncate(1 << 20),
            Flaw::FirstWriteWins => {
                self.values.lock().unwrap().entry(key).or_insert(bytes);
                return;
            }
            Flaw::ComparesLengthsOnly => {
                let mut values = self.values.lock().unwrap();
                if values.get(&key).is_none_or(|old| old.len() != bytes.len()) {
                    values.insert(key, bytes);
                }
                return;
            }
            Flaw::Tears => {
                let old = self.values.lock().unwrap().get(&key).cloned();
                let mut torn = old.unwrap_or_default();
                let half = torn.len().min(bytes.len()) / 2;
                torn[..half].copy_from_slice(&bytes[..half]);
                self.values.lock().unwrap().insert(key.clone(), torn);
                thread::yield_now();
            }
            Flaw::AbsentWhileReplaced => {
                self.values.lock().unwrap().remove(&key);
                thread::yield_now();
            }
            Flaw::ForgetsNow => self.values.lock().unwrap().clear(),
            _ => {}
        }
        self.values.lock().unwrap().insert(key, bytes);
    }
}

impl Store for Broken {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let name = self.name(key);
        if self.flaw == Flaw::VisibleBeforeCommit
            && let Some(bytes) = self.writing.lock().unwrap().get(&name)
        {
            return Op::Ready(Ok(Some(Value::new("", bytes.clone()))));
        }
        let value = self.values.lock().unwrap().get(&name).cloned();
        for (key, bytes) in self.late.lock().unwrap().drain(..) {
            self.apply(&key, bytes);
        }
        let value = value.filter(|bytes| self.flaw != Flaw::EmptyIsAbsent || !bytes.is_empty());
        let value = value.or_else(|| self.removed.lock().unwrap().get(&name).cloned());
        Op::Ready(Ok(value.map(|bytes| Value::new("", bytes))))
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        if self.flaw == Flaw::LosesHead {
            self.set(key, value.body.to_vec());
            return Op::Ready(Ok(()));
        }
        let bytes = value.into_bytes().to_vec();
        if self.flaw == Flaw::TakesKeepForAsKeysOwn {
            let mut short = self.short.lock().unwrap();
            if short.contains(key) || options.keep_for == Some(Duration::ZERO) {
                short.insert(key.to_owned());
                self.values.lock().unwrap().remove(key);
                return Op::Ready(Ok(()));
            }
        }
        if self.flaw == Flaw::CancelledPutsLandLate && bytes.len() > 100_000 {
            return self.late(key, Some(bytes));
        }
        self.set(key, bytes);
        Op::Ready(Ok(()))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        _: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Ok(Box::new(BrokenWriter {
            store: self.clone(),
            key: key.to_owned(),
            bytes: head.to_vec(),
            committed: false,
        })))
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let name = self.name(key);
        if self.flaw == Flaw::RemovesNothing {
            return Op::Ready(Ok(()));
        }
        if self.flaw == Flaw::CancelledRemovesLandLate {
            return self.late(key, None);
        }
        let removed = self.values.lock().unwrap().remove(&name);
        if let Some(bytes) = removed
            && self.flaw == Flaw::RemovedComesBack
            && bytes.len() > 100_000
        {
            self.removed.lock().unwrap().insert(name, bytes);
        }
        Op::Ready(Ok(()))
    }

    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let mut keys: Vec<String> = self.values.lock().unwrap().keys().cloned().collect();
        if self.flaw == Flaw::ListsPrefixesOnly {
            keys.retain(|key| key == prefix);
        }
        keys.retain(|key| key.starts_with(prefix));
        if self.flaw == Flaw::ListsTwice {
            keys.extend(keys.clone());
        }
        Op::Ready(Ok(keys))
    }

    fn clear(&self) -> Op<io::Result<()>> {
        if self.flaw != Flaw::ClearsNothing {
            self.values.lock().unwrap().clear();
        }
        Op::Ready(Ok(()))
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        let values = self.values.lock().unwrap();
        let more = u64::from(self.flaw == Flaw::CountsRemoved);
        let bytes: usize = values.values().map(Vec::len).sum();
        Op::Ready(Ok(StoreSize::new(values.len() as u64 + more, bytes as u64)))
    }
}

impl Writer for BrokenWriter {
    fn write(mut self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let name = self.store.name(&self.key);
        match self.store.flaw {
            Flaw::OneWriterPerKey => {
                let mut writing = self.store.writing.lock().unwrap();
                let bytes = writing.entry(name).or_default();
                bytes.extend_from_slice(&data);
                self.bytes = bytes.clone();
            }
            Flaw::VisibleBeforeCommit => {
                self.bytes.extend_from_slice(&data);
                let mut writing = self.store.writing.lock().unwrap();
                writing.insert(name, self.bytes.clone());
            }
            Flaw::LosesEmptyWrites if data.is_empty() => self.bytes.clear(),
            _ => self.bytes.extend_from_slice(&data),
        }
        Op::Ready(Ok(self))
    }

    fn commit(mut self: Box<Self>) -> Op<io::Result<()>> {
        self.committed = true;
        let name = self.store.name(&self.key);
        self.store.writing.lock().unwrap().remove(&name);
        let bytes = std::mem::take(&mut self.bytes);
        self.store.put(&self.key, Value::new("", bytes))
    }
}

impl Drop for BrokenWriter {
    fn drop(&mut self) {
        if self.store.flaw == Flaw::CommitsOnDrop && !self.committed {
            let bytes = std::mem::take(&mut self.bytes);
            self.store.set(&self.key, bytes);
        }
    }
}

/// Whether the suite finds that a store is broken.
fn fails(flaw: Flaw, suite: &Suite) -> bool {
    quiet_panics(|| block_on(suite.run(|| Broken::new(flaw))))
}

fn quiet_panics(run: impl FnOnce()) -> bool {
    panic::catch_unwind(AssertUnwindSafe(run)).is_err()
}
