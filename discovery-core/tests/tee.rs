//! One body, any number of readers, and the entry that it becomes in a store.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::Body as TeeBody;
use discovery_core::http::dump::{self, Framing};
use discovery_core::internal::entry_writer::{
    Abandoned, EntryObserver, EntryWriter, HOLD, NewEntry,
};
use discovery_core::internal::tee::{Reader, TeeHandle};
use discovery_core::store::{MapStore, Op, PutOptions, Store, Value, Writer};
use http::{HeaderMap, Method, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Collected, Empty, Full};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready, block_on};

type Body = TeeBody<Script>;

const MIB: usize = 1 << 20;

/// A body in pieces.
#[derive(Default)]
struct Script {
    pieces: VecDeque<Piece>,
    /// The size that it announces.
    exact: Option<u64>,
    /// Whether it knows of its end with the last piece.
    tells_end: bool,
    polls: Arc<AtomicUsize>,
}

enum Piece {
    Data(&'static str),
    Bytes(Bytes),
    Trailers,
    Fail,
    Panic,
    /// Nothing comes until the gate is open.
    Gate(Gate),
    /// The body wakes its task and yields.
    Yield,
}

#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

/// The error of the body.
#[derive(Debug)]
struct Cut;

/// A store whose operations wait for gates, or fail.
#[derive(Clone, Default)]
struct TestStore {
    map: MapStore,
    create: Step,
    write: Step,
    commit: Step,
}

#[derive(Clone, Default)]
enum Step {
    #[default]
    Works,
    Waits(Gate),
    Fails,
    Panics,
}

struct TestWriter(TestStore, Box<dyn Writer>);

/// Counts of what the observer of an entry has seen, and its behaviour.
#[derive(Clone, Default)]
struct Observed(Arc<Mutex<Observations>>);

#[derive(Default)]
struct Observations {
    stored: usize,
    abandoned: Vec<String>,
    is_outdated: bool,
    refuses_trailers: bool,
    prepare: Option<Gate>,
    follow_up: Option<Gate>,
    deadline: Option<Gate>,
}

/// A body, its store and its observer.
struct World {
    store: TestStore,
    observed: Observed,
    expected: Option<u64>,
    max_body_size: u64,
    method: Method,
}

impl Gate {
    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }

    fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn opened(self) {
        std::future::poll_fn(|cx| self.poll_open(cx)).await;
    }
}

impl Script {
    fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self {
            pieces: pieces.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        loop {
            let Some(piece) = self.pieces.pop_front() else {
                return Poll::Ready(None);
            };
            return Poll::Ready(Some(match piece {
                Piece::Data(data) => Ok(Frame::data(data.into())),
                Piece::Bytes(data) => Ok(Frame::data(data)),
                Piece::Trailers => Ok(Frame::trailers(trailers())),
                Piece::Fail => Err(Cut),
                Piece::Panic => panic!("the body panics"),
                Piece::Gate(gate) if gate.poll_open(cx).is_ready() => continue,
                gate @ Piece::Gate(_) => {
                    self.pieces.push_front(gate);
                    return Poll::Pending;
                }
                Piece::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is cut")
    }
}

impl std::error::Error for Cut {}

impl Step {
    fn then<T: Send + 'static>(
        &self,
        op: impl FnOnce() -> Op<io::Result<T>> + Send + 'static,
    ) -> Op<io::Result<T>> {
        match self.clone() {
            Self::Works => op(),
            Self::Fails => Op::Ready(Err(io::Error::other("no space"))),
            Self::Panics => Op::wait(async { panic!("the store panics") }),
            Self::Waits(gate) => Op::wait(async move {
                gate.opened().await;
                match op() {
                    Op::Ready(result) => result,
                    Op::Wait(future) => future.await,
                }
            }),
        }
    }
}

impl Store for TestStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.map.get(key)
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        let (map, key) = (self.map.clone(), key.to_owned());
        self.commit.then(move || map.put_with(&key, value, options))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let (this, key) = (self.clone(), key.to_owned());
        self.create.then(move || {
            let created = this.map.create_with(&key, head, options);
            created.map(|writer| Ok(Box::new(TestWriter(this, writer?)) as Box<dyn Writer>))
        })
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.map.remove(key)
    }
}

impl Writer for TestWriter {
    fn write(self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let Self(store, writer) = *self;
        store.write.clone().then(move || {
            let written = writer.write(data);
            written.map(|writer| Ok(Box::new(Self(store, writer?)) as Box<dyn Writer>))
        })
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        let Self(store, writer) = *self;
        store.commit.then(|| writer.commit())
    }
}

impl Observed {
    fn set(&self, change: impl FnOnce(&mut Observations)) {
        change(&mut self.0.lock().unwrap());
    }

    fn stored(&self) -> usize {
        self.0.lock().unwrap().stored
    }

    fn abandoned(&self) -> Vec<String> {
        self.0.lock().unwrap().abandoned.clone()
    }
}

fn wait_for(gate: Option<Gate>) -> Op<()> {
    match gate {
        Some(gate) => Op::wait(gate.opened()),
        None => Op::Ready(()),
    }
}

impl EntryObserver for Observed {
    fn is_current(&self) -> bool {
        !self.0.lock().unwrap().is_outdated
    }

    fn may_drop_trailers(&self) -> bool {
        !self.0.lock().unwrap().refuses_trailers
    }

    fn prepare(&mut self, _: &str) -> Op<()> {
        wait_for(self.0.lock().unwrap().prepare.clone())
    }

