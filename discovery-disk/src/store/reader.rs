use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::DiskStore;
use super::access::Found;
use super::error::at;
use super::form::{LAST_LINE, SUM, Sum, last_line};
use super::fs::Stamp;
use super::stats::Counters;
use super::verified::Verified;

/// Reads the bytes of one value of a [`DiskStore`] piece by piece, for values that are too large for the memory: made by
/// [`DiskStore::reader`].
///
/// The bytes are those of the value that was there when the reader was made, whatever is written since. A value that
/// turns out to be damaged ends with an error of the kind [`InvalidData`](io::ErrorKind::InvalidData) or
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), and never as if it were whole.
pub struct DiskReader {
    source: Box<dyn Read + Send>,
    left: u64,
}

/// The stored bytes of a value, without its checksum, which is compared at their end.
struct Checked {
    file: File,
    /// How many bytes are still to come.
    left: u64,
    sum: Sum,
    /// The checksum so far, and the one that stands first in the file; `None` if it need not be compared.
    check: Option<(Sha256, [u8; SUM])>,
    /// Where the outcome is noted.
    note: Option<(Verified, Stamp)>,
    is_damaged: bool,
}

impl DiskStore {
    /// The value under `key`, piece by piece; `None` if there is none. The calls block for as long as the file system
    /// takes: a program with a runtime reads on a thread of its own.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::new(dir.path());
    /// store.put("key", Value::new("a ", "value")).await?;
    /// let mut text = String::new();
    /// store.reader("key")?.expect("it is there").read_to_string(&mut text)?;
    /// assert_eq!(text, "a value");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the store can't tell, as with [`get`](discovery_core::store::Store::get).
    pub fn reader(&self, key: &str) -> io::Result<Option<DiskReader>> {
        let Some(found) = self.find(key)? else {
            return Ok(None);
        };
        let is_verified = found
            .stamp
            .is_some_and(|stamp| self.verified().contains(&stamp));
        let reader = self.reader_of(found, is_verified)?;
        let counters = self.counters();
        if reader.is_some() {
            Counters::count(&counters.hits);
        } else {
            Counters::count(&counters.damaged);
            Counters::count(&counters.misses);
        }
        Ok(reader)
    }

    /// `None` if the file is too short for a value.
    pub(crate) fn reader_of(
        &self,
        mut found: Found,
        is_verified: bool,
    ) -> io::Result<Option<DiskReader>> {
        let form = self.options().form;
        let Some(left) = found.len.checked_sub(form.overhead() as u64) else {
            return Ok(None);
        };
        let mut first = [0; SUM];
        if form.sum == Sum::First {
            found
                .file
                .read_exact(&mut first)
                .map_err(at("read", &found.path))?;
        }
        let check = form.has_sum() && !is_verified;
        let checked = Checked {
            file: found.file,
            left,
            sum: form.sum,
            check: check.then(|| (Sha256::new(), first)),
            note: found
                .stamp
                .filter(|_| check)
                .map(|stamp| (self.verified().clone(), stamp)),
            is_damaged: false,
        };
        Ok(Some(DiskReader {
            source: form.compression.decoder(checked)?,
            left: self.options().max_value_size,
        }))
    }
}

impl Read for DiskReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(damaged("the value is larger than the store takes")),
        }
        Ok(read)
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return self.compare().map(|()| 0);
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((sum, _)) = &mut self.check {
            sum.update(&buffer[..read]);
        }
        self.left -= read as u64;
        // Before the last bytes are given out: their reader may not ask for more.
        if self.left == 0 {
            self.compare()?;
        }
        Ok(read)
    }
}

impl Checked {
    /// Compares the checksum, once.
    fn compare(&mut self) -> io::Result<()> {
        if self.is_damaged {
            return Err(damaged("the value's checksum is wrong"));
        }
        let Some((sum, first)) = self.check.take() else {
            return Ok(());
        };
        // Until it is known to be right.
        self.is_damaged = true;
        let sum = sum.finalize();
        let is_right = if self.sum == Sum::First {
            *sum == first
        } else {
            let mut line = [0; LAST_LINE];
            self.file.read_exact(&mut line)?;
            line == last_line(&sum).as_bytes()
        };
        if !is_right {
            return Err(damaged("the value's checksum is wrong"));
        }
        self.is_damaged = false;
        if let Some((verified, stamp)) = self.note.take() {
            verified.insert(stamp);
        }
        Ok(())
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl fmt::Debug for DiskReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskReader").finish_non_exhaustive()
    }
}
