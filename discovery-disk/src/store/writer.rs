use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use discovery_core::store::{Op, Writer};

use super::DiskStore;
use super::form::Encoder;
use super::offload::{Permit, offload};
use super::temp::TempFile;

/// How many bytes are held before they are written. A value that is no longer needs a temporary
/// file only if it differs from what is there.
const HELD: usize = 256 * 1024;

/// Takes the bytes of one value for a [`DiskStore`]. Dropped before it is committed, it removes
/// its temporary file. After a write that failed it can't be committed any more.
///
/// Writes of long values go to the page cache in place, on the thread that writes, a piece of at
/// least 256 KiB at a time.
///
/// [`DiskStore::create_reserved`] makes one.
pub struct DiskWriter {
    store: DiskStore,
    target: PathBuf,
    /// Whether nothing was there, so that there is nothing to compare with.
    is_new: bool,
    /// How many bytes at the start are filled in last.
    reserved: usize,
    /// Not yet written. Starts with the reserved bytes as long as there is no file.
    held: Vec<u8>,
    temp: Option<TempFile>,
    len: u64,
    /// Whether bytes were refused: what is there has a gap.
    failed: bool,
}

impl DiskWriter {
    pub(crate) fn new(
        store: DiskStore,
        target: PathBuf,
        is_new: bool,
        reserved: usize,
        head: &[u8],
    ) -> io::Result<Self> {
        let mut writer = Self {
            store,
            target,
            is_new,
            reserved,
            held: vec![0; reserved],
            temp: None,
            len: reserved as u64,
            failed: false,
        };
        writer.take(head)?;
        Ok(writer)
    }

    /// Fills in the reserved bytes and publishes the value under its key, at once and whole.
    ///
    /// # Errors
    ///
    /// When it could not be published, when bytes of it could not be taken, or when `prefix` is not
    /// as long as was reserved. The value that was there before is still there.
    pub fn commit_with(self, prefix: &[u8]) -> Op<io::Result<()>> {
        self.publish(Bytes::copy_from_slice(prefix))
    }

    /// Takes more bytes, behind those it has.
    ///
    /// # Errors
    ///
    /// When the bytes could not be taken. The value can't be committed any more then.
    pub fn append(&mut self, data: &[u8]) -> io::Result<()> {
        // Until it is known that all went well.
        let failed = std::mem::replace(&mut self.failed, true);
        self.take(data)?;
        self.failed = failed;
        Ok(())
    }

    fn publish(self, prefix: Bytes) -> Op<io::Result<()>> {
        let options = self.store.options();
        let is_long = self.temp.is_none() && self.len > options.max_inline_size;
        if is_long || options.publish.fsync {
            offload(move |permit| self.publish_here(&prefix, permit))
        } else {
            Op::Ready(self.publish_here(&prefix, &Permit::default()))
        }
    }

    fn publish_here(mut self, prefix: &[u8], permit: &Permit) -> io::Result<()> {
        if prefix.len() != self.reserved {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the prefix is not as long as was reserved",
            ));
        }
        if self.failed {
            return Err(io::Error::other("the value was not written whole"));
        }
        let (store, target) = (&self.store, &self.target);
        let Some(temp) = self.temp else {
            self.held[..prefix.len()].copy_from_slice(prefix);
            let held = Bytes::from(self.held);
            let parts = || Ok([Bytes::new(), Bytes::new(), held, Bytes::new()]);
            return store.replace_here(target, self.is_new, parts, permit);
        };
        temp.write(&self.held)?;
        temp.fill_in(prefix)?;
        let replaced = store.len_of(target);
        store.publish(temp, target, self.len, replaced, permit)
    }

    /// Moves what is held to the temporary file.
    fn flush(&mut self) -> io::Result<&TempFile> {
        let temp = match self.temp.take() {
            Some(temp) => temp,
            None => self.store.open_temp()?,
        };
        let temp = self.temp.insert(temp);
        temp.write(&self.held)?;
        self.held.clear();
        Ok(temp)
    }

    fn take(&mut self, data: &[u8]) -> io::Result<()> {
        let len = self.len + data.len() as u64;
        self.store.check_file_size(len)?;
        self.store.check_bound(len)?;
        if self.held.len() + data.len() <= HELD {
            self.held.extend_from_slice(data);
        } else {
            let temp = self.flush()?;
            if data.len() > HELD {
                temp.write(data)?;
            } else {
                self.held.extend_from_slice(data);
            }
        }
        self.len = len;
        Ok(())
    }
}

impl Writer for DiskWriter {
    fn write(mut self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(self.append(&data).map(|()| self as Box<dyn Writer>))
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        self.commit_with(&[])
    }
}

/// Takes the bytes of one value, and writes them in the store's form.
pub(crate) struct ValueWriter {
    writer: DiskWriter,
    encoder: Encoder,
    /// The size of the value so far.
    len: u64,
}

impl ValueWriter {
    pub(crate) fn new(store: DiskStore, target: PathBuf, is_new: bool) -> io::Result<Self> {
        let encoder = Encoder::new(store.options().form)?;
        let writer = DiskWriter::new(store, target, is_new, encoder.reserved(), &[])?;
        Ok(Self {
            writer,
            encoder,
            len: 0,
        })
    }

    pub(crate) fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let len = self.len + data.len() as u64;
        let taken = self.writer.store.check_size(len).and_then(|()| {
            let bytes = self.encoder.push(data)?;
            self.writer.append(&bytes)
        });
        self.writer.failed |= taken.is_err();
        self.len = len;
        taken
    }

    pub(crate) fn publish_here(self, permit: &Permit) -> io::Result<()> {
        let (writer, first) = self.end()?;
        writer.publish_here(&first, permit)
    }

    /// Writes all but the first bytes.
    fn end(mut self) -> io::Result<(DiskWriter, Bytes)> {
        let end = self.encoder.finish()?;
        if !end.rest.is_empty() {
            self.writer.append(&end.rest)?;
        }
        Ok((self.writer, end.first))
    }
}

impl Writer for ValueWriter {
    fn write(mut self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(self.append(&data).map(|()| self as Box<dyn Writer>))
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        match self.end() {
            Ok((writer, first)) => writer.publish(first),
            Err(error) => Op::Ready(Err(error)),
        }
    }
}

impl fmt::Debug for DiskWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWriter")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