    fn on_stored(&mut self, _: &str) {
        self.0.lock().unwrap().stored += 1;
    }

    fn on_abandoned(&mut self, _: &str, reason: Abandoned<'_>) -> Op<()> {
        let mut state = self.0.lock().unwrap();
        state.abandoned.push(match reason {
            Abandoned::Because(reason) => reason.to_owned(),
            Abandoned::Invalidated => "invalidated later".to_owned(),
            Abandoned::Store(error) => error.to_string(),
            _ => unreachable!("no other reason"),
        });
        wait_for(state.follow_up.clone())
    }

    fn commit_deadline(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let gate = self.0.lock().unwrap().deadline.clone()?;
        Some(Box::pin(gate.opened()))
    }
}

impl Default for World {
    fn default() -> Self {
        Self {
            store: TestStore::default(),
            observed: Observed::default(),
            expected: None,
            max_body_size: u64::MAX,
            method: Method::GET,
        }
    }
}

impl World {
    fn expecting(expected: Option<u64>) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// A world whose entries have a largest size.
    fn limited(max_body_size: u64) -> Self {
        Self {
            max_body_size,
            ..Self::default()
        }
    }

    fn over(store: TestStore) -> Self {
        Self {
            store,
            ..Self::default()
        }
    }

    fn reader<B>(&self, body: B) -> Reader
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (parts, ()) = Response::new(()).into_parts();
        let entry = NewEntry {
            key: "key".to_owned(),
            method: self.method.clone(),
            parts: Arc::new(parts),
            framing: Framing::Close,
            expected: self.expected,
            max_body_size: self.max_body_size,
            options: PutOptions::new(),
        };
        let store = Arc::new(self.store.clone());
        let observer = Box::new(self.observed.clone());
        Reader::new(body, EntryWriter::new(store, entry, observer))
    }

    /// Several readers of one body, and a handle to it.
    fn readers(&self, count: usize, pieces: impl IntoIterator<Item = Piece>) -> Vec<Body> {
        self.readers_of(count, Script::new(pieces)).0
    }

    fn readers_of(&self, count: usize, body: Script) -> (Vec<Body>, TeeHandle) {
        let first = self.reader(body);
        let handle = first.handle();
        let mut readers: Vec<_> = (1..count).map(|_| first.another()).collect();
        readers.insert(0, first);
        (readers.into_iter().map(Body::teed).collect(), handle)
    }

    /// The body of the entry in the store.
    fn entry(&self) -> Option<Bytes> {
        let value = block_on(self.store.map.get("key")).unwrap()?;
        Some(dump::decode(&Method::GET, &value).unwrap().into_body())
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())])
}

/// The data that is there for a reader.
fn read(body: &mut Body) -> Bytes {
    let frame = assert_ready!(task::spawn(body.frame()).poll());
    frame.unwrap().unwrap().into_data().unwrap()
}

fn is_waiting(body: &mut Body) -> bool {
    task::spawn(body.frame()).poll().is_pending()
}

fn is_at_end(body: &mut Body) -> bool {
    assert_ready!(task::spawn(body.frame()).poll()).is_none()
}

fn error_of(body: &mut Body) -> BoxError {
    let frame = assert_ready!(task::spawn(body.frame()).poll());
    frame.expect("no clean end").unwrap_err()
}

type Collecting = Spawn<Pin<Box<dyn Future<Output = Result<Bytes, BoxError>> + Send>>>;

/// A task that reads a body to its end.
fn collect(body: Body) -> Collecting {
    task::spawn(Box::pin(async {
        body.collect().await.map(Collected::to_bytes)
    }))
}

fn large(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}

#[test]
fn each_reader_gets_each_piece_when_it_comes() {
    for expected in [None, Some(6)] {
        let world = World::expecting(expected);
        let gate = Gate::default();
        let pieces = [
            Piece::Data("abc"),
            Piece::Gate(gate.clone()),
            Piece::Data("def"),
        ];
        let mut readers = world.readers(3, pieces);
        for reader in &mut readers {
            assert_eq!(read(reader), "abc");
            assert!(is_waiting(reader));
        }
        gate.open();
        for reader in &mut readers {
            assert_eq!(read(reader), "def", "{expected:?}");
            assert!(is_at_end(reader));
        }
        assert_eq!(world.entry().unwrap(), "abcdef");
        assert_eq!(world.observed.stored(), 1);
    }
}

#[test]
fn all_waiting_readers_are_woken_when_the_body_moves() {
    let world = World::default();
    let gate = Gate::default();
    let readers = world.readers(3, [Piece::Gate(gate.clone()), Piece::Data("abc")]);
    let mut tasks: Vec<_> = readers.into_iter().map(collect).collect();
    for task in &mut tasks {
        assert_pending!(task.poll());
        assert!(!task.is_woken());
    }
    gate.open();
    for task in &mut tasks {
        assert!(task.is_woken());
    }
    // The last of them drives; the others are woken by that, whoever was first.
    for task in tasks.iter_mut().rev() {
        assert_eq!(assert_ready!(task.poll()).unwrap(), "abc");
    }
}

