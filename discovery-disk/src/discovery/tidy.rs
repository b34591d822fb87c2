//! Files that nobody needs any more.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{self, Path, PathBuf};
use std::time::{Duration, SystemTime};

use discovery_core::GroupVersion;

use super::tree::{GROUPS, RESOURCES, Tree, is_anothers};
use crate::store::error::{Shown, why};
use crate::store::sweep::sweep_quietly;

/// How long a look at all directories is good for.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The nanoseconds of a directory's modification time that say that all below it has been looked at then. A file that is
/// published there gives the directory another time.
const MARK: u32 = 271_828_182;

impl Tree {
    /// Whether no process has looked at all directories for a day, as far as the directory's own time tells.
    pub(super) fn is_untidy(&self, now: SystemTime) -> bool {
        let modified = self
            .dir
            .as_deref()
            .and_then(|dir| fs::metadata(dir).ok()?.modified().ok());
        let Some(modified) = modified else {
            return true;
        };
        let since = modified.duration_since(SystemTime::UNIX_EPOCH);
        let is_marked = since.is_ok_and(|since| since.subsec_nanos() == MARK);
        let is_recent = now.duration_since(modified).is_ok_and(|age| age < EVERY);
        !(is_marked && is_recent)
    }

    /// Notes that all directories have been looked at.
    fn mark_tidy(&self, now: SystemTime) {
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // A second earlier, so that the time has passed.
        let seconds = since.as_secs().saturating_sub(1);
        let marked = SystemTime::UNIX_EPOCH + Duration::new(seconds, MARK);
        if let Some(dir) = &self.dir
            && let Ok(file) = File::open(dir)
        {
            // Not allowed for another user's directory, nor everywhere: then the next process looks again.
            let _ = file.set_modified(marked);
        }
    }

    /// Removes the lists of group versions that the server does not serve any more, directories that are empty then, and
    /// the temporary files of killed processes. kubectl leaves them all, and asks for none.
    ///
    /// A server below a path of this one's has its files in the same tree: a directory in which there are groups is left
    /// alone, with all below it. So is what is behind links.
    pub(super) fn tidy(&self, served: &HashSet<GroupVersion>, now: SystemTime) {
        let Some(dir) = self.dir.as_deref() else {
            return;
        };
        sweep_quietly(&self.fs, dir, &format!("{GROUPS}."), now);
        for group in directories(dir) {
            if is_anothers(&group) {
                continue;
            }
            // The core group has no directory of its own.
            self.tidy_version(&group, dir, served, now);
            for version in directories(&group) {
                if !is_anothers(&version) {
                    self.tidy_version(&version, dir, served, now);
                }
            }
            // One that is not empty stays.
            let _ = self.fs.remove_dir(&group);
        }
        self.mark_tidy(now);
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
