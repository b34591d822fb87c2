//! One entry on its way into a store.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, response};

use crate::http::dump::{self, Encoder, Framing};
use crate::store::{Op, PutOptions, Store};

/// How much of a body, in bytes, is held before it is written piece by piece. Up to here the entry is stored with a
/// single `put`, and a chunked body gets the one chunk that kubectl writes.
pub const HOLD: u64 = 4 * 1024 * 1024;

/// A smaller piece is copied, because it may be a part of a buffer that is many times larger.
pub(super) const SMALL: usize = 4 * 1024;

/// The response that is to be stored, without its body.
#[derive(Debug)]
pub struct NewEntry {
    /// The key in the store.
    pub key: String,
    /// The method of the request that the response answers.
    pub method: Method,
    /// The head to store.
    pub parts: Arc<response::Parts>,
    /// How the dump says where the body ends.
    pub framing: Framing,
    /// The size of the body in bytes, if it is announced. A body of another size is not stored.
    pub expected: Option<u64>,
    /// The size of the body in bytes above which the entry is not stored.
    pub max_body_size: u64,
    /// Hints for the store.
    pub options: PutOptions,
}

/// Sees what becomes of an entry, and may stop it.
pub trait EntryObserver: Send + 'static {
    /// Whether the entry may still be published. It may not when it was invalidated while it was on its way.
    fn is_current(&self) -> bool {
        true
    }

    /// A part of the body has come.
    fn on_progress(&mut self) {}

    /// Whether an entry may be stored without the trailers that came at the end of its body. Asked only if they come
    /// before the entry is complete, which it is as soon as it has its announced size.
    fn may_drop_trailers(&self) -> bool {
        true
    }

    /// Work that has to be done before the entry is published.
    fn prepare(&mut self, _key: &str) -> Op<()> {
        Op::Ready(())
    }

    /// The entry is in the store, and still current.
    fn on_stored(&mut self, key: &str);

    /// The entry is not in the store. The operation that is returned is waited for before the reader gets the end of the
    /// body.
    fn on_abandoned(&mut self, key: &str, reason: Abandoned<'_>) -> Op<()>;

    /// Completes when readers have waited long enough for one step of the store, or for [`prepare`](Self::prepare) and the
    /// publication together; the entry is abandoned then. Without it they wait for as long as the store takes.
    fn commit_deadline(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

/// Why an entry was not stored.
#[derive(Debug)]
#[non_exhaustive]
pub enum Abandoned<'a> {
    /// The body or the cache did not allow it.
    Because(&'static str),
    /// The entry was published, or may still be, but has been invalidated meanwhile: it is to be removed.
    Invalidated,
    /// The store failed.
    Store(&'a io::Error),
}

/// Takes the body of one entry and stores the entry when the body is whole. Dropped before that, it leaves nothing.
pub struct EntryWriter {
    store: Arc<dyn Store>,
    entry: NewEntry,
    observer: Box<dyn EntryObserver>,
    /// How many bytes have come.
    seen: u64,
    ended: bool,
    state: State,
    /// The end of the present wait for the store.
    deadline: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

enum State {
    /// The body is held; nothing is written yet.
    Holding(BodyBuffer),
    /// The store begins to take the body piece by piece, or takes a piece. The bytes come after that.
    Busy(Op<io::Result<Encoder>>, BodyBuffer),
    Writing(Encoder),
    /// The observer prepares the publication of an entry in this state.
    Preparing(Op<()>, Box<State>),
    /// The store publishes the entry. Its body is there if it was held.
    Committing(Op<io::Result<()>>, Option<Bytes>),
    Abandoning(Op<()>),
    Stored,
    Abandoned,
}

/// The state of an entry that has nothing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It takes more of the body.
    Open,
    /// The entry is in the store.
    Stored,
    /// The entry will not be in the store.
    Abandoned,
}

/// The bytes of a body that have come: one piece as it is, or several copied into one buffer.
#[derive(Default)]
struct BodyBuffer {
    one: Bytes,
    several: Vec<u8>,
}

impl EntryWriter {
    /// Begins an entry. Nothing reaches the store before the first bytes that are not held, or the end.
    pub fn new(store: Arc<dyn Store>, entry: NewEntry, observer: Box<dyn EntryObserver>) -> Self {
        Self {
            store,
            entry,
            observer,
            seen: 0,
            ended: false,
            state: State::Holding(BodyBuffer::default()),
            deadline: None,
        }
    }

    /// The announced size of the body, in bytes.
    pub(super) fn expected(&self) -> Option<u64> {
        self.entry.expected
    }

    /// Whether the response answers a HEAD request.
    pub(super) fn is_for_head(&self) -> bool {
        self.entry.method == Method::HEAD
    }

    /// The size of the body in bytes above which the entry is not stored.
    pub(super) fn max_body_size(&self) -> u64 {
        self.entry.max_body_size
    }

    /// Whether the body ends without having been announced, so that its last piece is recognised by what comes after it.
    pub(super) fn needs_end(&self) -> bool {
        self.entry.expected.is_none() && !self.is_settled() && !self.ended
    }

    /// Whether there is nothing left to store or to remove.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Stored | State::Abandoned)
    }

    /// Whether the entry is complete and the store has not confirmed it yet.
    pub(super) fn is_finishing(&self) -> bool {
        self.ended && !self.is_settled() || matches!(self.state, State::Abandoning(_))
    }

    /// All of the body that has come, if it is still held: until the entry is in the store, so that a request which comes
    /// while that is published need not be sent.
    pub(super) fn held(&self) -> Option<Bytes> {
        self.state.held()
    }

    /// Takes a piece of the body, and finishes the entry if the piece completes the announced size.
    pub(super) fn push(&mut self, data: &Bytes) {
        self.observer.on_progress();
        self.seen = self.seen.saturating_add(data.len() as u64);
        let NewEntry {
            expected,
            max_body_size,
            ..
        } = self.entry;
        if expected.is_some_and(|expected| self.seen > expected) {
            return self.abandon("longer than announced");
        }
        if self.seen > max_body_size {
            return self.abandon("too large");
        }
        match &mut self.state {
            State::Holding(buffer) => {
                buffer.push(data, expected);
                // A body that is whole already need not be written piece by piece, however large it is.
                let is_whole = expected == Some(self.seen);
                if !is_whole && expected.unwrap_or(self.seen) > HOLD {
                    let buffer = mem::take(buffer);
                    self.open(buffer);
                }
            }
            State::Busy(_, buffer) => buffer.push(data, None),
            State::Writing(_) => self.write(data.clone()),
            State::Preparing(..)
            | State::Committing(..)
            | State::Abandoning(_)
            | State::Stored
            | State::Abandoned => {}
        }
        if expected == Some(self.seen) {
            self.finish();
        }
    }

    fn open(&mut self, buffer: BodyBuffer) {
        let NewEntry {
            key,
            method,
            parts,
            framing,
            expected,
            options,
            ..
        } = &mut self.entry;
        if *framing == Framing::Chunked {
            // Many chunks would have to be joined at each hit. A body that runs to the end is read as it is, by kubectl
            // as well.
            *framing = Framing::Close;
        }
        let (head, framing) = (
            dump::encode_head(method, parts, *framing, *expected),
            *framing,
        );
        let writer = self.store.create_with(key, head, options.clone());
        let encoder = writer.map(move |writer| Ok(Encoder::new(writer?, framing)));
        self.state = State::Busy(encoder, buffer);
    }

    /// Gives the store a piece of the body, if it is ready to take one.
    fn write(&mut self, data: Bytes) {
        match mem::replace(&mut self.state, State::Abandoned) {
            State::Writing(encoder) => match encoder.write(data) {
                Op::Ready(Ok(encoder)) => self.state = State::Writing(encoder),
                Op::Ready(Err(error)) => self.fail(&error),
                op @ Op::Wait(_) => self.state = State::Busy(op, BodyBuffer::default()),
            },
            state => self.state = state,
        }
    }

    /// The body has ended with trailers, which are not stored. An entry that was complete before is settled already.
    pub(super) fn finish_without_trailers(&mut self) {
        if self.observer.may_drop_trailers() {
            self.finish();
        } else {
            self.abandon("the body has trailers");
        }
    }

    /// The body has ended without an error.
    pub(super) fn finish(&mut self) {
        if self.ended || self.is_settled() || matches!(self.state, State::Abandoning(_)) {
            return;
        }
        let entry = &self.entry;
        if entry.expected.is_some_and(|expected| self.seen != expected) {
            return self.abandon("shorter than announced");
        }
        if !self.observer.is_current() {
            return self.abandon("invalidated");
        }
        self.ended = true;
        match self.observer.prepare(&self.entry.key) {
            Op::Ready(()) => self.commit(),
            work @ Op::Wait(_) => {
                let state = mem::replace(&mut self.state, State::Abandoned);
                self.state = State::Preparing(work, Box::new(state));
            }
        }
    }

    fn commit(&mut self) {
        let entry = &self.entry;
        match mem::replace(&mut self.state, State::Abandoned) {
            State::Holding(buffer) => {
                let body = buffer.into_body();
                let held = Some(body.clone());
                let value = dump::encode(&entry.method, &entry.parts, entry.framing, body);
                let put = self
                    .store
                    .put_with(&entry.key, value, entry.options.clone());
                self.state = State::Committing(put, held);
            }
            State::Writing(encoder) => self.state = State::Committing(encoder.finish(), None),
            // An entry is committed when the store has taken what it is taking.
            state => self.state = state,
        }
    }

    /// Waits for the store, if there is anything to wait for, until the deadline.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        loop {
            if let Poll::Ready(progress) = self.poll_store(cx) {
                self.deadline = None;
                return Poll::Ready(progress);
            }
            if self.deadline.is_none() {
                self.deadline = self.observer.commit_deadline();
            }
            let Some(deadline) = &mut self.deadline else {
                return Poll::Pending;
            };
            ready!(deadline.as_mut().poll(cx));
            self.deadline = None;
            if matches!(self.state, State::Abandoning(_)) {
                self.state = State::Abandoned;
            }
            self.abandon("the store takes too long");
        }
    }

    fn poll_store(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        loop {
            match &mut self.state {
                State::Holding(_) | State::Writing(_) => return Poll::Ready(Progress::Open),
                State::Stored => return Poll::Ready(Progress::Stored),
                State::Abandoned => return Poll::Ready(Progress::Abandoned),
                State::Preparing(work, state) => {
                    ready!(Pin::new(work).poll(cx));
                    self.state = mem::replace(state, State::Abandoned);
                    self.commit();
                }
                State::Committing(op, _) => match ready!(Pin::new(op).poll(cx)) {
                    Ok(()) if self.observer.is_current() => {
                        self.observer.on_stored(&self.entry.key);
                        self.state = State::Stored;
                    }
                    // The invalidation may have come too early to remove the entry.
                    Ok(()) => self.give_up(Abandoned::Invalidated),
                    Err(error) => self.fail(&error),
                },
                State::Abandoning(op) => {
                    ready!(Pin::new(op).poll(cx));
                    self.state = State::Abandoned;
                }
                State::Busy(op, buffer) => {
                    let taken = ready!(Pin::new(op).poll(cx));
                    let buffer = mem::take(buffer);
                    self.deadline = None;
                    match taken {
                        Ok(encoder) => self.state = State::Writing(encoder),
                        Err(error) => self.fail(&error),
                    }
                    if !buffer.is_empty() {
                        self.write(buffer.into_body());
                    }
                    if self.ended {
                        self.commit();
                    }
                }
            }
        }
    }

    /// Leaves the entry out of the store, unless that has been decided already.
    pub(super) fn abandon(&mut self, reason: &'static str) {
        if self.is_settled() || matches!(self.state, State::Abandoning(_)) {
            return;
        }
        // A write that is given up may still happen, and then it would outlast the invalidation.
        let may_be_written = matches!(self.state, State::Committing(..));
        if may_be_written && !self.observer.is_current() {
            self.give_up(Abandoned::Invalidated);
        } else {
            self.give_up(Abandoned::Because(reason));
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.give_up(Abandoned::Store(error));
    }

    fn give_up(&mut self, reason: Abandoned<'_>) {
        // An operation that is dropped has no effect after a removal only if that is begun later.
        self.state = State::Abandoned;
        let follow_up = self.observer.on_abandoned(&self.entry.key, reason);
        self.state = match follow_up {
            Op::Ready(()) => State::Abandoned,
            wait @ Op::Wait(_) => State::Abandoning(wait),
        };
    }
}

impl State {
    fn held(&self) -> Option<Bytes> {
        match self {
            Self::Holding(buffer) => Some(buffer.copy()),
            Self::Preparing(_, state) => state.held(),
            Self::Committing(_, held) => held.clone(),
            _ => None,
        }
    }
}

impl Drop for EntryWriter {
    /// An entry that was cut off is not stored. Work that would have to be waited for is dropped.
    fn drop(&mut self) {
        self.abandon("not read to its end");
    }
}

impl fmt::Debug for EntryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryWriter")
            .field("seen", &self.seen)
            .field("expected", &self.entry.expected)
            .finish_non_exhaustive()
    }
}