/// The body knows only the waker of the reader that polled it.
#[test]
fn when_the_reader_that_drives_is_dropped_the_others_are_woken() {
    for dropped in 0..3 {
        let world = World::default();
        let gate = Gate::default();
        let readers = world.readers(3, [Piece::Gate(gate.clone()), Piece::Data("abc")]);
        let mut tasks: Vec<_> = readers.into_iter().map(collect).collect();
        for task in &mut tasks {
            assert_pending!(task.poll());
        }
        // The one that has polled the body last.
        assert_pending!(tasks[dropped].poll());
        drop(tasks.remove(dropped));
        gate.open();
        for task in &mut tasks {
            assert!(task.is_woken(), "{dropped}");
            assert_eq!(assert_ready!(task.poll()).unwrap(), "abc");
        }
        assert_eq!(world.entry().unwrap(), "abc");
    }
}

#[test]
fn the_entry_is_abandoned_when_the_last_reader_goes() {
    let world = World::default();
    let gate = Gate::default();
    let (mut readers, handle) = world.readers_of(
        2,
        Script::new([Piece::Data("abc"), Piece::Gate(gate.clone())]),
    );
    assert_eq!(read(&mut readers[0]), "abc");
    readers.pop();
    assert!(world.observed.abandoned().is_empty());
    readers.pop();
    assert_eq!(world.observed.abandoned(), ["not read to its end"]);
    assert!(handle.join().is_none());
    gate.open();
    assert_eq!(world.entry(), None);
}

#[test]
fn a_reader_that_is_left_alone_gets_the_error_itself() {
    let world = World::default();
    let mut readers = world.readers(3, [Piece::Data("abc"), Piece::Fail]);
    readers.truncate(1);
    assert_eq!(read(&mut readers[0]), "abc");
    assert!(error_of(&mut readers[0]).is::<Cut>());
}

/// The clone that the test has is the only one then.
#[test]
fn a_piece_is_let_go_when_each_reader_has_it_or_is_gone() {
    for is_dropped in [true, false] {
        // The store takes no part.
        let world = World::limited(0);
        let piece = large(MIB);
        let pieces = [Piece::Bytes(piece.clone()), Piece::Gate(Gate::default())];
        let mut readers = world.readers(2, pieces);
        read(&mut readers[0]);
        assert!(!piece.is_unique());
        if is_dropped {
            readers.pop();
        } else {
            read(&mut readers[1]);
        }
        assert!(piece.is_unique(), "{is_dropped}");
    }
}

#[test]
fn a_body_that_yields_is_polled_once_for_each_wake_of_its_reader() {
    for count in [1, 3] {
        let world = World::default();
        let body = Script::new([
            Piece::Yield,
            Piece::Data("abc"),
            Piece::Yield,
            Piece::Yield,
            Piece::Data("def"),
        ]);
        let polls = Arc::clone(&body.polls);
        let (readers, _) = world.readers_of(count, body);
        let mut tasks: Vec<_> = readers.into_iter().map(collect).collect();
        let mut ended = vec![false; count];
        let mut rounds = 0;
        while ended.contains(&false) {
            rounds += 1;
            assert!(rounds < 20, "it hangs");
            for (task, ended) in tasks.iter_mut().zip(&mut ended) {
                if *ended {
                    continue;
                }
                // Nobody is polled without a call.
                assert!(task.is_woken() || rounds == 1, "{count}");
                if let Poll::Ready(all) = task.poll() {
                    assert_eq!(all.unwrap(), "abcdef");
                    *ended = true;
                }
            }
        }
        // Two pieces, three times to yield, and the end.
        assert_eq!(polls.load(Ordering::Relaxed), 6, "{count}");
        assert_eq!(world.entry().unwrap(), "abcdef");
    }
}

/// A waker that drops a reader when it is woken, or dropped itself.
struct Dropping(Mutex<Option<Body>>);

impl Wake for Dropping {
    fn wake(self: Arc<Self>) {
        let reader = self.0.lock().unwrap().take();
        drop(reader);
    }
}

#[test]
fn a_waker_may_drop_another_reader_when_it_is_woken_or_replaced() {
    for is_woken in [true, false] {
        let world = World::default();
        let gate = Gate::default();
        let pieces = [Piece::Gate(gate.clone()), Piece::Data("abc")];
        let mut readers = world.readers(3, pieces);
        let held = readers.pop().unwrap();
        let mut other = collect(readers.pop().unwrap());
        assert_pending!(other.poll());
        let mut reader = readers.pop().unwrap();
        let waker = Waker::from(Arc::new(Dropping(Mutex::new(Some(held)))));
        let mut frame = Box::pin(reader.frame());
        let polled = frame.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        if is_woken {
            gate.open();
        } else {
            // The only reference to the waker is replaced.
            let polled = frame.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            gate.open();
        }
        drop(frame);
        assert!(other.is_woken());
        assert_eq!(assert_ready!(other.poll()).unwrap(), "abc");
        assert_eq!(read(&mut reader), "abc");
        assert_eq!(world.entry().unwrap(), "abc");
    }
}

#[test]
fn a_body_that_panics_fails_for_the_other_readers() {
    let world = World::default();
    let (gate, follow_up) = (Gate::default(), Gate::default());
    world
        .observed
        .set(|state| state.follow_up = Some(follow_up.clone()));
    let pieces = [Piece::Data("abc"), Piece::Gate(gate.clone()), Piece::Panic];
    let (mut readers, handle) = world.readers_of(3, Script::new(pieces));
    let mut driver = readers.pop().unwrap();
    assert_eq!(read(&mut driver), "abc");
    let mut tasks: Vec<_> = readers.into_iter().map(collect).collect();
    for task in &mut tasks {
        assert_pending!(task.poll());
    }
    gate.open();
    let unwound = catch_unwind(AssertUnwindSafe(|| is_waiting(&mut driver)));
    assert!(unwound.is_err());
    // The end waits for what follows from the abandoned entry.
    for task in &mut tasks {
        assert!(task.is_woken());
        assert_pending!(task.poll());
    }
    follow_up.open();
    for task in &mut tasks {
        assert!(task.is_woken());
        assert!(assert_ready!(task.poll()).is_err());
    }
    assert!(handle.join().is_none());
    drop(tasks);
    error_of(&mut driver);
    assert_eq!(world.entry(), None);
    assert_eq!(world.observed.abandoned().len(), 1);
}

