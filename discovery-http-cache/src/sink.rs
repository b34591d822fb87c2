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

/// How much of a body is held before it is written bit by bit. Up to here a chunked body gets the
/// one chunk that kubectl writes, and a single `put` does.
pub(crate) const HOLD: u64 = 4 * 1024 * 1024;

/// Takes a body for one entry. It is stored with [`finish`](Sink::finish), and only if it has
/// as many bytes as were announced; dropped before, it leaves nothing.
pub(crate) struct Sink {
    cache: Arc<Cache>,
    key: String,
    method: Method,
    parts: response::Parts,
    framing: Framing,
    expected: Option<u64>,
    seen: u64,
    ended: bool,
    state: SinkState,
}

enum SinkState {
    Held(Vec<Bytes>),
    /// On the way from holding to writing.
    Opening(Op<io::Result<Box<dyn Writer>>>, Vec<Bytes>),
    Writing(Encoder),
    Committing(Op<io::Result<()>>),
    GivenUp,
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
    /// `parts` are those to store; `expected` is the number of bytes, if it is known.
    pub(crate) fn new(
        cache: Arc<Cache>,
        key: String,
        method: Method,
        parts: response::Parts,
        framing: Framing,
        expected: Option<u64>,
    ) -> Self {
        Self {
            cache,
            key,
            method,
            parts,
            framing,
            expected,
            seen: 0,
            ended: false,
            state: SinkState::Held(Vec::new()),
        }
    }

    /// Takes a piece of the body, and finishes if it is the last.
    pub(crate) fn push(&mut self, data: &Bytes) {
        self.seen = self.seen.saturating_add(data.len() as u64);
        if self.expected.is_some_and(|expected| self.seen > expected) {
            return self.give_up("longer than announced");
        }
        if self.seen > self.cache.config.max_entry_size {
            return self.give_up("too large");
        }
        match &mut self.state {
            SinkState::Held(held) => {
                held.push(data.clone());
                // What is whole already needs not be held any longer, however large it is.
                let whole = self.expected == Some(self.seen);
                if !whole && self.expected.unwrap_or(self.seen) > HOLD {
                    let held = mem::take(held);
                    let head =
                        dump::encode_head(&self.method, &self.parts, self.framing, self.expected);
                    let writer = self.cache.store.create(&self.key, head);
                    self.state = SinkState::Opening(writer, held);
                }
            }
            SinkState::Opening(_, held) => held.push(data.clone()),
            SinkState::Writing(encoder) => {
                if let Err(error) = encoder.write(data) {
                    self.fail(&error);
                }
            }
            SinkState::Committing(_) | SinkState::GivenUp => {}
        }
        if self.expected == Some(self.seen) {
            self.finish();
        }
    }

    /// The body has ended.
    pub(crate) fn finish(&mut self) {
        if self.expected.is_some_and(|expected| self.seen != expected) {
            return self.give_up("shorter than announced");
        }
        self.ended = true;
        match mem::replace(&mut self.state, SinkState::GivenUp) {
            SinkState::Held(held) => {
                let body = match <[Bytes; 1]>::try_from(held) {
                    Ok([whole]) => whole,
                    Err(held) => held.concat().into(),
                };
                let value = dump::encode(&self.method, &self.parts, self.framing, body);
                self.state = SinkState::Committing(self.cache.store.put(&self.key, value));
            }
            SinkState::Writing(encoder) => match encoder.finish() {
                Ok(commit) => self.state = SinkState::Committing(commit),
                Err(error) => self.fail(&error),
            },
            // What is opening finishes when it is open.
            state @ (SinkState::Opening(..) | SinkState::Committing(_) | SinkState::GivenUp) => {
                self.state = state;
            }
        }
    }

    /// Ready when there is nothing to wait for.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Settled> {
        loop {
            match &mut self.state {
                SinkState::Held(_) | SinkState::Writing(_) => return Poll::Ready(Settled::Open),
                SinkState::GivenUp => return Poll::Ready(Settled::GivenUp),
                SinkState::Committing(op) => {
                    let committed = ready!(Pin::new(op).poll(cx));
                    match committed {
                        Ok(()) => {
                            self.cache.stored(&self.key);
                            self.state = SinkState::GivenUp;
                            return Poll::Ready(Settled::Stored);
                        }
                        Err(error) => self.fail(&error),
                    }
                }
                SinkState::Opening(op, held) => {
                    let opened = ready!(Pin::new(op).poll(cx));
                    let held = mem::take(held);
                    let written = opened.and_then(|writer| {
                        let mut encoder = Encoder::new(writer, self.framing);
                        held.iter().try_for_each(|data| encoder.write(data))?;
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
        debug!(key = self.key, decision = "not stored", reason);
        self.state = SinkState::GivenUp;
    }

    fn fail(&mut self, error: &io::Error) {
        self.cache.store_failed(&self.key, "write", error);
        self.state = SinkState::GivenUp;
    }
}
