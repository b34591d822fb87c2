use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use discovery_core::store::Op;

use super::DiskStore;
use super::error::at;
use super::fs::{Stamp, is_absence};
use super::offload::{Permit, offload};
use super::temp::{make_dir, parent, rename, sync_dir};
use super::writer::ValueWriter;

/// How much is read of a file at a time.
const PIECE: usize = 256 * 1024;

/// The fate of a file that is [imported](DiskStore::import).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Import {
    /// It stays, and the store gets a copy.
    Copy,
    /// It goes. It is renamed into the store if it can be: on the same file system, and with a store that keeps values
    /// as they are. Nobody may hold it open for writing then.
    Move,
}

impl DiskStore {
    /// Takes the bytes of the file `source` as the value of `key`.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    /// use discovery_disk::store::Import;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let source = dir.path().join("download");
    /// std::fs::write(&source, "value")?;
    /// let store = DiskStore::new(dir.path().join("cache"));
    /// store.import(&source, "copied", Import::Copy).await?;
    /// store.import(&source, "moved", Import::Move).await?;
    /// assert!(!source.exists());
    /// assert_eq!(store.get("copied").await?, Some(Value::new("", "value")));
    /// assert_eq!(store.get("moved").await?, Some(Value::new("", "value")));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the source is no regular file (a link is none) or is too large, when it can't be read, or when the value
    /// can't be written: the source and the value that was there before are still there then. When the source was copied
    /// and could not be removed, the value is there.
    pub fn import(&self, source: impl AsRef<Path>, key: &str, how: Import) -> Op<io::Result<()>> {
        let target = match self.target(key) {
            Ok(target) => target,
            Err(error) => return Op::Ready(Err(error)),
        };
        self.misses().take(key);
        let (store, source) = (self.clone(), source.as_ref().to_owned());
        offload(move |permit: &Permit| {
            let absent =
                || io::Error::new(io::ErrorKind::NotFound, "there is no such regular file");
            let opened = store.fs().open(&source).map_err(at("open", &source))?;
            let (mut file, metadata) = opened.ok_or_else(|| at("import", &source)(absent()))?;
            store.check_size(metadata.len())?;
            if how == Import::Move && store.options().form.is_plain() {
                let renamed = permit.run(|| store.take_file(&file, &metadata, &source, &target));
                if renamed? {
                    return Ok(());
                }
            }
            let mut writer = ValueWriter::new(store.clone(), target, false)?;
            let mut piece = vec![0; PIECE];
            loop {
                match file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(len) => writer.append(&piece[..len])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(at("read", &source)(error)),
                }
            }
            writer.publish_here(permit)?;
            // A source that was the value's own file has been replaced by now.
            if how == Import::Move && store.is_still(&source, &metadata) {
                store.fs().remove(&source).map_err(at("remove", &source))?;
            }
            Ok(())
        })
    }

    /// Renames a file into the store. `false` if it is on another file system.
    fn take_file(
        &self,
        file: &File,
        metadata: &Metadata,
        source: &Path,
        target: &Path,
    ) -> io::Result<bool> {
        self.check_trust()?;
        let how = self.options().publish;
        let replaced = self.fs().stat(target).ok().flatten();
        let is_linked = replaced
            .as_ref()
            .is_some_and(|replaced| is_one_file(replaced, metadata));
        let replaced = replaced.map(|metadata| metadata.len());
        make_dir(self.fs(), parent(target), how)?;
        // All that may fail comes before the file is gone from where it was.
        self.fs()
            .set_mode(file, source, how.file_mode)
            .map_err(at("set the mode of", source))?;
        let taken = self.sync_and_rename(file, source, target);
        if !matches!(taken, Ok(true)) {
            file.set_permissions(metadata.permissions()).ok();
            return taken;
        }
        // A rename does nothing where both are names of one file.
        if is_linked
            && !is_one_place(source, target)
            && let Err(error) = self.fs().remove(source)
            // Another value had come between, and the rename has done it.
            && !is_absence(&error)
        {
            return Err(at("remove", source)(error));
        }
        // Not allowed for another user's file: it counts by its own time.
        self.fs().touch(file, target, self.now()).ok();
        self.note_written(target, metadata.len(), replaced);
        if how.fsync {
            sync_dir(self.fs(), parent(target))?;
        }
        taken
    }

    fn sync_and_rename(&self, file: &File, source: &Path, target: &Path) -> io::Result<bool> {
        if self.options().publish.fsync {
            self.fs().sync(file, source).map_err(at("sync", source))?;
        }
        match rename(self.fs(), source, target, self.options().publish) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            renamed => renamed.map(|()| true),
        }
    }

    /// Whether a path still names the file that was opened there.
    fn is_still(&self, path: &Path, opened: &Metadata) -> bool {
        let now = self.fs().stat(path).ok().flatten();
        now.is_some_and(|now| is_one_file(&now, opened))
    }
}

/// Whether two files are the same one, as far as the platform tells.
fn is_one_file(one: &Metadata, other: &Metadata) -> bool {
    match (Stamp::of(one), Stamp::of(other)) {
        (Some(one), Some(other)) => (one.device, one.inode) == (other.device, other.inode),
        _ => one.modified().ok() == other.modified().ok() && one.len() == other.len(),
    }
}

/// Whether two paths are one name in one directory.
fn is_one_place(one: &Path, other: &Path) -> bool {
    one.file_name() == other.file_name()
        && parent(one)
            .canonicalize()
            .ok()
            .is_some_and(|one| Some(one) == parent(other).canonicalize().ok())
}
