//! What is left to do between the server's answer and the caller's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use discovery_core::store::Op;
use http::{Response, response};

use crate::body::Body;
use crate::cache::Cache;
use crate::crowd::Lead;
use crate::sink::HOLD;
use crate::tee::Tee;

/// How much of a body is read ahead of the caller if it is there already and nobody waits for it.
const AHEAD: u64 = 64 * 1024;

/// An answer that waits for the store.
pub(crate) struct Settle<B: http_body::Body, E> {
    pub(crate) key: String,
    pub(crate) ops: Vec<Op<io::Result<()>>>,
    /// Those who wait, and whether there is something for them in the store.
    pub(crate) lead: Option<Lead>,
    pub(crate) lands: bool,
    pub(crate) result: Result<Response<Body<B>>, E>,
}

/// A response whose body is about to be stored.
pub(crate) struct Drain<B: http_body::Body> {
    pub(crate) tee: Box<Tee<B>>,
    pub(crate) parts: response::Parts,
    pub(crate) lead: Option<Lead>,
}

impl<B: http_body::Body, E> Settle<B, E> {
    pub(crate) fn poll(&mut self, cache: &Cache, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(op) = self.ops.last_mut() {
            if let Err(error) = ready!(Pin::new(op).poll(cx)) {
                cache.store_failed(&self.key, "write", &error);
                self.lands = false;
            }
            self.ops.pop();
        }
        Poll::Ready(())
    }

    pub(crate) fn finish(self) -> Result<Response<Body<B>>, E> {
        end(self.lead, self.lands);
        self.result
    }
}

impl<B: http_body::Body<Data = Bytes>> Drain<B> {
    /// Ready when the caller is to have the response.
    ///
    /// While others wait, that is when all of the body is in the store, so that they need not wait
    /// for this caller to read it; unless it is too large to be held. Otherwise it is as soon
    /// as there is nothing more to read without waiting.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.tee.poll_store(cx));
            let awaited = self.lead.as_ref().is_some_and(Lead::is_awaited);
            let limit = if awaited { HOLD } else { AHEAD };
            if !self.tee.is_storing() || self.tee.unread_cost() >= limit {
                return Poll::Ready(());
            }
            match self.tee.poll_ahead(cx) {
                Poll::Ready(()) => {}
                Poll::Pending if awaited => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
        }
    }

    pub(crate) fn finish(mut self, cache: &Cache) -> Response<Body<B>> {
        if self.tee.is_storing() {
            // There is more to read, and nobody knows when the caller will.
            match self.lead {
                // The others know how long they wait.
                Some(lead) if lead.is_awaited() && cache.config.patience.is_some() => {
                    self.tee.lead(lead);
                }
                Some(lead) if lead.is_awaited() => lead.release(),
                // Whoever comes in this moment leads.
                lead => drop(lead),
            }
        } else {
            end(self.lead, self.tee.is_stored());
        }
        Response::from_parts(self.parts, Body::teed(self.tee))
    }
}

/// Tells those who wait.
pub(crate) fn end(lead: Option<Lead>, lands: bool) {
    match lead {
        Some(lead) if lands => lead.land(),
        Some(lead) => lead.release(),
        None => {}
    }
}