#[test]
fn a_store_that_panics_fails_the_body_for_the_other_readers() {
    let world = World::over(TestStore {
        commit: Step::Panics,
        ..TestStore::default()
    });
    let gate = Gate::default();
    let pieces = [
        Piece::Data("abc"),
        Piece::Gate(gate.clone()),
        Piece::Data("def"),
    ];
    let mut readers = world.readers(3, pieces);
    let mut driver = readers.pop().unwrap();
    assert_eq!(read(&mut driver), "abc");
    let mut tasks: Vec<_> = readers.into_iter().map(collect).collect();
    for task in &mut tasks {
        assert_pending!(task.poll());
    }
    gate.open();
    let unwound = catch_unwind(AssertUnwindSafe(|| is_waiting(&mut driver)));
    assert!(unwound.is_err());
    for task in &mut tasks {
        assert!(task.is_woken());
        assert!(assert_ready!(task.poll()).is_err());
    }
    assert_eq!(world.entry(), None);
}

#[test]
fn the_last_piece_waits_for_the_store_and_the_others_do_not() {
    struct Row {
        expected: Option<u64>,
        tells_end: bool,
    }
    let row = |expected, tells_end| Row {
        expected,
        tells_end,
    };
    for Row {
        expected,
        tells_end,
    } in [
        row(None, false),
        row(None, true),
        row(Some(6), false),
        row(Some(6), true),
    ] {
        let gate = Gate::default();
        let mut world = World::over(TestStore {
            commit: Step::Waits(gate.clone()),
            ..TestStore::default()
        });
        world.expected = expected;
        let body = Script {
            tells_end,
            ..Script::new([Piece::Data("abc"), Piece::Data("def")])
        };
        let (mut readers, _) = world.readers_of(2, body);
        for reader in &mut readers {
            assert_eq!(read(reader), "abc");
        }
        let mut frames: Vec<_> = readers
            .iter_mut()
            .map(|reader| task::spawn(reader.frame()))
            .collect();
        for frame in &mut frames {
            assert_pending!(frame.poll());
        }
        assert_eq!(world.entry(), None);
        gate.open();
        for frame in &mut frames {
            assert!(frame.is_woken());
            let frame = assert_ready!(frame.poll()).unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "def");
            assert_eq!(world.entry().unwrap(), "abcdef");
        }
    }
}

/// Before the entry is complete it is ready to be written; the first piece that is not held waits for that, and so do
/// its readers, but not for ever.
#[test]
fn readers_go_on_when_the_store_has_taken_too_long() {
    let steps: [fn(&mut TestStore, Gate); 3] = [
        |store, gate| store.create = Step::Waits(gate),
        |store, gate| store.write = Step::Waits(gate),
        |store, gate| store.commit = Step::Waits(gate),
    ];
    for set in steps {
        let (gate, deadline) = (Gate::default(), Gate::default());
        let mut world = World::default();
        set(&mut world.store, gate.clone());
        world
            .observed
            .set(|state| state.deadline = Some(deadline.clone()));
        let pieces = (0..6).map(|_| Piece::Bytes(large(MIB)));
        let readers = world.readers(2, pieces);
        let mut tasks: Vec<_> = readers.into_iter().map(collect).collect();
        for task in &mut tasks {
            assert_pending!(task.poll());
        }
        assert!(world.observed.abandoned().is_empty());
        deadline.open();
        for task in &mut tasks {
            assert!(task.is_woken());
            assert_eq!(assert_ready!(task.poll()).unwrap().len(), 6 * MIB);
        }
        assert_eq!(world.observed.abandoned(), ["the store takes too long"]);
        gate.open();
        assert_eq!(world.entry(), None);
    }
}

#[test]
fn readers_go_on_when_preparation_has_taken_too_long() {
    let deadline = Gate::default();
    let world = World::default();
    world.observed.set(|state| {
        state.prepare = Some(Gate::default());
        state.deadline = Some(deadline.clone());
    });
    let mut task = collect(world.readers(1, [Piece::Data("abc")]).remove(0));
    assert_pending!(task.poll());
    deadline.open();
    assert!(task.is_woken());
    assert_eq!(assert_ready!(task.poll()).unwrap(), "abc");
    assert_eq!(world.entry(), None);
}

#[test]
fn an_entry_is_published_after_its_preparation() {
    let gate = Gate::default();
    let world = World::default();
    world
        .observed
        .set(|state| state.prepare = Some(gate.clone()));
    let mut task = collect(world.readers(1, [Piece::Data("abc")]).remove(0));
    assert_pending!(task.poll());
    assert_eq!(world.entry(), None);
    gate.open();
    assert!(task.is_woken());
    assert_eq!(assert_ready!(task.poll()).unwrap(), "abc");
    assert_eq!(world.entry().unwrap(), "abc");
}

