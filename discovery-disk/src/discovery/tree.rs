use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use discovery_core::GroupVersion;

use crate::store::error::{Shown, at, why};
use crate::store::fs::{Fs, Stamp, has_mode};
use crate::store::sweep::sweep_quietly;
use crate::store::temp::{Publish, TempFile};
use crate::store::trust::Trust;

pub(super) const GROUPS: &str = "servergroups.json";

pub(super) const RESOURCES: &str = "serverresources.json";

const PUBLISH: Publish = Publish {
    dir_mode: 0o750,
    file_mode: 0o660,
    fsync: false,
};

/// The largest file that is read. The largest list known, that of a server with thousands of
/// resources in one group, has a few MB.
const MAX_FILE: u64 = 64 << 20;

/// The length that most names have at most, with the directories above them.
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
pub(super) struct Tree {
    /// `None` has no files, and can't get any.
    pub(super) dir: Option<PathBuf>,
    pub(super) fs: Fs,
    /// The directories in which old temporary files have been looked for.
    swept: Mutex<HashSet<PathBuf>>,
    pub(super) trust: Trust,
}

/// Work on many files, for which the directory is held open.
pub(super) struct Batch {
    fs: Fs,
    /// Whether the directory was made for it, so that there is nothing to look for.
    pub(super) is_new: bool,
}

/// A file that counts.
pub(super) struct Opened {
    file: File,
    pub(super) path: PathBuf,
    len: usize,
    pub(super) modified: SystemTime,
    /// The file's identity and state; `None` if the platform does not tell.
    pub(super) stamp: Option<Stamp>,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The file has new content.
    Content,
    /// The file had this content already, and only looks new now.
    Renewed,
    /// There can be no such file.
    NoFile,
    /// It was not wanted any more.
    Unwanted,
}

impl Tree {
    pub(super) fn new(dir: Option<PathBuf>, trust: Trust) -> Self {
        Self {
            dir,
            fs: Fs::default(),
            swept: Mutex::default(),
            trust,
        }
    }

    /// The directory, unless it is not to be believed.
    fn trusted_dir(&self) -> Option<&Path> {
        self.dir.as_deref().filter(|dir| self.trust.allows(dir))
    }

    /// A group version's names are always fit for a path, so that none of this leaves the
    /// directory. But they may be those of files.
    fn path(&self, name: &Name) -> Option<PathBuf> {
        let dir = self.trusted_dir()?;
        if let Name::Resources(group_version) = name
            && is_in_the_way(group_version)
        {
            return None;
        }
        let mut path = PathBuf::with_capacity(dir.as_os_str().len() + MAX_NAME);
        path.push(dir);
        match name {
            Name::Groups => path.push(GROUPS),
            Name::Resources(group_version) => {
                path.push(group_version.as_str());
                path.push(RESOURCES);
            }
        }
        Some(path)
    }

    /// A name for events.
    pub(super) fn shown(&self, name: &Name) -> String {
        self.path(name)
            .map_or_else(String::new, |path| Shown(&path).to_string())
    }

    /// Begins to read or write one file.
    pub(super) fn single(&self) -> Batch {
        Batch {
            fs: self.fs.clone(),
            is_new: false,
        }
    }

    /// Begins to read or write many files.
    pub(super) fn many(&self) -> Batch {
        let fs = match self.trusted_dir() {
            Some(dir) => self.fs.in_directory(dir),
            None => self.fs.clone(),
        };
        Batch { fs, is_new: false }
    }

    /// Begins to write files, and makes the directory if it is not there.
    pub(super) fn make(&self) -> Batch {
        let is_new = self.make_dir();
        Batch {
            is_new,
            ..self.many()
        }
    }

    /// Opens a file that is within the limit.
    pub(super) fn open(
        &self,
        batch: &Batch,
        name: &Name,
        limit: Limit,
    ) -> io::Result<Option<Opened>> {
        let Some(path) = self.path(name) else {
            return Ok(None);
        };
        let Some((file, metadata)) = batch.fs.open(&path)? else {
            return Ok(None);
        };
        let modified = metadata.modified()?;
        if limit.excludes(modified) {
            let age = limit.now.duration_since(modified).ok();
            tracing::debug!(decision = "skip", reason = "expired", file = %Shown(&path), ?age);
            return Ok(None);
        }
        if metadata.len() > MAX_FILE {
            let len = metadata.len();
            tracing::debug!(decision = "skip", reason = "too large", file = %Shown(&path), len);
            return Ok(None);
        }
        Ok(Some(Opened {
            file,
            path,
            len: usize::try_from(metadata.len()).unwrap_or_default(),
            modified,
            stamp: Stamp::of(&metadata),
        }))
    }

    /// Which file is there, and in which state.
    pub(super) fn stamp(&self, name: &Name) -> Option<Stamp> {
        let metadata = self.fs.stat(&self.path(name)?).ok()??;
        Stamp::of(&metadata)
    }

    /// The time of a file, whether it counts or not.
    pub(super) fn modified(&self, name: &Name) -> Option<SystemTime> {
        let metadata = self.fs.stat(&self.path(name)?).ok()??;
        metadata.modified().ok()
    }

    /// Reads all of a file.
    pub(super) fn read(&self, opened: &Opened, content: &mut Vec<u8>) -> io::Result<()> {
        content.resize(opened.len, 0);
        self.fs.read_exact(&opened.file, &opened.path, content)
    }

