//! The body of a response, orderly or not.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{Notify, mpsc::UnboundedReceiver};

use super::log::Ticket;

/// The size of the frames of an endless body.
const CHUNK: usize = 16 * 1024;

/// A response body that closes its log entry when it is sent or dropped.
#[derive(Debug)]
pub(super) struct Body {
    plan: Plan,
    ticket: Ticket,
}

#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing, of no particular length: the head says what there would be.
    Nothing,
    /// All of it, with its length.
    Sized(Bytes),
    /// All of it, without.
    Unsized(Bytes),
    /// This, of a body that would have had so many bytes (if it is known), and then silence.
    Stall(Bytes, Option<u64>),
    /// The same, and then the connection is closed.
    Cut(Bytes, Option<u64>, Arc<Notify>),
    /// This over and over.
    Endless(Bytes),
    /// Bytes as they come, as long as some can come.
    Watch(UnboundedReceiver<Bytes>),
}

impl Body {
    pub(super) fn new(plan: Plan, mut ticket: Ticket) -> Self {
        let plan = match plan {
            // A frame at a time, but none of a few bytes only.
            Plan::Endless(unit) if unit.len() < CHUNK => {
                let unit = if unit.is_empty() {
                    Bytes::from_static(b" ")
                } else {
                    unit
                };
                Plan::Endless(unit.repeat(CHUNK.div_ceil(unit.len())).into())
            }
            plan => plan,
        };
        if plan.is_done() {
            ticket.finish();
        }
        Self { plan, ticket }
    }
}

impl Plan {
    fn is_done(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Sized(rest) | Self::Unsized(rest) => rest.is_empty(),
            Self::Stall(..) | Self::Cut(..) | Self::Endless(_) | Self::Watch(_) => false,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let bytes = match &mut this.plan {
            Plan::Nothing => return Poll::Ready(None),
            Plan::Sized(rest) | Plan::Unsized(rest) if rest.is_empty() => return Poll::Ready(None),
            Plan::Endless(unit) => unit.clone(),
            Plan::Watch(events) => match ready!(events.poll_recv(cx)) {
                Some(events) => events,
                None => {
                    this.ticket.finish();
                    return Poll::Ready(None);
                }
            },
            // No waker is kept: the connection goes on flushing, and is then closed from outside,
            // or by the other side.
            Plan::Stall(rest, _) if rest.is_empty() => return Poll::Pending,
            Plan::Cut(rest, _, connection) if rest.is_empty() => {
                connection.notify_one();
                return Poll::Pending;
            }
            Plan::Sized(rest)
            | Plan::Unsized(rest)
            | Plan::Stall(rest, _)
            | Plan::Cut(rest, ..) => std::mem::take(rest),
        };
        this.ticket.sent(bytes.len());
        if this.plan.is_done() {
            this.ticket.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.plan.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.plan {
            Plan::Sized(rest) => SizeHint::with_exact(rest.len() as u64),
            Plan::Stall(_, Some(length)) | Plan::Cut(_, Some(length), _) => {
                SizeHint::with_exact(*length)
            }
            _ => SizeHint::new(),
        }
    }
}
