//! One discovery between processes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use discovery_core::engine::FetchPermit;
use discovery_core::store::Op;
use discovery_core::sync::single_flight::{Role, SingleFlight};

use crate::store::error::{Shown, why};
use crate::store::fs::Fs;
use crate::store::offload::offload_if;

/// How often a lock that is another process' is tried.
const STEP: Duration = Duration::from_millis(10);

/// How often a file is opened anew that another process has removed meanwhile.
const ATTEMPTS: usize = 100;

/// An advisory lock on a file, which a process holds while it asks the server. The system ends it with the process. The
/// file is there for that time only: who gets a lock on one that was removed meanwhile begins anew.
pub(super) struct ProcessLock {
    path: PathBuf,
    max_wait: Duration,
    held: Mutex<Held>,
    /// The wait of this process, which all its callers share.
    waits: SingleFlight<()>,
}

/// This process' hold of the lock.
#[derive(Default)]
struct Held {
    file: Option<File>,
    holders: usize,
}

/// One of the callers for which this process holds the lock.
struct Holder(Arc<ProcessLock>);

enum Attempt {
    Held(Holder),
    /// Another process has it.
    Busy,
    /// There can be no lock, or no more than one process needs it.
    Unavailable,
}

impl ProcessLock {
    pub(super) fn new(path: PathBuf, max_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            path,
            max_wait,
            held: Mutex::default(),
            waits: SingleFlight::new(),
        })
    }

    /// Takes the lock, and waits for another process that has it; but not longer than the limit.
    pub(super) fn begin(self: &Arc<Self>) -> Op<FetchPermit> {
        match self.attempt() {
            // Another process may have had it, and given it back, since the files were looked at.
            Attempt::Held(holder) => return Op::Ready(FetchPermit::new(holder, true)),
            Attempt::Unavailable => return Op::Ready(FetchPermit::default()),
            Attempt::Busy => {}
        }
        tracing::debug!(file = %Shown(&self.path), "another process asks the server, and is waited for");
        let lock = Arc::clone(self);
        Op::wait(async move {
            let holder = match lock.waits.join(()) {
                Role::Leader(leader) => {
                    let waiting = Arc::clone(&lock);
                    let holder = offload_if(true, move || waiting.wait()).await;
                    leader.complete_with(());
                    holder
                }
                // The leader holds it then, or has given up.
                Role::Follower(follower) => {
                    follower.await;
                    match lock.attempt() {
                        Attempt::Held(holder) => Some(holder),
                        Attempt::Busy | Attempt::Unavailable => None,
                    }
                }
            };
            FetchPermit::new(holder, true)
        })
    }

    fn wait(self: &Arc<Self>) -> Option<Holder> {
        let begun = Instant::now();
        loop {
            match self.attempt() {
                Attempt::Held(holder) => return Some(holder),
                Attempt::Unavailable => return None,
                Attempt::Busy if begun.elapsed() >= self.max_wait => {
                    tracing::debug!(file = %Shown(&self.path), "another process takes too long");
                    return None;
                }
                Attempt::Busy => thread::sleep(STEP),
            }
        }
    }

    fn attempt(self: &Arc<Self>) -> Attempt {
        let mut held = self.held();
        let mut missing = None;
        for _ in 0..ATTEMPTS {
            if held.file.is_some() {
                held.holders += 1;
                return Attempt::Held(Holder(Arc::clone(self)));
            }
            let file = match open(&self.path) {
                Ok(file) => file,
                // Its directory was removed when it had just been made, or can't be made.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing = Some(error);
                    continue;
                }
                Err(error) => return self.unavailable(&error),
            };
            match file.try_lock() {
                Ok(()) if is_at(&file, &self.path) => held.file = Some(file),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Attempt::Busy,
                // Not all file systems have locks.
                Err(TryLockError::Error(error)) => return self.unavailable(&error),
            }
            missing = None;
        }
        match missing {
            Some(error) => self.unavailable(&error),
            None => Attempt::Busy,
        }
    }

    fn unavailable(&self, error: &io::Error) -> Attempt {
        let error = why(error);
        tracing::debug!(file = %Shown(&self.path), %error, "processes can't wait for each other");
        Attempt::Unavailable
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut held = self.0.held();
        held.holders -= 1;
        if held.holders == 0 {
            // Nothing stays behind, as far as the system allows.
            let _ = fs::remove_file(&self.0.path);
            for directory in self.0.path.ancestors().skip(1).take(2) {
                if fs::remove_dir(directory).is_err() {
                    break;
                }
            }
            // Closing it ends the lock.
            held.file = None;
        }
    }
}

/// Whether a file is still the one of this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let own = file.metadata().map(inode);
    let named = fs::symlink_metadata(path).map(inode);
    own.is_ok_and(|own| named.is_ok_and(|named| named == own))
}

/// An open file can't be removed there.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Opens the file of a lock. Nothing is written to it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Fs::default().make_dir(path.parent().unwrap_or(path), 0o750)?;
            options.open(path)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_can_not_be_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let directory = dir.path().join("directory");
        fs::create_dir(&directory).unwrap();
        let mut places = vec![file.join("lock"), file.join("below/lock"), directory];
        if cfg!(target_os = "linux") {
            places.push("/proc/nope/locks/lock".into());
        }
        for place in places {
            let lock = ProcessLock::new(place.clone(), Duration::MAX);
            assert!(matches!(lock.begin(), Op::Ready(_)), "{place:?}");
        }
    }
}