#[test]
fn a_store_that_fails_fails_no_reader() {
    struct Row {
        fail: fn(&mut TestStore),
        size: usize,
    }
    let row = |fail, size| Row { fail, size };
    for Row { fail, size } in [
        row(|store| store.create = Step::Fails, MIB),
        row(|store| store.write = Step::Fails, MIB),
        row(|store| store.commit = Step::Fails, MIB),
        // Small enough to be put at once.
        row(|store| store.commit = Step::Fails, 1),
    ] {
        let mut world = World::default();
        fail(&mut world.store);
        let pieces = (0..6).map(|_| Piece::Bytes(large(size)));
        for reader in world.readers(3, pieces) {
            let all = assert_ready!(collect(reader).poll()).unwrap();
            assert_eq!(all.len(), 6 * size);
        }
        assert_eq!(world.observed.abandoned(), ["no space"]);
        assert_eq!(world.observed.stored(), 0);
        assert_eq!(world.entry(), None);
    }
}

#[test]
fn an_outdated_entry_is_not_published() {
    let world = World::default();
    let mut reader = world
        .readers(1, [Piece::Data("abc"), Piece::Data("def")])
        .remove(0);
    assert_eq!(read(&mut reader), "abc");
    world.observed.set(|state| state.is_outdated = true);
    assert_eq!(read(&mut reader), "def");
    assert!(is_at_end(&mut reader));
    assert_eq!(world.observed.abandoned(), ["invalidated"]);
    assert_eq!(world.entry(), None);
}

/// The observer removes the entry, and the end of the body waits for that.
#[test]
fn an_entry_that_is_outdated_while_it_is_published_is_reported() {
    let (commit, follow_up) = (Gate::default(), Gate::default());
    let world = World::over(TestStore {
        commit: Step::Waits(commit.clone()),
        ..TestStore::default()
    });
    world
        .observed
        .set(|state| state.follow_up = Some(follow_up.clone()));
    let mut task = collect(world.readers(1, [Piece::Data("abc")]).remove(0));
    assert_pending!(task.poll());
    world.observed.set(|state| state.is_outdated = true);
    commit.open();
    assert!(task.is_woken());
    assert_pending!(task.poll());
    assert_eq!(world.observed.abandoned(), ["invalidated later"]);
    follow_up.open();
    assert!(task.is_woken());
    assert_eq!(assert_ready!(task.poll()).unwrap(), "abc");
    assert_eq!(world.observed.stored(), 0);
}

#[test]
fn a_reader_that_falls_too_far_behind_fails_and_holds_up_nobody() {
    let world = World::limited(HOLD);
    let pieces = (0..8).map(|_| Piece::Bytes(large(MIB)));
    let mut readers = world.readers(3, pieces);
    let slow = readers.pop().unwrap();
    let mut waiting = readers.pop().unwrap();
    assert_eq!(read(&mut waiting).len(), MIB);
    let all = assert_ready!(collect(readers.pop().unwrap()).poll()).unwrap();
    assert_eq!(all.len(), 8 * MIB);
    for mut reader in [slow, waiting] {
        assert_eq!(reader.size_hint().exact(), None);
        assert!(!reader.is_end_stream());
        let error = error_of(&mut reader);
        assert!(error.to_string().contains("behind"), "{error}");
        assert!(is_at_end(&mut reader));
    }
    assert_eq!(world.observed.abandoned(), ["too large"]);
}

/// A body that has lost its beginning must never look whole.
#[test]
fn another_reader_of_one_that_has_failed_fails_too() {
    let world = World::limited(HOLD);
    let slow = world.reader(Script::new((0..8).map(|_| Piece::Bytes(large(MIB)))));
    let fast = Body::teed(slow.another());
    let mut before = Body::teed(slow.another());
    let all = assert_ready!(collect(fast).poll()).unwrap();
    assert_eq!(all.len(), 8 * MIB);
    assert!(slow.has_fallen_behind());
    let after = slow.another();
    assert!(after.has_fallen_behind());
    error_of(&mut before);
    error_of(&mut Body::teed(after));

    // One that has been told, while the entry is still written.
    let world = World::limited(HOLD);
    let pieces = (0..4)
        .map(|_| Piece::Bytes(large(MIB)))
        .chain([Piece::Gate(Gate::default())]);
    let mut slow = world.reader(Script::new(pieces));
    let mut fast = Body::teed(slow.another());
    for _ in 0..4 {
        read(&mut fast);
    }
    assert!(!slow.is_settled());
    let mut told = task::spawn(std::future::poll_fn(|cx| slow.poll_settled(cx)));
    assert_ready!(told.poll());
    drop(told);
    error_of(&mut Body::teed(slow.another()));
}

#[test]
fn a_reader_that_joins_reads_from_the_first_byte() {
    for expected in [None, Some(9)] {
        let world = World::expecting(expected);
        let (one, two) = (Gate::default(), Gate::default());
        let pieces = [
            Piece::Data("abc"),
            Piece::Gate(one.clone()),
            Piece::Data("def"),
            Piece::Gate(two.clone()),
            Piece::Data("ghi"),
        ];
        let (mut readers, handle) = world.readers_of(1, Script::new(pieces));
        let join = || Body::teed(handle.join().unwrap());
        let mut early = join();
        assert_eq!(read(&mut readers[0]), "abc");
        let mut middle = join();
        assert_eq!(read(&mut middle), "abc");
        one.open();
        assert_eq!(read(&mut readers[0]), "def");
        let mut late = join();
        // It has not been given the middle piece.
        assert_eq!(read(&mut middle), "def");
        assert_eq!(late.size_hint().lower(), 6);
        assert_eq!(read(&mut late), "abcdef");
        assert!(is_waiting(&mut late));
        two.open();
        for reader in [&mut readers[0], &mut middle, &mut late] {
            assert_eq!(read(reader), "ghi");
            assert!(is_at_end(reader));
        }
        assert_eq!(read(&mut early), "abc");
        assert_eq!(read(&mut early), "def");
        assert_eq!(read(&mut early), "ghi");
        assert!(handle.join().is_none(), "the entry is in the store");
    }
}

