use std::fmt;
use std::io;

use bytes::Bytes;

use super::Framing;
use super::chunked;
use crate::store::{Op, Writer};

/// Writes the body of a dump bit by bit, for bodies that are too large to be held.
///
/// The [`Writer`] has been created with what [`encode_head`](super::encode_head) gives; each write
/// is a chunk of its own if the framing is [`Framing::Chunked`]. Dropped before
/// [`finish`](Encoder::finish), it leaves no trace.
///
/// ```
/// use bytes::Bytes;
/// use discovery_core::dump::{self, Encoder, Framing};
/// use discovery_core::store::{MapStore, Store};
/// use http::{Method, Response};
///
/// # tokio_test::block_on(async {
/// let store = MapStore::new();
/// let (parts, ()) = Response::new(()).into_parts();
/// let head = dump::encode_head(&Method::GET, &parts, Framing::Chunked, None);
/// let mut encoder = Encoder::new(store.create("key", head).await?, Framing::Chunked);
/// encoder.write(&"Hello, ".into())?;
/// encoder.write(&"world!".into())?;
/// encoder.finish()?.await?;
///
/// let value = store.get("key").await?.unwrap();
/// assert_eq!(dump::decode(&Method::GET, &value).unwrap().body(), "Hello, world!");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub struct Encoder {
    writer: Box<dyn Writer>,
    chunked: bool,
}

impl Encoder {
    /// Continues what `writer` was created for.
    #[must_use]
    pub fn new(writer: Box<dyn Writer>, framing: Framing) -> Self {
        Self {
            writer,
            chunked: framing == Framing::Chunked,
        }
    }

    /// Takes more of the body.
    ///
    /// # Errors
    ///
    /// The writer's. The encoder is of no use then.
    pub fn write(&mut self, data: &Bytes) -> io::Result<()> {
        if !self.chunked {
            return self.writer.write(data);
        }
        if data.is_empty() {
            // An empty chunk would be the last one.
            return Ok(());
        }
        self.writer.write(&chunked::start(data.len()))?;
        self.writer.write(data)?;
        self.writer.write(&Bytes::from_static(b"\r\n"))
    }

    /// Ends the body and publishes the value.
    ///
    /// # Errors
    ///
    /// The writer's, at once or when awaited.
    pub fn finish(mut self) -> io::Result<Op<io::Result<()>>> {
        if self.chunked {
            self.writer.write(&Bytes::from_static(chunked::LAST))?;
        }
        Ok(self.writer.commit())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("chunked", &self.chunked)
            .finish_non_exhaustive()
    }
}
