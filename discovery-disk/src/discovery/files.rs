use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use discovery_core::clock::{Clock, SystemClock};
use discovery_core::document::{ApiGroupList, ApiResourceList, Document};
use discovery_core::engine::{Cache, Need};
use discovery_core::store::Op;
use discovery_core::{Form, Snapshot};
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use super::statistics::{Counters, DiskStatistics};
use super::tree::{Name, Tree, Written};
use crate::store::fs::{Fs, Stamp};

/// The time to live of kubectl's files.
const TTL: Duration = Duration::from_secs(6 * 60 * 60);

/// From how many files on they are read and written on a blocking thread, where there are several
/// threads to gain from it. Handing over a single read costs ten times the read.
pub(super) const MANY: usize = 64;

/// What a [`DiskDiscoveryLayer`](super::DiskDiscoveryLayer)'s services share: the files of one
/// server.
pub struct Files {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) tree: Tree,
    pub(super) ttl: Duration,
    pub(super) clock: Box<dyn Clock>,
    /// Whether only files count that this process wrote.
    pub(super) invalidated: AtomicBool,
    pub(super) fresh: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Held while a file is written.
    writing: Mutex<()>,
    /// The form in which the server answered this process; the files don't tell.
    pub(super) form: RwLock<Option<Form>>,
    /// The groups that were read last, while somebody uses them.
    pub(super) groups: Mutex<Option<(Stamp, Weak<Snapshot>)>>,
    warned: AtomicBool,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct State {
    /// The files that this process wrote since the last invalidation.
    pub(super) ours: HashSet<Name>,
    /// What could not be written, and when it came.
    pub(super) kept: HashMap<Name, (SystemTime, Part)>,
    /// The number of invalidations.
    epoch: u64,
}

/// The content of a file.
#[derive(Clone)]
pub(super) enum Part {
    Groups(Arc<Document<ApiGroupList>>),
    List(Arc<Document<ApiResourceList>>),
}

impl Files {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        // Who chose to have no files knows.
        let warned = AtomicBool::new(dir.is_none());
        let shared = Shared {
            tree: Tree {
                dir,
                fs: Fs::default(),
            },
            ttl: TTL,
            clock: Box::new(SystemClock),
            invalidated: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
            state: Mutex::default(),
            writing: Mutex::default(),
            form: RwLock::default(),
            groups: Mutex::default(),
            warned,
            counters: Counters::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn set(&mut self, change: impl FnOnce(&mut Shared)) {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
    }

    pub(super) fn statistics(&self) -> DiskStatistics {
        self.shared.counters.read()
    }
}

impl Shared {
    pub(super) fn dir(&self) -> Option<&Path> {
        self.tree.dir.as_deref()
    }

    pub(super) fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }

    pub(super) fn set_clock(&mut self, clock: impl Clock) {
        self.clock = Box::new(clock);
    }

    #[cfg(feature = "testing")]
    pub(super) fn set_faults(&mut self, hook: crate::store::faults::Hook) {
        self.tree.fs.hook = Some(hook);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, found: &Snapshot, epoch: u64) {
        if let Some(form) = found.form() {
            *self.form.write().unwrap_or_else(PoisonError::into_inner) = Some(form);
            *self.groups() = None;
        }
        for (group_version, list) in found.lists() {
            if !list.resources.is_empty() {
                let name = Name::Resources(group_version.clone());
                self.write(name, Part::List(Arc::clone(list)), epoch);
            }
        }
        // Last, so that whoever sees new groups finds their lists as well.
        if let Some(groups) = found.groups().filter(|groups| !groups.groups.is_empty()) {
            self.write(Name::Groups, Part::Groups(Arc::clone(groups)), epoch);
        }
    }

    /// Writes a file, or keeps what can't be written. Does nothing if there was an invalidation
    /// since: then another fetch writes, or has written.
    fn write(&self, name: Name, part: Part, epoch: u64) {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state().epoch != epoch {
            return;
        }
        let now = self.clock.now();
        let written = self.tree.write(&name, part.json(), now);
        self.count(&name, part.json(), &written);
        let mut state = self.state();
        if state.epoch != epoch {
            return;
        }
        if written.is_ok() {
            state.kept.remove(&name);
            state.ours.insert(name);
        } else {
            state.kept.insert(name, (now, part));
        }
    }

    fn count(&self, name: &Name, content: &[u8], written: &io::Result<Written>) {
        let counters = &self.counters;
        match written {
            Ok(Written::Renewed) => {
                counters.files_renewed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Written::Content) => {
                counters.files_written.fetch_add(1, Ordering::Relaxed);
                counters
                    .bytes_written
                    .fetch_add(content.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                counters.write_errors.fetch_add(1, Ordering::Relaxed);
                if self.warned.swap(true, Ordering::Relaxed) {
                    tracing::debug!(?name, %error, "a discovery file can't be written");
                } else {
                    let dir = &self.tree.dir;
                    tracing::warn!(
                        ?dir, %error,
                        "discovery files can't be written; answers are kept in memory"
                    );
                }
            }
        }
    }
}

impl Part {
    fn json(&self) -> &[u8] {
        match self {
            Self::Groups(groups) => groups.json(),
            Self::List(list) => list.json(),
        }
    }
}

impl Cache for Files {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn load(&self, need: &Need) -> Op<Arc<Snapshot>> {
        let shared = &self.shared;
        let now = shared.clock.now();
        if let Need::Resources(group_version) = need {
            let mut snapshot = Snapshot::default();
            for (group_version, list) in shared.load_some(slice::from_ref(group_version), now) {
                snapshot.insert_shared(&group_version, list);
            }
            return Op::Ready(Arc::new(snapshot));
        }
        let mut snapshot = shared.load_groups(now);
        if *need == Need::Groups {
            return Op::Ready(snapshot);
        }
        let missing: Vec<_> = snapshot.missing().cloned().collect();
        let many = missing.len() >= MANY;
        let shared = Arc::clone(shared);
        offload_if(many, move || {
            let lists = shared.load_lists(&missing, now);
            let with_lists = Arc::make_mut(&mut snapshot);
            for (group_version, list) in lists {
                with_lists.insert_shared(&group_version, list);
            }
            snapshot
        })
    }

    fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
        let many = found.lists().len() >= MANY;
        let (shared, found) = (Arc::clone(&self.shared), Arc::clone(found));
        let epoch = shared.state().epoch;
        offload_if(many, move || shared.save(&found, epoch))
    }

    fn invalidate(&self) {
        let shared = &self.shared;
        let mut state = shared.state();
        *state = State {
            epoch: state.epoch + 1,
            ..State::default()
        };
        shared.invalidated.store(true, Ordering::Release);
        shared.fresh.store(true, Ordering::Release);
    }

    fn fresh(&self) -> bool {
        self.shared.fresh.load(Ordering::Acquire)
    }

    /// A file that is not there may be there tomorrow, and another process may write it.
    fn answers_unknown(&self) -> bool {
        false
    }

    /// The files don't tell, and kubectl's disk cache never reports it.
    fn tells_stale(&self) -> bool {
        false
    }
}

/// Runs `work` on a blocking thread if it is long and other threads drive futures meanwhile.
fn offload_if<T: Default + Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Op<T> {
    match Runtime::try_current() {
        Ok(runtime) if long && runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            let task = runtime.spawn_blocking(work);
            Op::wait(async move {
                task.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "work on discovery files was lost");
                    T::default()
                })
            })
        }
        _ => Op::Ready(work()),
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("dir", &self.shared.tree.dir)
            .field("ttl", &self.shared.ttl)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
