//! Files that nobody needs any more.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::path::{self, Path, PathBuf};
use std::time::{Duration, SystemTime};

use discovery_core::GroupVersion;

use super::tree::{GROUPS, RESOURCES, Tree, is_anothers};
use crate::store::error::{Shown, why};
use crate::store::sweep::sweep_quietly;

/// How long a look at all directories is good for.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The nanoseconds of a directory's access time that say that all below it has been looked at then. File systems that
/// keep microseconds alone can tell.
const MARK: u32 = 271_828_000;

/// How much earlier than the mark a directory's modification time is then. A file that is published there gives it another
/// one. Were it not earlier, many systems would take every look into the directory for news.
const BEFORE: Duration = Duration::from_secs(1);

/// Which directories are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untidy {
    /// Those that are not of a served group: a file has been published since all were looked at, at this time.
    Groups(SystemTime),
    All,
}

impl Tree {
    /// The directories to be looked at, as far as the directory's own times tell. kubectl publishes a file in it at each of its
    /// discoveries, mostly with the same groups, and a look at all directories takes as long as a discovery.
    pub(super) fn untidy(&self, now: SystemTime) -> Option<Untidy> {
        let metadata = self.dir.as_deref().and_then(|dir| fs::metadata(dir).ok());
        let times = metadata.and_then(|metadata| {
            let (accessed, modified) = (metadata.accessed().ok()?, metadata.modified().ok()?);
            Some((accessed, modified))
        });
        let Some((looked, modified)) = times else {
            return Some(Untidy::All);
        };
        let since = looked.duration_since(SystemTime::UNIX_EPOCH);
        let is_marked = since.is_ok_and(|since| since.subsec_nanos() == MARK);
        let is_recent = now.duration_since(looked).is_ok_and(|age| age < EVERY);
        match is_marked && is_recent {
            true if looked.checked_sub(BEFORE) == Some(modified) => None,
            true => Some(Untidy::Groups(looked)),
            false => Some(Untidy::All),
        }
    }

    /// Notes that all directories were looked at by then.
    fn mark_tidy(&self, looked: SystemTime) {
        let since = looked
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let looked = SystemTime::UNIX_EPOCH + Duration::new(since.as_secs(), MARK);
        if let Some(dir) = &self.dir
            && let Ok(file) = File::open(dir)
            && let Some(before) = looked.checked_sub(BEFORE)
        {
            let times = FileTimes::new().set_accessed(looked).set_modified(before);
            // Not allowed for another user's directory, nor everywhere: then the next process looks again.
            let _ = file.set_times(times);
        }
    }

    /// Removes the lists of group versions that the server does not serve any more, directories that are empty then, and
    /// the temporary files of killed processes. kubectl leaves them all, and asks for none.
    ///
    /// A server below a path of this one's has its files in the same tree: a directory in which there are groups is left
    /// alone, with all below it. So is what is behind links.
    pub(super) fn tidy(&self, untidy: Untidy, served: &HashSet<GroupVersion>, now: SystemTime) {
        let Some(dir) = self.dir.as_deref() else {
            return;
        };
        sweep_quietly(&self.fs, dir, &format!("{GROUPS}."), now);
        // The core group has no directory of its own.
        let first = |served: &GroupVersion| match served.group() {
            "" => served.version().to_owned(),
            group => group.to_owned(),
        };
        let passed: HashSet<_> = match untidy {
            Untidy::Groups(_) => served.iter().map(first).collect(),
            Untidy::All => HashSet::new(),
        };
        for group in directories(dir) {
            let name = group.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| passed.contains(name)) || is_anothers(&group) {
                continue;
            }
            self.tidy_version(&group, dir, served, now);
            for version in directories(&group) {
                if !is_anothers(&version) {
                    self.tidy_version(&version, dir, served, now);
                }
            }
            // One that is not empty stays.
            let _ = self.fs.remove_dir(&group);
        }
        self.mark_tidy(match untidy {
            Untidy::Groups(looked) => looked,
            // Earlier, so that the mark is not ahead of now.
            Untidy::All => now.checked_sub(BEFORE).unwrap_or(now),
        });
    }

    fn tidy_version(
        &self,
        version: &Path,
        dir: &Path,
        served: &HashSet<GroupVersion>,
        now: SystemTime,
    ) {
        sweep_quietly(&self.fs, version, &format!("{RESOURCES}."), now);
        let name = version.strip_prefix(dir).ok().and_then(Path::to_str);
        let name = name.map(|name| name.replace(path::MAIN_SEPARATOR, "/"));
        let Some(Ok(group_version)) = name.map(|name| name.parse::<GroupVersion>()) else {
            return;
        };
        if served.contains(&group_version) {
            return;
        }
        let file = version.join(RESOURCES);
        match self.fs.stat(&file) {
            Ok(Some(_)) => {}
            _ => return,
        }
        match self.fs.remove(&file) {
            Ok(()) => {
                tracing::debug!(decision = "remove", reason = "it is not served any more", file = %Shown(&file));
                let _ = self.fs.remove_dir(version);
            }
            Err(error) => {
                tracing::debug!(file = %Shown(&file), error = %why(&error), "file not removed");
            }
        }
    }
}

/// The directories in a directory, without links.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let entries = entries.filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}
