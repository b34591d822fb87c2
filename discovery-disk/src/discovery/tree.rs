use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use discovery_core::GroupVersion;

use crate::store::fs::{Fs, Stamp, has_mode};
use crate::store::temp::{Publish, TempFile};

const PUBLISH: Publish = Publish {
    dir_mode: 0o750,
    file_mode: 0o660,
    fsync: false,
};

/// The largest file that is read. The largest list known, that of a server with thousands of
/// resources in one group, has a few MB.
const MAX_FILE: u64 = 64 << 20;

/// What most names have at most, with the directories above them.
const MAX_NAME: usize = 96;

/// One of the files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// `servergroups.json`
    Groups,
    /// `<group>/<version>/serverresources.json`
    Resources(GroupVersion),
}

/// The directory of one server.
#[derive(Clone)]
pub(super) struct Tree {
    /// `None` has no files, and can't get any.
    pub(super) dir: Option<PathBuf>,
    pub(super) fs: Fs,
}

/// A file that counts.
pub(super) struct Opened {
    file: File,
    path: PathBuf,
    len: usize,
    /// Which file, in which state; `None` where the platform does not tell.
    pub(super) stamp: Option<Stamp>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The file has new content.
    Content,
    /// The file had this content already, and only looks new now.
    Renewed,
}

impl Tree {
    /// A group version's names are always fit for a path, so that none of this leaves the
    /// directory.
    fn path(&self, name: &Name) -> Option<PathBuf> {
        let dir = self.dir.as_deref()?;
        let mut path = PathBuf::with_capacity(dir.as_os_str().len() + MAX_NAME);
        path.push(dir);
        match name {
            Name::Groups => path.push("servergroups.json"),
            Name::Resources(group_version) => {
                path.push(group_version.as_str());
                path.push("serverresources.json");
            }
        }
        Some(path)
    }

    /// Opens a file that was modified at most `ttl` before `now`.
    pub(super) fn open(
        &self,
        name: &Name,
        now: SystemTime,
        ttl: Duration,
    ) -> io::Result<Option<Opened>> {
        let Some(path) = self.path(name) else {
            return Ok(None);
        };
        let Some((file, metadata)) = self.fs.open(&path)? else {
            return Ok(None);
        };
        let end = metadata.modified()?.checked_add(ttl);
        if end.is_none_or(|end| now > end) {
            tracing::debug!(path = %path.display(), "expired");
            return Ok(None);
        }
        if metadata.len() > MAX_FILE {
            tracing::warn!(path = %path.display(), len = metadata.len(), "a file that is too large");
            return Ok(None);
        }
        Ok(Some(Opened {
            file,
            path,
            len: usize::try_from(metadata.len()).unwrap_or_default(),
            stamp: Stamp::of(&metadata),
        }))
    }

    /// Reads all of a file.
    pub(super) fn read(&self, opened: &Opened, content: &mut Vec<u8>) -> io::Result<()> {
        content.resize(opened.len, 0);
        self.fs.read_exact(&opened.file, &opened.path, content)
    }

    /// Publishes a file, or renews one that has the same content.
    pub(super) fn write(
        &self,
        name: &Name,
        content: &[u8],
        now: SystemTime,
    ) -> io::Result<Written> {
        let path = self.path(name).ok_or(io::ErrorKind::Unsupported)?;
        if self.renew(&path, content, now).unwrap_or(false) {
            return Ok(Written::Renewed);
        }
        let (dir, prefix) = match (
            path.parent(),
            path.file_name().and_then(|name| name.to_str()),
        ) {
            (Some(dir), Some(name)) => (dir, format!("{name}.")),
            _ => return Err(io::ErrorKind::InvalidFilename.into()),
        };
        let temp = TempFile::create(&self.fs, dir, &prefix, PUBLISH.dir_mode)?;
        temp.write(content)?;
        temp.prepare(PUBLISH)?;
        temp.rename(&path, PUBLISH)?;
        Ok(Written::Content)
    }

    /// Makes a file look new if it has this content. Should another process replace it meanwhile,
    /// then that one's content is the later.
    fn renew(&self, path: &Path, content: &[u8], now: SystemTime) -> io::Result<bool> {
        let Some((file, metadata)) = self.fs.open(path)? else {
            return Ok(false);
        };
        if metadata.len() != content.len() as u64 || !has_mode(&metadata, PUBLISH.file_mode) {
            return Ok(false);
        }
        let mut found = vec![0; content.len()];
        self.fs.read_exact(&file, path, &mut found)?;
        if found != content {
            return Ok(false);
        }
        self.fs.touch(&file, path, now)?;
        Ok(true)
    }
}
