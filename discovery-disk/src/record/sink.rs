use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use discovery_core::dump::{Encoder, Framing};
use discovery_core::key::Redacted;
use discovery_core::store::{Op, Store};

use super::layer::{Config, Warned};

/// How much of a chunked body is held, so that it is stored as one chunk, as kubectl does.
const HELD: usize = 4 * 1024 * 1024;

/// Where a body goes beside its reader.
pub(crate) struct Sink {
    store: Arc<dyn Store>,
    key: String,
    max_body: u64,
    framing: Framing,
    /// How long the body is to be, if that is known.
    length: Option<u64>,
    seen: u64,
    state: State,
    warned: Arc<Warned>,
}

enum State {
    /// Nothing is recorded, or no more.
    Off,
    Held {
        head: Bytes,
        held: Vec<Bytes>,
    },
    /// Waits until the writer can take more.
    Opening {
        encoder: Op<io::Result<Encoder>>,
        held: Vec<Bytes>,
    },
    Open(Encoder),
    Committing(Op<io::Result<()>>),
}

impl Sink {
    /// A sink that records nothing yet.
    pub(crate) fn new(key: String, config: &Config) -> Self {
        Self {
            store: Arc::clone(&config.store),
            key,
            max_body: config.max_body,
            warned: Arc::clone(&config.warned),
            framing: Framing::Close,
            length: None,
            seen: 0,
            state: State::Off,
        }
    }

    pub(crate) fn begin(&mut self, head: Bytes, framing: Framing, length: Option<u64>) {
        self.framing = framing;
        self.length = length;
        self.state = State::Held {
            head,
            held: Vec::new(),
        };
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self.state, State::Off)
    }

    /// Whether the body has all the bytes that it was to have.
    pub(crate) fn is_complete(&self) -> bool {
        self.length == Some(self.seen)
    }

    pub(crate) fn take(&mut self, data: &Bytes) {
        if self.is_off() {
            return;
        }
        self.seen += data.len() as u64;
        if self.seen
            > self
                .length
                .map_or(self.max_body, |length| length.min(self.max_body))
        {
            self.abandon("the body is too long");
            return;
        }
        match &mut self.state {
            State::Held { held, .. } => {
                held.push(data.clone());
                if self.framing != Framing::Chunked || self.seen > HELD as u64 {
                    self.open();
                }
            }
            State::Opening { held, .. } => held.push(data.clone()),
            State::Open(_) => {
                if let State::Open(encoder) = std::mem::replace(&mut self.state, State::Off) {
                    self.wrote(encoder.write(data.clone()));
                }
            }
            State::Off | State::Committing(_) => {}
        }
    }

    /// Goes on with what does not depend on more of the body.
    pub(crate) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let State::Opening { encoder, held } = &mut self.state {
            let opened = ready!(Pin::new(encoder).poll(cx));
            let held = join(held);
            match opened {
                Ok(encoder) if held.is_empty() => self.state = State::Open(encoder),
                Ok(encoder) => self.wrote(encoder.write(held)),
                Err(error) => self.fail(&error),
            }
        }
        Poll::Ready(())
    }

    fn wrote(&mut self, encoder: Op<io::Result<Encoder>>) {
        match encoder {
            Op::Ready(Ok(encoder)) => self.state = State::Open(encoder),
            Op::Ready(Err(error)) => self.fail(&error),
            encoder @ Op::Wait(_) => {
                self.state = State::Opening {
                    encoder,
                    held: Vec::new(),
                };
            }
        }
    }

    /// The body has ended. One that is too short is not recorded.
    pub(crate) fn end(&mut self) {
        if !self.is_off() && self.length.is_some_and(|length| length != self.seen) {
            self.abandon("the body was cut short");
        }
    }

    /// Publishes what was recorded.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                State::Off => return Poll::Ready(()),
                State::Held { .. } => self.open(),
                State::Opening { .. } => ready!(self.poll_open(cx)),
                State::Open(_) => self.commit(),
                State::Committing(commit) => {
                    if let Err(error) = ready!(Pin::new(commit).poll(cx)) {
                        self.fail(&error);
                    }
                    self.state = State::Off;
                }
            }
        }
    }

    pub(crate) fn abandon(&mut self, why: &'static str) {
        if !self.is_off() {
            tracing::debug!(key = %Redacted::new(&self.key), "not recorded: {why}");
            self.state = State::Off;
        }
    }

    fn open(&mut self) {
        if let State::Held { head, held } = std::mem::replace(&mut self.state, State::Off) {
            let framing = self.framing;
            let writer = self.store.create(&self.key, head);
            let encoder = writer.map(move |writer| writer.map(|w| Encoder::new(w, framing)));
            self.state = State::Opening { encoder, held };
        }
    }

    fn commit(&mut self) {
        if let State::Open(encoder) = std::mem::replace(&mut self.state, State::Off) {
            self.state = State::Committing(encoder.finish());
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.warned.store_failed(&self.key, "written", error);
        self.state = State::Off;
    }
}

fn join(pieces: &mut Vec<Bytes>) -> Bytes {
    match &mut pieces[..] {
        [] => Bytes::new(),
        [one] => std::mem::take(one),
        _ => std::mem::take(pieces).concat().into(),
    }
}
