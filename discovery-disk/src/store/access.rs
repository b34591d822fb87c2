//! How values are read and written.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use discovery_core::store::{Op, Value};

use super::DiskStore;
use super::bounds::Bounds;
use super::error::{Shown, at};
use super::form::Parts;
use super::fs::{Stamp, has_mode};
use super::offload::{Permit, offload};
use super::stats::Counters;
use super::sweep::sweep_quietly;
use super::temp::{TempFile, parent, sync_dir};

/// How much is compared at once when a value may be there already.
const COMPARED_AT_ONCE: usize = 64 * 1024;

/// A value's file.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
    pub(crate) stamp: Option<Stamp>,
    modified: Option<SystemTime>,
}

/// The value that was found where another is to be written.
enum Before {
    /// These very bytes. They look new now.
    Renewed(Option<Stamp>),
    /// Another value, of this size, or none.
    Other(Option<u64>),
}

impl Found {
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        metadata: &Metadata,
        stamp: Option<Stamp>,
    ) -> Self {
        Self {
            file,
            path,
            len: metadata.len(),
            stamp,
            modified: metadata.modified().ok(),
        }
    }
}

impl DiskStore {
    /// Opens the file of a value.
    pub(crate) fn find(&self, key: &str) -> io::Result<Option<Found>> {
        let found = self.find_uncounted(key)?;
        if found.is_none() {
            Counters::count(&self.counters().misses);
        }
        Ok(found)
    }

    fn find_uncounted(&self, key: &str) -> io::Result<Option<Found>> {
        let Some(path) = self.path(key).filter(|_| self.is_trusted()) else {
            return Ok(None);
        };
        let Some((file, metadata)) = self.fs().open(&path).map_err(at("open", &path))? else {
            self.misses().insert(key);
            return Ok(None);
        };
        let len = metadata.len();
        if len > self.max_file_size() {
            tracing::debug!(path = %Shown(&path), len, "file too large for a value");
            return Ok(None);
        }
        if self.has_expired(&metadata) {
            tracing::debug!(path = %Shown(&path), "value too old");
            return Ok(None);
        }
        let stamp = self.note_use(&file, &path, &metadata);
        Ok(Some(Found::new(file, path, &metadata, stamp)))
    }

    /// Reads a value.
    pub(crate) fn read(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        if let Some(value) = self.cached(key) {
            return Op::Ready(Ok(Some(value)));
        }
        let found = match self.find(key) {
            Ok(Some(found)) => found,
            Ok(None) => return Op::Ready(Ok(None)),
            Err(error) => return Op::Ready(Err(error)),
        };
        if found.len <= self.options().max_inline_size {
            return Op::Ready(self.read_found(key, &found));
        }
        let (store, key) = (self.clone(), key.to_owned());
        offload(move |_| store.read_found(&key, &found))
    }

    fn read_found(&self, key: &str, found: &Found) -> io::Result<Option<Value>> {
        let Some(file) = self.read_whole(found)? else {
            Counters::count(&self.counters().damaged);
            Counters::count(&self.counters().misses);
            return Ok(None);
        };
        let form = self.options().form;
        let is_verified = !form.has_sum()
            || found
                .stamp
                .is_some_and(|stamp| self.verified().contains(&stamp));
        match form.decode(file, is_verified, self.options().max_value_size) {
            Ok(bytes) => {
                if let Some(stamp) = found.stamp {
                    if !is_verified {
                        self.verified().insert(stamp);
                    }
                    self.cache(key, stamp, &bytes);
                }
                Counters::count(&self.counters().hits);
                Counters::add(&self.counters().bytes_read, found.len);
                let mut value = Value::new(Bytes::new(), bytes);
                value.stored_at = found.modified;
                Ok(Some(value))
            }
            Err(damage) => {
                tracing::debug!(path = %Shown(&found.path), damage, "damaged value treated as missing");
                Counters::count(&self.counters().damaged);
                Counters::count(&self.counters().misses);
                Ok(None)
            }
        }
    }