/// Whether the entry is being prepared or is on its way into the store.
#[test]
fn a_reader_may_join_until_the_entry_is_in_the_store() {
    for prepares in [false, true] {
        for expected in [None, Some(0), Some(6)] {
            let gate = Gate::default();
            let mut world = World::expecting(expected);
            if prepares {
                world
                    .observed
                    .set(|state| state.prepare = Some(gate.clone()));
            } else {
                world.store.commit = Step::Waits(gate.clone());
            }
            let pieces = [Piece::Data("abc"), Piece::Data("def")];
            let whole = if expected == Some(0) { "" } else { "abcdef" };
            let pieces = pieces.into_iter().take(whole.len() / 3);
            let (mut readers, handle) = world.readers_of(1, Script::new(pieces));
            let mut first = collect(readers.remove(0));
            assert_pending!(first.poll());
            let mut late = collect(Body::teed(handle.join().expect("it is held")));
            assert_pending!(late.poll());
            assert_eq!(world.entry(), None);
            gate.open();
            for task in [&mut first, &mut late] {
                assert!(task.is_woken());
                assert_eq!(assert_ready!(task.poll()).unwrap(), whole);
            }
            assert_eq!(world.entry().unwrap(), whole);
            assert!(handle.join().is_none(), "the entry is in the store");
        }
    }
}

#[test]
fn a_body_that_is_no_longer_held_or_has_failed_is_not_joined() {
    let world = World::default();
    let gate = Gate::default();
    let pieces = (0..5)
        .map(|_| Piece::Bytes(large(MIB)))
        .chain([Piece::Gate(gate)]);
    let (mut readers, handle) = world.readers_of(1, Script::new(pieces));
    for _ in 0..4 {
        read(&mut readers[0]);
    }
    assert!(handle.join().is_none());

    let world = World::default();
    let pieces = [Piece::Data("abc"), Piece::Fail];
    let (mut readers, handle) = world.readers_of(1, Script::new(pieces));
    assert!(handle.join().is_some());
    // The error is looked for ahead.
    assert_eq!(read(&mut readers[0]), "abc");
    assert!(handle.join().is_none());
    error_of(&mut readers[0]);
    assert!(handle.join().is_none());
    drop(readers);
    assert!(handle.join().is_none());
}

