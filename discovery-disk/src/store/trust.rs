//! Whether a directory may be believed: a file that somebody else can put into it becomes an answer.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use super::error::Shown;

/// The verdict on one directory, which is looked at when it is first used.
#[derive(Debug)]
pub(crate) struct Trust(AtomicU8);

const UNKNOWN: u8 = 0;
const TRUSTED: u8 = 1;
const REFUSED: u8 = 2;

impl Trust {
    /// One for a directory that is looked at, or for one that is believed whosever it is.
    pub(crate) const fn new(any_owner: bool) -> Self {
        Self(AtomicU8::new(if any_owner { TRUSTED } else { UNKNOWN }))
    }

    /// Whether what is in `dir` may be believed. A directory that is not there yet may: it will be made by this
    /// process, or looked at when it is there. The first refusal is a warning.
    pub(crate) fn allows(&self, dir: &Path) -> bool {
        match self.0.load(Ordering::Relaxed) {
            TRUSTED => return true,
            REFUSED => return false,
            _ => {}
        }
        let metadata = match fs::metadata(dir) {
            Ok(metadata) => metadata,
            // The call that opens a file in it gets the error.
            Err(_) => return true,
        };
        let verdict = match suspicion(&metadata) {
            None => TRUSTED,
            Some(reason) => {
                if self.0.swap(REFUSED, Ordering::Relaxed) == UNKNOWN {
                    tracing::warn!(
                        dir = %Shown(dir), reason,
                        "the cache directory is not trusted, and left alone"
                    );
                }
                REFUSED
            }
        };
        self.0.store(verdict, Ordering::Relaxed);
        verdict == TRUSTED
    }

    /// The error of a write into a directory that is not believed.
    pub(crate) fn check(&self, dir: &Path) -> io::Result<()> {
        if self.allows(dir) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory is another user's, or others may write to it",
        ))
    }
}

/// Why a directory is not believed. Its owner has to be this process' user, or root, and others must not be able to
/// write to it: as ssh treats its own.
#[cfg(unix)]
fn suspicion(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != user && owner != 0 {
        return Some("it belongs to another user");
    }
    (metadata.mode() & 0o002 != 0).then_some("others may write to it")
}

#[cfg(not(unix))]
fn suspicion(_: &Metadata) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_looked_at_when_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let trust = Trust::new(false);
        assert!(trust.allows(&path));
        fs::create_dir(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(!trust.allows(&path));
            assert!(trust.check(&path).is_err());
            assert!(Trust::new(true).allows(&path));
        }
    }
}
