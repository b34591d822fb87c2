//! The heads of answers, where Go is stricter than hyper, or tells more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use discovery_core::BoxError;
use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest head of a response, as in Go.
pub(super) const MAX_HEAD: usize = 10 << 20;

/// Refuses a body whose end can't be known, and a head that is too large.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), BoxError> {
    const BROKEN: &str = "net/http: HTTP/1.x transport connection broken";
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if size > MAX_HEAD {
        return Err(format!(
            "net/http: server response headers exceeded {MAX_HEAD} bytes; aborted"
        )
        .into());
    }
    if version >= Version::HTTP_2 {
        return Ok(());
    }
    let codings: Vec<_> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .map(|coding| String::from_utf8_lossy(coding.as_bytes()))
        .collect();
    match &codings[..] {
        [] => Ok(()),
        [coding] if coding.eq_ignore_ascii_case("chunked") => Ok(()),
        [coding] => Err(format!("{BROKEN}: unsupported transfer encoding: {coding:?}").into()),
        _ => Err(format!("{BROKEN}: too many transfer encodings: {codings:?}").into()),
    }
}

/// A connection of HTTP/1, on which the end inside of a head is an error of its own: a request that was answered so far is
/// not sent again.
pub(super) struct Heads<T> {
    io: T,
    place: Place,
}

/// The place in the answer to the request that was written last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    /// Whether the line so far is empty.
    Within(bool),
    Behind,
}

impl<T> Heads<T> {
    pub(super) const fn new(io: T) -> Self {
        Self {
            io,
            place: Place::Before,
        }
    }
}

impl Place {
    fn behind(self, bytes: &[u8]) -> Self {
        let mut place = self;
        for byte in bytes {
            place = match (place, byte) {
                (Self::Behind, _) | (Self::Within(true), b'\n') => return Self::Behind,
                (Self::Within(false), b'\n') => Self::Within(true),
                (Self::Within(is_empty), b'\r') => Self::Within(is_empty),
                _ => Self::Within(false),
            };
        }
        place
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heads<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, has_room) = (buf.filled().len(), buf.remaining() > 0);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let has_ended = match &read {
            Ok(()) => has_room && buf.filled().len() == before,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        if has_ended && matches!(self.place, Place::Within(_)) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "unexpected EOF",
            )));
        }
        self.place = self.place.behind(&buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heads<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.place == Place::Behind {
            self.place = Place::Before;
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.place == Place::Behind {
            self.place = Place::Before;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn the_end_of_a_body_has_to_be_known() {
        for (codings, is_known) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["identity"], false),
            (&["gzip, chunked"], false),
            (&["chunked", "chunked"], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, coding.parse().unwrap());
            }
            let checked = check(Version::HTTP_11, &headers);
            assert_eq!(checked.is_ok(), is_known, "{codings:?} {checked:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x", "a".repeat(MAX_HEAD).parse().unwrap());
        assert!(check(Version::HTTP_2, &headers).is_err());
    }

    #[tokio::test]
    async fn an_end_inside_of_a_head_is_told_from_others() {
        for (answer, is_cut) in [
            ("", false),
            ("H", true),
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nX: y\r\n", true),
            ("HTTP/1.1 200 OK\r\nX: y\r\n\r\n", false),
            ("HTTP/1.1 200 OK\n\nbody", false),
        ] {
            let (io, mut server) = tokio::io::duplex(1024);
            let mut heads = Heads::new(io);
            heads.write_all(b"GET").await.unwrap();
            server.write_all(answer.as_bytes()).await.unwrap();
            drop(server);
            let read = heads.read_to_end(&mut Vec::new()).await;
            assert_eq!(read.is_err(), is_cut, "{answer:?}");
        }
        // The answer to the next request has a head again.
        let (io, mut server) = tokio::io::duplex(1024);
        let mut heads = Heads::new(io);
        let mut read = [0; 1024];
        server
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nbody")
            .await
            .unwrap();
        assert!(heads.read(&mut read).await.unwrap() > 0);
        heads.write_all(b"GET").await.unwrap();
        server.write_all(b"HTTP").await.unwrap();
        assert!(heads.read(&mut read).await.unwrap() > 0);
        drop(server);
        let error = heads.read(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