#[test]
fn a_body_that_breaks_off_fails_for_each_reader_after_what_has_come() {
    struct Row {
        count: usize,
        expected: Option<u64>,
        exact: Option<u64>,
    }
    let row = |count, expected, exact| Row {
        count,
        expected,
        exact,
    };
    for Row {
        count,
        expected,
        exact,
    } in [
        row(1, None, None),
        row(1, Some(6), None),
        row(1, Some(6), Some(6)),
        // All has come, and then an error.
        row(1, None, Some(3)),
        row(3, None, None),
        row(3, Some(6), None),
        row(3, Some(6), Some(6)),
        row(3, None, Some(3)),
    ] {
        let world = World::expecting(expected);
        let body = Script {
            exact,
            ..Script::new([Piece::Data("abc"), Piece::Fail])
        };
        let (mut readers, _) = world.readers_of(count, body);
        assert_eq!(readers[0].size_hint().exact(), exact);
        for reader in &mut readers {
            assert_eq!(read(reader), "abc");
            assert!(!reader.is_end_stream());
            if expected.is_none() {
                // The error is known, and the hint must not tell of a whole body.
                assert_eq!(reader.size_hint().exact(), None);
            }
            let error = error_of(reader);
            assert_eq!(reader.size_hint().exact(), None);
            // One reader gets the error itself.
            let own = match count {
                1 => Some(&*error as &(dyn std::error::Error + 'static)),
                _ => error.source(),
            };
            assert!(
                own.is_some_and(<dyn std::error::Error>::is::<Cut>),
                "{error}"
            );
            assert!(is_at_end(reader));
        }
        assert_eq!(world.observed.abandoned(), ["the body failed"]);
        assert_eq!(world.entry(), None);
    }
}

#[test]
fn a_body_of_another_size_than_announced_fails_and_is_not_stored() {
    for pieces in [&["abc"][..], &["abc", "defg"]] {
        for tells_end in [false, true] {
            let world = World::expecting(Some(6));
            let body = Script {
                tells_end,
                ..Script::new(pieces.iter().map(|data| Piece::Data(data)))
            };
            let (readers, _) = world.readers_of(2, body);
            for reader in readers {
                assert!(assert_ready!(collect(reader).poll()).is_err());
            }
            assert_eq!(world.entry(), None, "{pieces:?}");
        }
    }
}

#[test]
fn an_empty_body_is_stored() {
    struct Row {
        body: Script,
        expected: Option<u64>,
    }
    let row = |exact, tells_end, expected| Row {
        body: Script {
            exact,
            tells_end,
            ..Script::default()
        },
        expected,
    };
    for Row { body, expected } in [
        row(None, false, None),
        row(None, true, None),
        row(Some(0), false, None),
        row(Some(0), true, None),
        row(None, false, Some(0)),
        row(None, true, Some(0)),
    ] {
        let gate = Gate::default();
        let mut world = World::over(TestStore {
            commit: Step::Waits(gate.clone()),
            ..TestStore::default()
        });
        world.expected = expected;
        let mut reader = world.reader(body);
        let mut ahead = task::spawn(std::future::poll_fn(|cx| reader.poll_read_ahead(cx, 1)));
        assert_pending!(ahead.poll());
        assert_eq!(world.entry(), None);
        gate.open();
        assert!(ahead.is_woken());
        assert_ready!(ahead.poll());
        drop(ahead);
        assert_eq!(world.entry().unwrap(), "");
        assert!(reader.is_stored() && reader.is_settled());
        assert!(is_at_end(&mut Body::teed(reader)));
    }
    // Bodies of other libraries.
    for reader in [
        World::default().reader(Full::<Bytes>::default()),
        World::default().reader(Empty::<Bytes>::new()),
    ] {
        assert!(is_at_end(&mut Body::teed(reader)));
    }
}

#[test]
fn an_empty_body_in_place_of_an_announced_one_fails() {
    for tells_end in [false, true] {
        let world = World::expecting(Some(3));
        let body = Script {
            tells_end,
            ..Script::default()
        };
        let (mut readers, _) = world.readers_of(2, body);
        for reader in &mut readers {
            assert!(!reader.is_end_stream());
            error_of(reader);
        }
        assert_eq!(world.entry(), None);
    }
}

#[test]
fn a_response_to_head_announces_the_size_of_another_body() {
    let mut world = World::expecting(Some(0));
    world.method = Method::HEAD;
    let reader = world.reader(Script::default());
    assert_eq!(
        assert_ready!(collect(Body::teed(reader)).poll()).unwrap(),
        ""
    );
    assert_eq!(world.observed.stored(), 1);
}

#[test]
fn trailers_reach_each_reader_and_an_observer_may_refuse_to_drop_them() {
    struct Row {
        expected: Option<u64>,
        refuses: bool,
        is_stored: bool,
    }
    let row = |expected, refuses, is_stored| Row {
        expected,
        refuses,
        is_stored,
    };
    for Row {
        expected,
        refuses,
        is_stored,
    } in [
        row(None, false, true),
        row(None, true, false),
        // Complete before they come.
        row(Some(3), false, true),
        row(Some(3), true, true),
    ] {
        let world = World::expecting(expected);
        world.observed.set(|state| state.refuses_trailers = refuses);
        for reader in world.readers(2, [Piece::Data("abc"), Piece::Trailers]) {
            let all = assert_ready!(task::spawn(reader.collect()).poll()).unwrap();
            assert_eq!(all.trailers(), Some(&trailers()));
            assert_eq!(all.to_bytes(), "abc");
        }
        assert_eq!(world.entry().is_some(), is_stored, "{expected:?} {refuses}");
    }
}

#[test]
fn reading_ahead_stops_at_its_limit_and_where_the_body_waits() {
    let world = World::default();
    let gate = Gate::default();
    let pieces = [
        Piece::Bytes(large(3_000)),
        Piece::Bytes(large(3_000)),
        Piece::Bytes(large(3_000)),
        Piece::Gate(gate),
    ];
    let body = Script::new(pieces);
    let polls = Arc::clone(&body.polls);
    let mut reader = world.reader(body);
    for (limit, expected) in [(5_000, 2), (5_000, 2), (100_000, 4), (100_000, 5)] {
        let mut ahead = task::spawn(std::future::poll_fn(|cx| reader.poll_read_ahead(cx, limit)));
        assert_ready!(ahead.poll());
        assert_eq!(polls.load(Ordering::Relaxed), expected);
    }
}

/// The body is polled without a lock, so that others can take the pieces that are there.
#[test]
fn a_reader_takes_pieces_while_another_one_polls_the_body() {
    /// Polls the other reader within a poll of the body.
    struct Nested {
        other: Arc<Mutex<Option<Body>>>,
        pieces: usize,
    }
    impl http_body::Body for Nested {
        type Data = Bytes;
        type Error = Cut;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
            self.pieces += 1;
            if self.pieces == 3 {
                let mut other = self.other.lock().unwrap().take().unwrap();
                assert_eq!(read(&mut other), "abc");
                // It looks ahead, is not let to the body, and does not wait for it.
                assert_eq!(read(&mut other), "abc");
                assert!(is_waiting(&mut other));
                *self.other.lock().unwrap() = Some(other);
            }
            let frame = Frame::data(Bytes::from_static(b"abc"));
            Poll::Ready((self.pieces < 4).then_some(Ok(frame)))
        }
    }
    let world = World::default();
    let other = Arc::new(Mutex::new(None));
    let first = world.reader(Nested {
        other: Arc::clone(&other),
        pieces: 0,
    });
    *other.lock().unwrap() = Some(Body::teed(first.another()));
    let all = assert_ready!(collect(Body::teed(first)).poll()).unwrap();
    assert_eq!(all, "abcabcabc");
    let mut other = other.lock().unwrap().take().unwrap();
    assert_eq!(read(&mut other), "abc");
    assert!(is_at_end(&mut other));
}

/// The wakers that were there before the poll have been used up by then.
#[test]
fn a_reader_that_comes_while_another_one_polls_the_body_is_woken_when_that_is_done() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Outcome {
        Piece,
        End,
        Error,
        Panic,
        Yield,
    }
    type Waiting = Arc<Mutex<Option<Collecting>>>;
    struct Nested {
        waiting: Waiting,
        outcome: Outcome,
        polls: usize,
    }
    impl http_body::Body for Nested {
        type Data = Bytes;
        type Error = Cut;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
            self.polls += 1;
            if self.polls > 1 {
                return Poll::Ready(None);
            }
            if let Some(task) = &mut *self.waiting.lock().unwrap() {
                assert_pending!(task.poll());
            }
            match self.outcome {
                Outcome::Piece => Poll::Ready(Some(Ok(Frame::data("abc".into())))),
                Outcome::End => Poll::Ready(None),
                Outcome::Error => Poll::Ready(Some(Err(Cut))),
                Outcome::Panic => panic!("the body panics"),
                Outcome::Yield => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        }
    }
    for outcome in [
        Outcome::Piece,
        Outcome::End,
        Outcome::Error,
        Outcome::Panic,
        Outcome::Yield,
    ] {
        let world = World::default();
        let waiting = Waiting::default();
        let first = world.reader(Nested {
            waiting: Arc::clone(&waiting),
            outcome,
            polls: 0,
        });
        *waiting.lock().unwrap() = Some(collect(Body::teed(first.another())));
        let mut first = collect(Body::teed(first));
        let unwound = catch_unwind(AssertUnwindSafe(|| drop(first.poll())));
        assert_eq!(unwound.is_err(), outcome == Outcome::Panic);
        let mut other = waiting.lock().unwrap().take().unwrap();
        assert!(other.is_woken(), "{outcome:?}");
        let all = assert_ready!(other.poll());
        let fails = matches!(outcome, Outcome::Error | Outcome::Panic);
        assert_eq!(all.is_err(), fails, "{outcome:?}");
    }
}

