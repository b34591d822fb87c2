use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use discovery_core::store::{Op, Writer};

use super::DiskStore;
use super::access::Parts;
use super::fs::Stamp;
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
        self.publish(prefix).map(|published| published.map(drop))
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

    pub(crate) fn publish(mut self, prefix: &[u8]) -> Op<io::Result<Option<Stamp>>> {
        if prefix.len() != self.reserved {
            return Op::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the prefix is not as long as was reserved",
            )));
        }
        if self.failed {
            return Op::Ready(Err(io::Error::other("the value was not written whole")));
        }
        let Some(temp) = self.temp else {
            self.held[..prefix.len()].copy_from_slice(prefix);
            let parts: Parts = [Bytes::new(), Bytes::new(), self.held.into()];
            return self
                .store
                .replace_at(self.target, self.len, self.is_new, || parts);
        };
        let prefix = Bytes::copy_from_slice(prefix);
        let (store, target, held) = (self.store, self.target, self.held);
        let fsync = store.options().publish.fsync;
        let finish = move |permit: &Permit| {
            temp.write(&held)?;
            temp.fill_in(&prefix)?;
            store.publish(temp, &target, permit)
        };
        if fsync {
            offload(finish)
        } else {
            Op::Ready(finish(&Permit::default()))
        }
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
        self.store.check_size(len)?;
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

impl fmt::Debug for DiskWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWriter")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
