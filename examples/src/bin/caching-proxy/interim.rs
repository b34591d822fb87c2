//! Informational responses (1xx) on their way to the client.
//!
//! hyper's server has no way to send them, so they are written between its writes: where it flushes,
//! all that it had to write is written, and the final response has not begun.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hop;

/// Upper bound of the bytes that wait for a client. Responses beyond it are left out: they are only
/// information, and a server may send them without end.
const MOST: usize = 64 * 1024;

/// A connection to a client, with a way to write informational responses on it.
pub(crate) struct Connection<IO> {
    io: IO,
    queue: Queue,
}

/// The informational responses that wait to be written on a connection.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    bytes: BytesMut,
    /// Whether some of the bytes are written, so that the others must follow.
    begun: bool,
    /// The request whose responses are taken: those of earlier ones come too late.
    current: u64,
    /// The connection's task.
    waker: Option<Waker>,
}

/// The right to send informational responses to one request.
#[derive(Clone)]
pub(crate) struct Sender {
    queue: Queue,
    request: u64,
}

impl Queue {
    /// Begins with a request.
    pub(crate) fn begin(&self) -> Sender {
        let mut waiting = self.lock();
        waiting.current += 1;
        Sender {
            queue: self.clone(),
            request: waiting.current,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let mut waiting = self.queue.lock();
        if waiting.current != self.request {
            return;
        }
        let mut headers = headers.clone();
        hop::remove(&mut headers);
        let reason = status.canonical_reason().unwrap_or_default();
        let mut out = BytesMut::new();
        out.put_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        for (name, value) in &headers {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"\r\n");
        if waiting.bytes.len() + out.len() > MOST {
            return;
        }
        waiting.bytes.unsplit(out);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// To be awaited before the final response: nothing is taken for this request any longer. What
    /// the client is too slow for is left out.
    pub(crate) async fn end(self) {
        let is_empty = {
            let mut waiting = self.queue.lock();
            waiting.current += 1;
            waiting.bytes.is_empty()
        };
        if !is_empty {
            // The connection flushes meanwhile.
            tokio::task::yield_now().await;
            let mut waiting = self.queue.lock();
            if !waiting.begun {
                waiting.bytes.clear();
            }
        }
    }
}

impl<IO> Connection<IO> {
    pub(crate) fn new(io: IO) -> (Self, Queue) {
        let queue = Queue::default();
        let connection = Self {
            io,
            queue: queue.clone(),
        };
        (connection, queue)
    }
}

impl<IO: AsyncWrite + Unpin> Connection<IO> {
    /// Writes what waits, or only what has begun.
    fn poll_waiting(&mut self, cx: &mut Context<'_>, begin: bool) -> Poll<io::Result<()>> {
        let mut waiting = self.queue.lock();
        while !waiting.bytes.is_empty() && (begin || waiting.begun) {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &waiting.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            waiting.bytes.advance(written);
            waiting.begun = !waiting.bytes.is_empty();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.queue.lock().waker = Some(cx.waker().clone());
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_waiting(cx, false))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue.lock().waker = Some(cx.waker().clone());
        ready!(self.poll_waiting(cx, true))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn informational_responses_without_end_are_left_out_at_the_limit() {
        let (_connection, queue) = Connection::new(tokio::io::duplex(1).0);
        let sender = queue.begin();
        let mut headers = HeaderMap::new();
        headers.insert("x-long", HeaderValue::from_str(&"x".repeat(1000)).unwrap());
        for _ in 0..1000 {
            sender.send(StatusCode::PROCESSING, &headers);
        }
        let waiting = queue.lock().bytes.len();
        assert!((MOST - 2000..=MOST).contains(&waiting), "{waiting}");
    }
}
