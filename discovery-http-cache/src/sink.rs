//! Where a body that is being read goes on its way into the store.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use discovery_core::dump::{self, Encoder, Framing};
use discovery_core::store::{Op, Writer};
use http::{Method, response};
use tracing::debug;

use crate::cache::Cache;
use crate::epoch::Epoch;
use crate::redact::Redacted;

/// How much of a body is held before it is written bit by bit, in room for up to twice as much if its length
/// is not announced. Up to here a chunked body gets the
/// one chunk that kubectl writes, and a single `put` does.
pub(crate) const HOLD: u64 = 4 * 1024 * 1024;

/// A smaller piece is copied: it can be a part of a buffer that is many times larger.
const SMALL: usize = 4 * 1024;

/// Takes a body for one entry. It is stored with [`finish`](Sink::finish), and only if it has
/// as many bytes as were announced; dropped before, it leaves nothing.
pub(crate) struct Sink {
    cache: Arc<Cache>,
    entry: NewEntry,
    seen: u64,
    ended: bool,
    state: SinkState,
}

/// What is to be stored, but for the body.
pub(crate) struct NewEntry {
    pub(crate) key: String,
    pub(crate) method: Method,
    pub(crate) parts: response::Parts,
    pub(crate) framing: Framing,
    /// The number of bytes, if it is known.
    pub(crate) expected: Option<u64>,
    /// When it was asked for.
    pub(crate) epoch: Epoch,
    /// Whether it takes the place of something that is outdated by now, and goes in any case.
    pub(crate) replaces: bool,
}

enum SinkState {
    Held(Held),
    /// On the way from holding to writing.
    Opening(Op<io::Result<Box<dyn Writer>>>, Held),
    Writing(Encoder),
    Committing(Op<io::Result<()>>),
    Removing(Op<io::Result<()>>),
    GivenUp,
}

/// The bytes of a body that have come: one piece, as it is, or several, put together.
#[derive(Default)]
struct Held {
    one: Bytes,
    several: Vec<u8>,
}

/// What a sink that has nothing to wait for is up to.
#[derive(Debug, PartialEq)]
pub(crate) enum Settled {
    /// It takes more.
    Open,
    /// The entry is in the store.
    Stored,
    /// There will be no entry.
    GivenUp,
}

impl Sink {
    pub(crate) fn new(cache: Arc<Cache>, entry: NewEntry) -> Self {
        Self {
            cache,
            entry,
            seen: 0,
            ended: false,
            state: SinkState::Held(Held::default()),
        }
    }

    /// Takes a piece of the body, and finishes if it is the last.
    pub(crate) fn push(&mut self, data: &Bytes) {
        self.seen = self.seen.saturating_add(data.len() as u64);
        let expected = self.entry.expected;
        if expected.is_some_and(|expected| self.seen > expected) {
            return self.give_up("longer than announced");
        }
        if self.seen > self.cache.config.max_entry_size {
            return self.give_up("too large");
        }
        match &mut self.state {
            SinkState::Held(held) => {
                held.push(data, expected);
                // What is whole already needs not be held any longer, however large it is.
                let whole = expected == Some(self.seen);
                if !whole && expected.unwrap_or(self.seen) > HOLD {
                    let held = mem::take(held);
                    self.open(held);
                }
            }
            SinkState::Opening(_, held) => held.push(data, None),
            SinkState::Writing(encoder) => {
                if let Err(error) = encoder.write(data) {
                    self.fail(&error);
                }
            }
            SinkState::Committing(_) | SinkState::Removing(_) | SinkState::GivenUp => {}
        }
        if expected == Some(self.seen) {
            self.finish();
        }
    }

    fn open(&mut self, held: Held) {
        let NewEntry {
            key,
            method,
            parts,
            framing,
            expected,
            ..
        } = &mut self.entry;
        if *framing == Framing::Chunked {
            // Many chunks would have to be put together at each hit; what runs to the end is read as
            // it is, by kubectl as well.
            *framing = Framing::Close;
        }
        let head = dump::encode_head(method, parts, *framing, *expected);
        self.state = SinkState::Opening(self.cache.store.create(key, head), held);
    }

