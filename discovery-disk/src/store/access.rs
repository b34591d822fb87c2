//! How values are read and written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use discovery_core::store::Op;

use super::DiskStore;
use super::error::{Shown, at};
use super::fs::{Fs, Stamp, has_mode};
use super::offload::{Permit, offload};
use super::sweep::sweep_quietly;
use super::temp::{TempFile, parent, sync_dir};

/// The parts of a file, in this order.
pub(crate) type Parts = [Bytes; 3];

/// How much is compared at once when a value may be there already.
const COMPARED_AT_ONCE: usize = 64 * 1024;

impl DiskStore {
    /// Reads a value and decodes it, on the same thread.
    pub(crate) fn read<T, F>(&self, key: &str, decode: F) -> Op<io::Result<Option<T>>>
    where
        T: Send + 'static,
        F: FnOnce(Bytes, Option<Stamp>, &Path) -> Option<T> + Send + 'static,
    {
        let Some(path) = self.path(key) else {
            return Op::Ready(Ok(None));
        };
        let (file, metadata) = match self.fs().open(&path) {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                self.misses().insert(key);
                return Op::Ready(Ok(None));
            }
            Err(error) => return Op::Ready(Err(at("open", &path)(error))),
        };
        let len = metadata.len();
        if len > self.options().max_value_size {
            tracing::debug!(path = %Shown(&path), len, "file too large for a value");
            return Op::Ready(Ok(None));
        }
        let fs = self.fs().clone();
        let stamp = Stamp::of(&metadata);
        let read = move |_: &Permit| {
            let Some(bytes) = read_whole(&fs, &file, &path, len)? else {
                return Ok(None);
            };
            Ok(decode(bytes, stamp, &path))
        };
        if len <= self.options().max_inline_size {
            Op::Ready(read(&Permit::default()))
        } else {
            offload(read)
        }
    }

    /// Writes a value of `len` bytes in all, which `parts` puts together on the thread that writes.
    pub(crate) fn replace<F>(&self, key: &str, len: u64, parts: F) -> Op<io::Result<Option<Stamp>>>
    where
        F: FnOnce() -> Parts + Send + 'static,
    {
        match self.check_size(len).and_then(|()| self.target(key)) {
            Ok(target) => {
                let is_new = self.misses().take(key);
                self.replace_at(target, len, is_new, parts)
            }
            Err(error) => Op::Ready(Err(error)),
        }
    }

    /// The same at a known place. A value that `is_new` is not compared with the file.
    pub(crate) fn replace_at<F>(
        &self,
        target: PathBuf,
        len: u64,
        is_new: bool,
        parts: F,
    ) -> Op<io::Result<Option<Stamp>>>
    where
        F: FnOnce() -> Parts + Send + 'static,
    {
        let store = self.clone();
        let write = move |permit: &Permit| {
            let parts = parts();
            if !is_new && let Some(stamp) = store.renew(&target, len, &parts)? {
                return Ok(stamp);
            }
            let temp = store.open_temp()?;
            temp.write_parts(parts.each_ref().map(|part| &**part))?;
            store.publish(temp, &target, permit)
        };
        if len <= self.options().max_inline_size && !self.options().publish.fsync {
            Op::Ready(write(&Permit::default()))
        } else {
            offload(write)
        }
    }

    pub(crate) fn open_temp(&self) -> io::Result<TempFile> {
        if !self.swept().swap(true, Ordering::Relaxed) {
            sweep_quietly(self.fs(), self.temp(), "", self.now());
        }
        let options = self.options();
        TempFile::create(self.fs(), self.temp(), "", options.publish)
    }

    pub(crate) fn publish(
        &self,
        temp: TempFile,
        target: &Path,
        permit: &Permit,
    ) -> io::Result<Option<Stamp>> {
        let how = self.options().publish;
        temp.prepare(how)?;
        let renamed = permit.run(|| temp.rename(target, how))?;
        renamed.settle(target, how)
    }

    /// If the file already has these bytes and this mode, makes it look new and returns its stamp.
    ///
    /// This needs no lock: should another process replace the file meanwhile, then its value came
    /// after this one.
    ///
    /// # Errors
    ///
    /// When it does, and can't be brought to the disk.
    fn renew(&self, target: &Path, len: u64, parts: &Parts) -> io::Result<Option<Option<Stamp>>> {
        let Some(file) = self.renewed(target, len, parts) else {
            return Ok(None);
        };
        if self.options().publish.fsync {
            // Its writer may not have waited for that.
            self.fs().sync(&file, target).map_err(at("sync", target))?;
            sync_dir(self.fs(), parent(target))?;
        }
        Ok(Some(file.metadata().ok().as_ref().and_then(Stamp::of)))
    }

    fn renewed(&self, target: &Path, len: u64, parts: &Parts) -> Option<File> {
        let (file, metadata) = self.fs().open(target).ok()??;
        if metadata.len() != len || !has_mode(&metadata, self.options().publish.file_mode) {
            return None;
        }
        if !self.has_content(&file, target, parts).ok()? {
            return None;
        }
        // Not allowed for another user's file: that is replaced.
        self.fs().touch(&file, target, self.now()).ok()?;
        Some(file)
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

/// Reads a file of known length, or returns `None` if it is shorter by now. Values are replaced,
/// never changed: that file is damaged.
fn read_whole(fs: &Fs, file: &File, path: &Path, len: u64) -> io::Result<Option<Bytes>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    match fs.read_first(file, path, len) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(path = %Shown(path), "file shortened while it was read");
            Ok(None)
        }
        Err(error) => Err(at("read", path)(error)),
    }
}