    /// Makes the directory if it is not there. `true` if it was not, so that nothing is in it.
    fn make_dir(&self) -> bool {
        let Some(dir) = self.trusted_dir() else {
            return false;
        };
        let is_there = !matches!(dir.try_exists(), Ok(false));
        !is_there && self.fs.make_dir(dir, PUBLISH.dir_mode).is_ok()
    }

    /// Publishes a file, or renews one that has the same content; unless it turns out, in the last
    /// moment, that this is not `wanted` any more.
    pub(super) fn write(
        &self,
        batch: &Batch,
        name: &Name,
        content: &[u8],
        now: SystemTime,
        wanted: impl Fn() -> bool,
    ) -> io::Result<Written> {
        let Some(path) = self.path(name) else {
            return Ok(Written::NoFile);
        };
        let Batch { fs, is_new } = batch;
        if *is_new {
            self.make_dirs_of(fs, name)?;
        } else if let Ok(Some(file)) = same(fs, &path, content) {
            if !wanted() {
                return Ok(Written::Unwanted);
            }
            // Not allowed for another user's file: that is replaced.
            if fs.touch(&file, &path, now).is_ok() {
                return Ok(Written::Renewed);
            }
        }
        let (dir, prefix) = match (
            path.parent(),
            path.file_name().and_then(|name| name.to_str()),
        ) {
            (Some(dir), Some(name)) => (dir, format!("{name}.")),
            _ => return Err(io::ErrorKind::InvalidFilename.into()),
        };
        let mut temp = TempFile::create(fs, dir, &prefix, PUBLISH)?;
        if !is_new && self.is_first_in(dir) && !temp.made_dir() {
            sweep_quietly(fs, dir, &prefix, now);
        }
        temp.write(content)?;
        temp.prepare(PUBLISH, false)?;
        if !wanted() {
            return Ok(Written::Unwanted);
        }
        temp.rename(&path, PUBLISH)?.settle(&path, PUBLISH)?;
        Ok(Written::Content)
    }

    /// Removes a file, and its directory, if it is there and not in that of another server.
    pub(super) fn remove(&self, name: &Name) {
        let (Some(dir), Some(path)) = (&self.dir, self.path(name)) else {
            return;
        };
        let mut directories = path.ancestors().skip(1).take_while(|above| above != dir);
        if !matches!(self.fs.stat(&path), Ok(Some(_))) || directories.any(is_anothers) {
            return;
        }
        match self.fs.remove(&path) {
            Ok(()) => {
                tracing::debug!(decision = "remove", reason = "it has no resources any more", file = %Shown(&path));
                if let Some(dir) = path.parent() {
                    // One that is not empty stays.
                    let _ = self.fs.remove_dir(dir);
                }
            }
            Err(error) => {
                tracing::debug!(file = %Shown(&path), error = %why(&error), "file not removed");
            }
        }
    }

    /// Makes the directories of a list, one in the other, without a look for what is there.
    fn make_dirs_of(&self, fs: &Fs, name: &Name) -> io::Result<()> {
        let (Some(dir), Name::Resources(group_version)) = (&self.dir, name) else {
            return Ok(());
        };
        let make = |path: &Path| {
            fs.make_one_dir(path, PUBLISH.dir_mode)
                .map_err(at("make directory", path))
        };
        if !group_version.group().is_empty() {
            make(&dir.join(group_version.group()))?;
        }
        make(&dir.join(group_version.as_str()))
    }

    fn is_first_in(&self, dir: &Path) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        !swept.contains(dir) && swept.insert(dir.to_owned())
    }
}

/// Opens a file if it has this content. Should another process replace it before it has been
/// made to look new, then that one's content is the later.
fn same(fs: &Fs, path: &Path, content: &[u8]) -> io::Result<Option<File>> {
    let Some((file, metadata)) = fs.open(path)? else {
        return Ok(None);
    };
    if metadata.len() != content.len() as u64 || !has_mode(&metadata, PUBLISH.file_mode) {
        return Ok(None);
    }
    let mut found = vec![0; content.len()];
    fs.read_exact(&file, path, &mut found)?;
    Ok((found == content).then_some(file))
}

/// Whether a directory is that of another server.
pub(super) fn is_anothers(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(GROUPS)).is_ok()
}

/// Whether a directory for this group version would stand where a file belongs. Both are names that
/// a server may give, and whoever makes an API group chooses its name: the file could never be
/// written again, by kubectl neither. Some file systems ignore case.
fn is_in_the_way(group_version: &GroupVersion) -> bool {
    let is = |name: &str, file: &str| name.eq_ignore_ascii_case(file);
    match group_version.group() {
        "" => is(group_version.version(), GROUPS),
        // The core group's version of the other group's name has its file there.
        group => is(group, GROUPS) || is(group_version.version(), RESOURCES),
    }
}

/// How old a document may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) now: SystemTime,
    pub(super) ttl: Duration,
    /// Whether those from before an invalidation count.
    pub(super) also_invalidated: bool,
}

impl Limit {
    pub(super) fn excludes(self, since: SystemTime) -> bool {
        has_expired(since, self.ttl, self.now)
    }
}

/// Whether a document that came at `since` is older than `ttl`. A time to live beyond the end of time never
/// ends.
pub(super) fn has_expired(since: SystemTime, ttl: Duration, now: SystemTime) -> bool {
    since.checked_add(ttl).is_some_and(|end| now > end)
}
