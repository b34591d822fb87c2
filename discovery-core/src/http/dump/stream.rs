use std::fmt;
use std::io;

use bytes::Bytes;

use super::Framing;
use super::chunked;
use crate::store::{Op, Writer};

/// Writes the body of a dump piece by piece, for bodies that are too large to be held.
///
/// The [`Writer`] has been created with the bytes of [`encode_head`](super::encode_head); each write
/// is a chunk of its own if the framing is [`Framing::Chunked`]. Dropped before
/// [`finish`](Encoder::finish), it leaves no trace. As with the writer, each write returns the encoder
/// when it can take more.
///
/// ```
/// use bytes::Bytes;
/// use discovery_core::http::dump::{self, Encoder, Framing};
/// use discovery_core::store::{MapStore, Store};
/// use http::{Method, Response};
///
/// # tokio_test::block_on(async {
/// let store = MapStore::new();
/// let (parts, ()) = Response::new(()).into_parts();
/// let head = dump::encode_head(&Method::GET, &parts, Framing::Chunked, None);
/// let mut encoder = Encoder::new(store.create("key", head).await?, Framing::Chunked);
/// for piece in ["Hello, ", "world!"] {
///     encoder = encoder.write(piece.into()).await?;
/// }
/// encoder.finish().await?;
///
/// let value = store.get("key").await?.unwrap();
/// assert_eq!(dump::decode(&Method::GET, &value).unwrap().body(), "Hello, world!");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub struct Encoder {
    writer: Box<dyn Writer>,
    chunked: bool,
    /// Whether a chunk has been written, whose end is still to come.
    in_chunk: bool,
}

impl Encoder {
    /// Continues the value that `writer` was created for.
    #[must_use]
    pub fn new(writer: Box<dyn Writer>, framing: Framing) -> Self {
        Self {
            writer,
            chunked: framing == Framing::Chunked,
            in_chunk: false,
        }
    }

    /// Takes more of the body.
    ///
    /// # Errors
    ///
    /// The writer's.
    pub fn write(self, data: Bytes) -> Op<io::Result<Self>> {
        let Self {
            writer,
            chunked,
            in_chunk,
        } = self;
        let again = move |writer: io::Result<Box<dyn Writer>>| {
            writer.map(|writer| Self {
                writer,
                chunked,
                in_chunk: chunked,
            })
        };
        if !chunked {
            return writer.write(data).map(again);
        }
        if data.is_empty() {
            // An empty chunk would be the last one.
            return Op::Ready(Ok(Self {
                writer,
                chunked,
                in_chunk,
            }));
        }
        writer
            .write(chunked::start(data.len(), in_chunk))
            .and_then(|writer| writer.write(data))
            .map(again)
    }

    /// Ends the body and publishes the value.
    ///
    /// # Errors
    ///
    /// The writer's.
    pub fn finish(self) -> Op<io::Result<()>> {
        if !self.chunked {
            return self.writer.commit();
        }
        let last = match self.in_chunk {
            true => chunked::END_AND_LAST,
            false => chunked::LAST,
        };
        self.writer
            .write(Bytes::from_static(last))
            .and_then(Writer::commit)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("chunked", &self.chunked)
            .finish_non_exhaustive()
    }
}