/// Random numbers that are the same in each run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A body that a thread of its own feeds.
#[derive(Clone, Default)]
struct Fed(Arc<Mutex<Feed>>);

#[derive(Default)]
struct Feed {
    pieces: VecDeque<Bytes>,
    has_ended: bool,
    waker: Option<Waker>,
}

impl Fed {
    fn push(&self, data: Option<Bytes>) {
        let mut feed = self.0.lock().unwrap();
        match data {
            Some(data) => feed.pieces.push_back(data),
            None => feed.has_ended = true,
        }
        let waker = feed.waker.take();
        drop(feed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = {
            let mut feed = self.0.lock().unwrap();
            match feed.pieces.pop_front() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None if feed.has_ended => Poll::Ready(None),
                None => {
                    // As a channel does: the last to poll is the one that is woken.
                    feed.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        // Another reader may come, and a wake-up too, before this poll ends.
        std::thread::yield_now();
        polled
    }
}

/// A wake-up that gets lost leaves a reader behind for ever, which the time limit finds.
#[test]
fn no_wake_up_is_lost_among_many_readers_on_many_threads() {
    const THREADS: usize = 8;
    const READERS: u64 = 50;
    const PIECES: u32 = 40;
    const ROUNDS: u64 = 20;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_time()
        .build()
        .unwrap();
    for round in 1..=ROUNDS {
        let fed = Fed::default();
        let gate = Gate::default();
        let world = World::over(match round % 2 {
            0 => TestStore::default(),
            _ => TestStore {
                commit: Step::Waits(gate.clone()),
                ..TestStore::default()
            },
        });
        let first = world.reader(fed.clone());
        let handle = first.handle();
        let mut random = Random(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let whole: Bytes = (0..PIECES)
            .flat_map(u32::to_be_bytes)
            .collect::<Vec<_>>()
            .into();
        let readers: Vec<_> = (1..=READERS).map(|_| first.another()).collect();
        let tasks: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let mut random = Random(random.below(u64::MAX) | 1);
                let handle = handle.clone();
                runtime.spawn(async move {
                    let mut body = Body::teed(reader);
                    let mut all = Vec::new();
                    // Some go away, and come again.
                    let goes_after = random.below(4 * u64::from(PIECES));
                    let mut frames = 0;
                    while let Some(frame) = body.frame().await {
                        all.extend_from_slice(frame.unwrap().data_ref().unwrap());
                        frames += 1;
                        if frames == goes_after {
                            let again = handle.join()?;
                            body = Body::teed(again);
                            all.clear();
                        }
                        for _ in 0..random.below(3) {
                            tokio::task::yield_now().await;
                        }
                    }
                    Some(all)
                })
            })
            .collect();
        // The first reader goes away at once.
        drop(first);
        let feeder = std::thread::spawn(move || {
            for piece in 0..PIECES {
                fed.push(Some(piece.to_be_bytes().to_vec().into()));
                for _ in 0..random.below(200) {
                    std::hint::spin_loop();
                }
                if random.below(4) == 0 {
                    std::thread::yield_now();
                }
            }
            fed.push(None);
            gate.open();
        });
        let all_ended = runtime.block_on(async {
            let limit = std::time::Duration::from_secs(30);
            tokio::time::timeout(limit, async {
                let mut whole_bodies = 0;
                for task in tasks {
                    if let Some(all) = task.await.unwrap() {
                        assert!(all == whole, "round {round}");
                        whole_bodies += 1;
                    }
                }
                whole_bodies
            })
            .await
        });
        feeder.join().unwrap();
        let whole_bodies = all_ended.expect("a wake-up was lost");
        assert!(whole_bodies > READERS / 2, "{whole_bodies}");
        assert_eq!(world.entry().unwrap(), whole);
        assert_eq!(world.observed.stored(), 1);
    }
}
