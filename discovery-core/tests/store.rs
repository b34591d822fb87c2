//! The stores of this crate against the conformance suite, and the suite against stores that break
//! the contract.

use std::collections::HashMap;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use bytes::Bytes;
use discovery_core::store::conformance::{self, Memory};
use discovery_core::store::{MapStore, NoStore, Op, Store, Value, Writer};
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
    assert_eq!(store.keys(), ["key"]);
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
        let mut writer = NoStore.create("key", "head".into()).await.unwrap();
        writer.write(&"body".into()).unwrap();
        writer.commit().await.unwrap();
        assert_eq!(NoStore.get("key").await.unwrap(), None);
        assert!(!NoStore.remove("key").await.unwrap());
    });
}

#[test]
fn stores_that_drop_a_table_of_values_may_forget() {
    let flaw = Flaw::ForgetsNow;
    block_on(conformance::run_forgetful(|| Broken::new(flaw)));
    assert!(fails(flaw, Memory::Keeps));
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
        RemoveLies,
        RemoveForgetsToTell,
        LowerCasesKeys,
        CleansPaths,
        CutsKeys,
        CutsKeysAtNul,
        TrimsKeys,
        OneWriterPerKey,
        ComparesLengthsOnly,
        LosesEmptyWrites,
        CancelledPutsLandLate,
        RemovedComesBack,
    ] {
        assert!(fails(flaw, Memory::Keeps), "{flaw:?} was not found");
    }
    // To be allowed to forget excuses no wrong value.
    for flaw in [
        FirstWriteWins,
        LosesHead,
        VisibleBeforeCommit,
        CommitsOnDrop,
        RemoveLies,
        LowerCasesKeys,
        CutsKeys,
    ] {
        assert!(fails(flaw, Memory::Forgets), "{flaw:?} was not found");
    }
}

#[test]
fn suite_finds_torn_values() {
    // It takes a reader at the wrong moment: tried until there is one.
    for flaw in [Flaw::Tears, Flaw::AbsentWhileReplaced] {
        let found = (0..1000).any(|_| {
            let store = Broken::new(flaw);
            quiet_panics(|| conformance::concurrent_writers(&store, Memory::Keeps))
        });
        assert!(found, "{flaw:?} was not found");
    }
}

#[test]
fn without_a_flaw_the_wrapper_conforms() {
    block_on(conformance::run(|| Broken::new(Flaw::None)));
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
    RemoveLies,
    RemoveForgetsToTell,
    LowerCasesKeys,
    CleansPaths,
    CutsKeys,
    CutsKeysAtNul,
    TrimsKeys,
    OneWriterPerKey,
    ComparesLengthsOnly,
    LosesEmptyWrites,
    CancelledPutsLandLate,
    RemovedComesBack,
    /// Not broken, but forgetful.
    ForgetsNow,
    Tears,
    AbsentWhileReplaced,
}

type Entry = (String, Vec<u8>);

#[derive(Clone)]
struct Broken {
    flaw: Flaw,
    values: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    removed: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    writing: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    late: Arc<Mutex<Vec<Entry>>>,
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
            self.set(&key, bytes);
        }
        let value = value.filter(|bytes| self.flaw != Flaw::EmptyIsAbsent || !bytes.is_empty());
        let value = value.or_else(|| self.removed.lock().unwrap().get(&name).cloned());
        Op::Ready(Ok(value.map(|bytes| Value::new("", bytes))))
    }

    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        if self.flaw == Flaw::LosesHead {
            self.set(key, value.body.to_vec());
            return Op::Ready(Ok(()));
        }
        let bytes = value.into_bytes().to_vec();
        if self.flaw == Flaw::CancelledPutsLandLate && bytes.len() > 100_000 {
            let entry = (key.to_owned(), bytes);
            self.late.lock().unwrap().push(entry.clone());
            let store = self.clone();
            return Op::wait(async move {
                tokio::task::yield_now().await;
                store.late.lock().unwrap().retain(|late| *late != entry);
                store.set(&entry.0, entry.1);
                Ok(())
            });
        }
        self.set(key, bytes);
        Op::Ready(Ok(()))
    }

    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Ok(Box::new(BrokenWriter {
            store: self.clone(),
            key: key.to_owned(),
            bytes: head.to_vec(),
            committed: false,
        })))
    }

    fn remove(&self, key: &str) -> Op<io::Result<bool>> {
        let name = self.name(key);
        let removed = self.values.lock().unwrap().remove(&name);
        let was_there = removed.is_some();
        if let Some(bytes) = removed
            && self.flaw == Flaw::RemovedComesBack
            && bytes.len() > 100_000
        {
            self.removed.lock().unwrap().insert(name, bytes);
        }
        Op::Ready(Ok(match self.flaw {
            Flaw::RemoveLies => true,
            Flaw::RemoveForgetsToTell => false,
            _ => was_there,
        }))
    }
}

impl Writer for BrokenWriter {
    fn write(&mut self, data: &Bytes) -> io::Result<()> {
        let name = self.store.name(&self.key);
        match self.store.flaw {
            Flaw::OneWriterPerKey => {
                let mut writing = self.store.writing.lock().unwrap();
                let bytes = writing.entry(name).or_default();
                bytes.extend_from_slice(data);
                self.bytes = bytes.clone();
            }
            Flaw::VisibleBeforeCommit => {
                self.bytes.extend_from_slice(data);
                let mut writing = self.store.writing.lock().unwrap();
                writing.insert(name, self.bytes.clone());
            }
            Flaw::LosesEmptyWrites if data.is_empty() => self.bytes.clear(),
            _ => self.bytes.extend_from_slice(data),
        }
        Ok(())
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
fn fails(flaw: Flaw, memory: Memory) -> bool {
    quiet_panics(|| match memory {
        Memory::Keeps => block_on(conformance::run(|| Broken::new(flaw))),
        Memory::Forgets => block_on(conformance::run_forgetful(|| Broken::new(flaw))),
    })
}

fn quiet_panics(run: impl FnOnce()) -> bool {
    panic::catch_unwind(AssertUnwindSafe(run)).is_err()
}