    /// The body has ended.
    pub(crate) fn finish(&mut self) {
        let entry = &self.entry;
        if entry.expected.is_some_and(|expected| self.seen != expected) {
            return self.give_up("shorter than announced");
        }
        if !entry.epoch.is_now() {
            return self.give_up("invalidated");
        }
        self.ended = true;
        match mem::replace(&mut self.state, SinkState::GivenUp) {
            SinkState::Held(held) => {
                let body = held.into_body();
                let value = dump::encode(&entry.method, &entry.parts, entry.framing, body);
                self.state = SinkState::Committing(self.cache.store.put(&entry.key, value));
            }
            SinkState::Writing(encoder) => match encoder.finish() {
                Ok(commit) => self.state = SinkState::Committing(commit),
                Err(error) => self.fail(&error),
            },
            // What is opening finishes when it is open.
            state @ (SinkState::Opening(..)
            | SinkState::Committing(_)
            | SinkState::Removing(_)
            | SinkState::GivenUp) => self.state = state,
        }
    }

    /// Ready when there is nothing to wait for.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Settled> {
        loop {
            match &mut self.state {
                SinkState::Held(_) | SinkState::Writing(_) => return Poll::Ready(Settled::Open),
                SinkState::GivenUp => return Poll::Ready(Settled::GivenUp),
                SinkState::Committing(op) => match ready!(Pin::new(op).poll(cx)) {
                    Ok(()) if self.entry.epoch.is_now() => {
                        self.cache.count_stored(&self.entry.key);
                        self.entry.replaces = false;
                        self.state = SinkState::GivenUp;
                        return Poll::Ready(Settled::Stored);
                    }
                    Ok(()) => {
                        // Who invalidated it may have been too early to remove it.
                        self.entry.replaces = true;
                        self.give_up("invalidated");
                    }
                    Err(error) => self.fail(&error),
                },
                SinkState::Removing(op) => {
                    if let Err(error) = ready!(Pin::new(op).poll(cx)) {
                        self.cache.store_failed(&self.entry.key, "remove", &error);
                    }
                    self.state = SinkState::GivenUp;
                }
                SinkState::Opening(op, held) => {
                    let opened = ready!(Pin::new(op).poll(cx));
                    let held = mem::take(held);
                    let framing = self.entry.framing;
                    let written = opened.and_then(|writer| {
                        let mut encoder = Encoder::new(writer, framing);
                        held.write(&mut encoder)?;
                        Ok(encoder)
                    });
                    match written {
                        Ok(encoder) => self.state = SinkState::Writing(encoder),
                        Err(error) => self.fail(&error),
                    }
                    if self.ended {
                        self.finish();
                    }
                }
            }
        }
    }

    pub(crate) fn give_up(&mut self, reason: &'static str) {
        let key = &self.entry.key;
        debug!(key = %Redacted::new(key), decision = "not stored", reason);
        self.end();
    }

    fn fail(&mut self, error: &io::Error) {
        self.cache.store_failed(&self.entry.key, "write", error);
        self.end();
    }

    fn end(&mut self) {
        self.state = if mem::take(&mut self.entry.replaces) {
            SinkState::Removing(self.cache.remove(&self.entry.key))
        } else {
            SinkState::GivenUp
        };
    }
}

impl Drop for Sink {
    /// The server has said that what was stored is outdated, and nothing has come in its place. A
    /// store that can't forget it at once may keep it.
    fn drop(&mut self) {
        if self.entry.replaces {
            drop(self.cache.remove(&self.entry.key));
        }
    }
}

impl Held {
    /// `expected` is how many bytes there will be.
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

    /// While the bytes are in the processor's cache: to put all together in the end takes longer. The room
    /// grows with what has come, up to what is announced: who announces much need not send it.
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

    fn into_body(self) -> Bytes {
        if self.several.is_empty() {
            return self.one;
        }
        // A boxed slice has no room for more, which no store would count.
        self.several.into_boxed_slice().into()
    }

    fn write(self, encoder: &mut Encoder) -> io::Result<()> {
        encoder.write(&self.into_body())
    }
}
