//! Readers of one body, where something else happens at the same time.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::http::body::Body;
use discovery_core::http::dump::Framing;
use discovery_core::internal::entry_writer::{Abandoned, EntryObserver, EntryWriter, NewEntry};
use discovery_core::internal::tee::Reader;
use discovery_core::store::{MapStore, Op, PutOptions, Store, Value, Writer};
use http::{Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};

const MIB: usize = 1 << 20;

enum Step {
    Data(Bytes),
    Wait,
    /// Waits, wakes its task at once, and notes that it has come here.
    Yield(Arc<AtomicBool>),
}

struct Script {
    steps: VecDeque<Step>,
    upper: Option<u64>,
}

impl HttpBody for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Wait) => Poll::Pending,
            Some(Step::Yield(passed)) => {
                passed.store(true, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        if let Some(upper) = self.upper {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Counts the ends of an entry.
#[derive(Clone, Default)]
struct Observer {
    has_ended: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
    abandoned: Arc<AtomicUsize>,
    invalidated: Arc<AtomicUsize>,
    has_deadline: bool,
}

impl EntryObserver for Observer {
    fn is_current(&self) -> bool {
        !self.has_ended.load(Ordering::Relaxed)
    }

    fn on_stored(&mut self, _: &str) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    fn on_abandoned(&mut self, _: &str, reason: Abandoned<'_>) -> Op<()> {
        let count = match reason {
            Abandoned::Invalidated => &self.invalidated,
            _ => &self.abandoned,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Op::Ready(())
    }

    fn commit_deadline(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.has_deadline
            .then(|| Box::pin(std::future::ready(())) as _)
    }
}

fn reader(
    steps: impl IntoIterator<Item = Step>,
    upper: Option<u64>,
    store: impl Store,
    observer: Observer,
) -> Reader {
    let (parts, ()) = Response::new(()).into_parts();
    let entry = NewEntry {
        key: "key".to_owned(),
        method: Method::GET,
        parts: Arc::new(parts),
        framing: Framing::Close,
        expected: None,
        max_body_size: 64 * MIB as u64,
        options: PutOptions::default(),
    };
    let writer = EntryWriter::new(Arc::new(store), entry, Box::new(observer));
    let steps = steps.into_iter().collect();
    Reader::new(Script { steps, upper }, writer)
}

fn teed(reader: Reader) -> Body<Script> {
    Body::teed(reader)
}

fn poll(body: &mut Body<Script>, waker: &Waker) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    pin!(body).poll_frame(&mut Context::from_waker(waker))
}

fn data(text: &'static str) -> Step {
    Step::Data(Bytes::from_static(text.as_bytes()))
}

/// Reads another body to its end within the call of `wake`, as an executor on another thread may do at that moment.
struct Overtake {
    is_armed: Arc<AtomicBool>,
    other: Mutex<Option<Body<Script>>>,
}

impl Wake for Overtake {
    fn wake(self: Arc<Self>) {
        if !self.is_armed.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut other = self.other.lock().unwrap().take().unwrap();
        while let Poll::Ready(Some(Ok(_))) = poll(&mut other, Waker::noop()) {}
    }
}

#[test]
fn a_reader_that_is_overtaken_while_it_looks_ahead_fails_and_sees_no_end() {
    let is_armed = Arc::new(AtomicBool::new(false));
    let piece = Bytes::from(vec![b'x'; MIB]);
    let mut steps = vec![
        data("first"),
        Step::Wait,
        Step::Wait,
        Step::Yield(Arc::clone(&is_armed)),
    ];
    // More than can be held for a reader that is behind.
    steps.extend((0..70).map(|_| Step::Data(piece.clone())));
    let slow = reader(steps, None, MapStore::new(), Observer::default());
    let mut fast = teed(slow.another());
    let mut slow = teed(slow);

    assert!(matches!(
        poll(&mut fast, Waker::noop()),
        Poll::Ready(Some(Ok(_)))
    ));
    let other = Mutex::new(None);
    let overtake = Arc::new(Overtake { is_armed, other });
    assert!(poll(&mut fast, &Waker::from(Arc::clone(&overtake))).is_pending());
    *overtake.other.lock().unwrap() = Some(fast);

    let frame = poll(&mut slow, Waker::noop());
    assert!(matches!(frame, Poll::Ready(Some(Err(_)))), "{frame:?}");
    assert!(matches!(poll(&mut slow, Waker::noop()), Poll::Ready(None)));
}

/// A limit of a body's size, such as that of `http_body_util::Limited`, is no announcement: the body may fail there.
#[test]
fn a_size_hint_is_not_exact_where_a_body_has_reached_its_upper_bound() {
    for joined in [false, true] {
        let steps = [data("abc"), data("def"), Step::Wait];
        let mut reader = reader(steps, Some(6), MapStore::new(), Observer::default());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(reader.poll_read_ahead(cx, 1024).is_ready());
        let reader = if joined {
            reader.handle().join().unwrap()
        } else {
            reader
        };
        let hint = teed(reader).size_hint();
        assert_eq!((hint.lower(), hint.exact()), (6, None), "{joined}");
    }
}

/// A store with one bad operation.
#[derive(Clone, Copy, PartialEq)]
enum Bad {
    PutPanics,
    CreateHangs,
    WriteHangs,
    PutHangs,
}

struct Hanging;

impl Writer for Hanging {
    fn write(self: Box<Self>, _: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::wait(std::future::pending())
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        Op::wait(std::future::pending())
    }
}

impl Store for Bad {
    fn get(&self, _: &str) -> Op<io::Result<Option<Value>>> {
        Op::Ready(Ok(None))
    }

    fn put_with(&self, _: &str, _: Value, _: PutOptions) -> Op<io::Result<()>> {
        assert!(*self != Self::PutPanics, "the store panics");
        Op::wait(std::future::pending())
    }

    fn create_with(&self, _: &str, _: Bytes, _: PutOptions) -> Op<io::Result<Box<dyn Writer>>> {
        match self {
            Self::WriteHangs => Op::Ready(Ok(Box::new(Hanging))),
            _ => Op::wait(std::future::pending()),
        }
    }

    fn remove(&self, _: &str) -> Op<io::Result<()>> {
        Op::Ready(Ok(()))
    }
}

#[test]
fn a_store_that_panics_under_one_reader_leaves_no_other_waiting() {
    let observer = Observer::default();
    let one = reader([data("abc")], None, Bad::PutPanics, observer.clone());
    let mut other = teed(one.another());
    let mut one = teed(one);
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut one, Waker::noop())));
    assert!(panicked.is_err());
    let mut last = poll(&mut other, Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = last {
        last = poll(&mut other, Waker::noop());
    }
    assert!(matches!(last, Poll::Ready(Some(Err(_)))), "{last:?}");
}

#[test]
fn a_store_that_hangs_holds_up_no_reader_beyond_the_deadline() {
    for bad in [Bad::CreateHangs, Bad::WriteHangs, Bad::PutHangs] {
        let count = if bad == Bad::PutHangs { 1 } else { 6 };
        let piece = Bytes::from(vec![b'x'; MIB]);
        let steps = (0..count).map(|_| Step::Data(piece.clone()));
        let observer = Observer {
            has_deadline: true,
            ..Observer::default()
        };
        let mut body = teed(reader(steps, None, bad, observer.clone()));
        let mut size = 0;
        while let Poll::Ready(Some(Ok(frame))) = poll(&mut body, Waker::noop()) {
            size += frame.data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(size, count * MIB);
        assert_eq!(observer.abandoned.load(Ordering::Relaxed), 1);
    }
}

/// The write may still happen, and nobody else would take the entry away.
#[test]
fn an_entry_that_is_invalidated_and_then_given_up_while_it_is_written_is_removed() {
    let observer = Observer::default();
    let mut body = teed(reader([data("abc")], None, Bad::PutHangs, observer.clone()));
    assert!(poll(&mut body, Waker::noop()).is_pending());
    observer.has_ended.store(true, Ordering::Relaxed);
    drop(body);
    assert_eq!(observer.invalidated.load(Ordering::Relaxed), 1);
}