    /// Reads a file of known length, or returns `None` if it is shorter by now. Values are replaced,
    /// never changed: that file is damaged.
    fn read_whole(&self, found: &Found) -> io::Result<Option<Bytes>> {
        let len = usize::try_from(found.len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let path = &found.path;
        match self.fs().read_first(&found.file, path, len) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!(path = %Shown(path), "file shortened while it was read");
                Ok(None)
            }
            Err(error) => Err(at("read", path)(error)),
        }
    }

    /// Writes a value, whose file is put together on the thread that writes.
    pub(crate) fn replace(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        let len = value.len() as u64;
        let target = match self.check_size(len).and_then(|()| self.target(key)) {
            Ok(target) => target,
            Err(error) => return Op::Ready(Err(error)),
        };
        let is_new = self.misses().take(key);
        let form = self.options().form;
        self.replace_at(target, len, is_new, move || form.encode(value))
    }

    /// The same at a known place. A value that `is_new` is not compared with the file.
    pub(crate) fn replace_at<F>(
        &self,
        target: PathBuf,
        len: u64,
        is_new: bool,
        parts: F,
    ) -> Op<io::Result<()>>
    where
        F: FnOnce() -> io::Result<Parts> + Send + 'static,
    {
        if len <= self.options().max_inline_size && !self.options().publish.fsync {
            return Op::Ready(self.replace_here(&target, is_new, parts, &Permit::default()));
        }
        let store = self.clone();
        offload(move |permit| store.replace_here(&target, is_new, parts, permit))
    }

    pub(crate) fn replace_here(
        &self,
        target: &Path,
        is_new: bool,
        parts: impl FnOnce() -> io::Result<Parts>,
        permit: &Permit,
    ) -> io::Result<()> {
        let parts = parts()?;
        let len = parts.iter().map(|part| part.len() as u64).sum();
        self.check_bound(len)?;
        let mut replaced = None;
        if !is_new {
            match self.renew(target, &parts)? {
                Before::Renewed(stamp) => {
                    Counters::count(&self.counters().renewed);
                    self.learn(stamp);
                    self.note_key(target);
                    return Ok(());
                }
                Before::Other(len) => replaced = len,
            }
        }
        let temp = self.open_temp()?;
        temp.write_parts(parts.each_ref().map(|part| &**part))?;
        self.publish(temp, target, len, replaced, permit)
    }

    pub(crate) fn open_temp(&self) -> io::Result<TempFile> {
        self.check_trust()?;
        if !self.swept().swap(true, Ordering::Relaxed) {
            sweep_quietly(self.fs(), self.temp(), "", self.now());
        }
        let options = self.options();
        TempFile::create(self.fs(), self.temp(), "", options.publish)
    }

    /// Gives a file of `len` bytes its name. `replaced` is the size of the file that has it, if that is known.
    pub(crate) fn publish(
        &self,
        mut temp: TempFile,
        target: &Path,
        len: u64,
        replaced: Option<u64>,
        permit: &Permit,
    ) -> io::Result<()> {
        let how = self.options().publish;
        if self.options().bounds != Bounds::default() {
            temp.set_times(self.now())?;
        }
        temp.prepare(how, self.options().form.has_sum())?;
        let renamed = permit.run(|| temp.rename(target, how))?;
        self.note_written(target, len, replaced);
        self.learn(renamed.settle(target, how)?);
        Ok(())
    }

    /// Takes the state of a file that was just written, and so has the right checksum.
    fn learn(&self, stamp: Option<Stamp>) {
        if let Some(stamp) = stamp
            && self.options().form.has_sum()
        {
            self.verified().insert(stamp);
        }
    }

    pub(crate) fn note_written(&self, target: &Path, len: u64, replaced: Option<u64>) {
        Counters::count(&self.counters().written);
        Counters::add(&self.counters().bytes_written, len);
        self.note_key(target);
        self.note_write(len, replaced);
    }

    /// If the file already has these bytes and this mode, makes it look new.
    ///
    /// This needs no lock: should another process replace the file meanwhile, then its value came
    /// after this one.
    ///
    /// # Errors
    ///
    /// When it does, and can't be brought to the disk.
    fn renew(&self, target: &Path, parts: &Parts) -> io::Result<Before> {
        let Ok(Some((file, metadata))) = self.fs().open(target) else {
            return Ok(Before::Other(None));
        };
        let other = Before::Other(Some(metadata.len()));
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if metadata.len() != len
            || !has_mode(&metadata, self.options().publish.file_mode)
            || !self.has_content(&file, target, parts).unwrap_or(false)
        {
            return Ok(other);
        }
        // Not allowed for another user's file: that is replaced.
        if self.fs().touch(&file, target, self.now()).is_err() {
            return Ok(other);
        }
        if self.options().publish.fsync {
            // Its writer may not have waited for that.
            self.fs().sync(&file, target).map_err(at("sync", target))?;
            sync_dir(self.fs(), parent(target))?;
        }
        let stamp = file.metadata().ok().as_ref().and_then(Stamp::of);
        Ok(Before::Renewed(stamp))
    }

    fn has_content(&self, file: &File, path: &Path, parts: &Parts) -> io::Result<bool> {
        let mut buffer = Vec::new();
        for expected in parts.iter().flat_map(|part| part.chunks(COMPARED_AT_ONCE)) {
            buffer.resize(expected.len(), 0);
            self.fs().read_exact(file, path, &mut buffer)?;
            if buffer != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