impl BodyBuffer {
    /// `expected` is the announced size of the whole.
    fn push(&mut self, data: &Bytes, expected: Option<u64>) {
        if self.several.is_empty() {
            if self.one.is_empty() && data.len() >= SMALL {
                self.one = data.clone();
                return;
            }
            let one = mem::take(&mut self.one);
            self.append(&one, expected);
        }
        self.append(data, expected);
    }

    /// Copies while the bytes are in the processor's cache; joining all of them in the end takes longer. The room grows
    /// with what has come, up to the announced size: a server that announces much need not send it.
    fn append(&mut self, data: &[u8], expected: Option<u64>) {
        const FIRST: usize = 256 * 1024;
        let held = self.several.len();
        let wanted = held + data.len();
        if wanted > self.several.capacity() {
            let expected = expected.and_then(|expected| usize::try_from(expected).ok());
            let room = (2 * held).max(FIRST).min(expected.unwrap_or(2 * wanted));
            self.several.reserve_exact(room.max(wanted) - held);
        }
        self.several.extend_from_slice(data);
    }

    /// The bytes for another reader.
    fn copy(&self) -> Bytes {
        if self.several.is_empty() {
            self.one.clone()
        } else {
            Bytes::copy_from_slice(&self.several)
        }
    }

    fn is_empty(&self) -> bool {
        self.one.is_empty() && self.several.is_empty()
    }

    fn into_body(self) -> Bytes {
        if self.several.is_empty() {
            return self.one;
        }
        // A boxed slice has no spare room, which a store could not count.
        self.several.into_boxed_slice().into()
    }
}
