//! A body that goes into the store while it is read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::crowd::Lead;
use crate::sink::{Settled, Sink};

/// Frames go into the sink when they come, and to the reader when the sink has nothing to wait for:
/// with the last piece of the body the reader gets the certainty that the entry is in the
/// store, and may stop there.
///
/// If the end is not announced, it looks one frame ahead, so that the last piece is known to be the
/// last if the end has come along with it.
pub(crate) struct Tee<B: Body> {
    /// In a box, because it moves from the future to the response after it has been polled.
    body: Pin<Box<B>>,
    /// What has been read ahead of the reader.
    unread: VecDeque<Frame<Bytes>>,
    unread_bytes: u64,
    /// Those who wait for the entry.
    lead: Option<Lead>,
    /// What comes after what is unread.
    error: Option<B::Error>,
    ended: bool,
    /// `None` once there is nothing to store, or all is stored. The mutex is never locked: it makes
    /// a body that can be shared out of a writer that can't.
    sink: Option<Mutex<Box<Sink>>>,
    /// Whether the end comes unannounced.
    looks_ahead: bool,
    stored: bool,
}

impl<B: Body<Data = Bytes>> Tee<B> {
    pub(crate) fn new(body: B, expected: Option<u64>, mut sink: Box<Sink>) -> Self {
        if expected == Some(0) || body.is_end_stream() {
            sink.finish();
        }
        Self {
            body: Box::pin(body),
            unread: VecDeque::new(),
            unread_bytes: 0,
            lead: None,
            error: None,
            ended: false,
            sink: Some(Mutex::new(sink)),
            looks_ahead: expected.is_none(),
            stored: false,
        }
    }

    /// How much memory is taken by what has been read ahead, roughly: frames that are small, or have
    /// no data at all, take some, too.
    pub(crate) fn unread_cost(&self) -> u64 {
        const FRAME: u64 = 128;
        self.unread_bytes + self.unread.len() as u64 * FRAME
    }

    /// Tells those who wait when the entry is in the store, or never will be. Dropped before, it hands
    /// the lead on.
    pub(crate) fn lead(&mut self, lead: Lead) {
        self.lead = Some(lead);
    }

    /// Whether the entry is in the store.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether there is something left to store.
    pub(crate) fn is_storing(&self) -> bool {
        self.sink.is_some()
    }

    /// Waits for the store, if it has to be waited for.
    pub(crate) fn poll_store(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sink) = sink(&mut self.sink) {
            match ready!(sink.poll_settled(cx)) {
                Settled::Open => {}
                settled => {
                    self.stored = settled == Settled::Stored;
                    self.sink = None;
                    match self.lead.take() {
                        Some(lead) if self.stored => lead.land(),
                        Some(lead) => lead.release(),
                        None => {}
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Reads one frame ahead.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            return Poll::Ready(());
        }
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        let sink = sink(&mut self.sink);
        match frame {
            Some(Ok(frame)) => {
                // Trailers come after all data. They are passed on, and not stored.
                let last = frame.is_trailers() || self.body.is_end_stream();
                if let Some(data) = frame.data_ref() {
                    self.unread_bytes += data.len() as u64;
                }
                if let Some(sink) = sink {
                    if let Some(data) = frame.data_ref() {
                        sink.push(data);
                    }
                    if last {
                        sink.finish();
                    }
                }
                self.unread.push_back(frame);
            }
            Some(Err(error)) => {
                self.error = Some(error);
                self.ended = true;
                if let Some(sink) = sink {
                    sink.give_up("the body failed");
                }
            }
            None => {
                self.ended = true;
                if let Some(sink) = sink {
                    sink.finish();
                }
            }
        }
        Poll::Ready(())
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        ready!(self.poll_store(cx));
        while !self.ended && self.unread.len() < 2 {
            let enough = !self.unread.is_empty();
            if enough && !(self.looks_ahead && self.sink.is_some()) {
                break;
            }
            match self.poll_ahead(cx) {
                Poll::Ready(()) => ready!(self.poll_store(cx)),
                Poll::Pending if enough => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Some(frame) = self.unread.pop_front() {
            let size = frame.data_ref().map_or(0, Bytes::len);
            self.unread_bytes -= size as u64;
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(self.error.take().map(Err))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.unread.is_empty()
            && self.error.is_none()
            && self.sink.is_none()
            && (self.ended || self.body.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        // An error that is still to be delivered is not the end: a server takes an exact hint for the length of
        // the whole body, and would end it there.
        let mut hint = if self.error.is_some() {
            SizeHint::default()
        } else if self.ended {
            SizeHint::with_exact(0)
        } else {
            self.body.size_hint()
        };
        let unread = self.unread_bytes;
        let upper = hint.upper().map(|upper| upper.saturating_add(unread));
        let lower = hint.lower().saturating_add(unread);
        // In this order, because the lower bound must not pass the upper one.
        hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        hint
    }
}

fn sink(slot: &mut Option<Mutex<Box<Sink>>>) -> Option<&mut Sink> {
    let sink = slot.as_mut()?.get_mut();
    Some(sink.unwrap_or_else(PoisonError::into_inner))
}
