use std::fmt;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use discovery_core::engine::{Cache, Scope};
use discovery_core::internal::WarnOnce;
use discovery_core::store::Op;
use discovery_core::sync::clock::Clock;
use discovery_core::{Format, Snapshot};
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use super::read_lists::{All, ReadLists};
use super::settings::DiskSettings;
use super::state::State;
use super::stats::{Counters, DiskStats};
use super::tree::{Name, Tree};
use crate::store::fs::Stamp;

/// The name of the cache.
pub(super) const CACHE: &str = "disk";

/// From how many files on they are read on a blocking thread, where there are several threads to
/// gain from it. Handing over a single read costs ten times the read.
pub(super) const MANY: usize = 64;

/// The number of files that are written in place. A write costs as much as ten reads, and on some disks as a
/// thousand.
const FEW: usize = 4;

/// The files of one server, which the services of a [`DiskDiscoveryLayer`](super::DiskDiscoveryLayer)
/// share.
pub struct DiskBackend {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) tree: Tree,
    single_lists: bool,
    pub(super) ttl: Duration,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether only files count that this process wrote.
    pub(super) invalidated: AtomicBool,
    pub(super) fresh: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Told when a thread has written a file.
    pub(super) given_back: Condvar,
    /// The form in which the server answered this process; the files don't tell.
    pub(super) format: RwLock<Option<Format>>,
    /// The groups that were read last, while somebody uses them.
    pub(super) groups: Mutex<Option<(Stamp, Weak<Snapshot>)>>,
    pub(super) lists: ReadLists,
    all: Mutex<All>,
    pub(super) warned: WarnOnce,
    pub(super) counters: Counters,
}

impl DiskBackend {
    pub(super) fn new(settings: &DiskSettings) -> Self {
        #[cfg_attr(not(feature = "testing"), expect(unused_mut))]
        let mut tree = Tree::new(settings.dir.clone());
        #[cfg(feature = "testing")]
        {
            tree.fs.hook.clone_from(&settings.faults);
        }
        let shared = Shared {
            tree,
            single_lists: settings.single_lists,
            ttl: settings.ttl,
            clock: Arc::clone(&settings.clock),
            invalidated: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
            state: Mutex::default(),
            given_back: Condvar::new(),
            format: RwLock::default(),
            groups: Mutex::default(),
            lists: ReadLists::default(),
            all: Mutex::default(),
            warned: WarnOnce::default(),
            counters: Counters::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn stats(&self) -> DiskStats {
        self.shared.counters.read()
    }
}

impl Shared {
    /// The form in which the server answered this process.
    pub(super) fn format(&self) -> Option<Format> {
        *self.format.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for DiskBackend {
    fn name(&self) -> &'static str {
        CACHE
    }

    fn load(&self, need: &Scope) -> Op<Arc<Snapshot>> {
        let shared = &self.shared;
        let now = shared.clock.now();
        if let Scope::Resources(group_version) = need {
            let mut snapshot = Snapshot::default();
            snapshot.extend(shared.load_some(slice::from_ref(group_version), now));
            if let Some(format) = shared.format() {
                snapshot.set_format(format);
            }
            return Op::Ready(Arc::new(snapshot));
        }
        let snapshot = shared.load_groups(now);
        if *need == Scope::Groups {
            return Op::Ready(snapshot);
        }
        if *need == Scope::Core {
            let missing = snapshot.missing();
            let core: Vec<_> = missing
                .filter(|name| name.group().is_empty())
                .cloned()
                .collect();
            let mut snapshot = Snapshot::clone(&snapshot);
            snapshot.extend(shared.load_lists(&core, now));
            return Op::Ready(Arc::new(snapshot));
        }
        let missing: Vec<_> = snapshot.missing().cloned().collect();
        // A program with one thread has nothing else to do.
        let many = missing.len() >= MANY && has_many_threads();
        let shared = Arc::clone(shared);
        offload_if(many, move || {
            let lists = shared.load_lists(&missing, now);
            shared.all().load(snapshot, lists)
        })
    }

    fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
        let (shared, found) = (Arc::clone(&self.shared), Arc::clone(found));
        let turn = shared.state().turn();
        if let Some(format) = found.format() {
            *shared
                .format
                .write()
                .unwrap_or_else(PoisonError::into_inner) = Some(format);
            *shared.groups() = None;
        }
        // The engine does not wait for anything while it calls this, and what is written is
        // written when it polls.
        Op::wait(async move {
            let files = found.lists().len() + usize::from(found.groups().is_some());
            offload_if(files > FEW, move || shared.write_found(&found, turn)).await;
        })
    }

    fn invalidate(&self) {
        let shared = &self.shared;
        let mut state = shared.state();
        state.invalidate();
        shared.invalidated.store(true, Ordering::Release);
        shared.fresh.store(true, Ordering::Release);
    }

    fn fresh(&self) -> bool {
        self.shared.fresh.load(Ordering::Acquire)
    }

    /// A file that is not there may be there tomorrow, and another process may write it.
    fn answers_unknown(&self) -> bool {
        self.shared.state().is_ours(&Name::Groups)
    }

    /// The files don't tell, and kubectl's disk cache never reports it.
    fn tells_stale(&self) -> bool {
        false
    }

    /// kubectl's files have the lists of the aggregated answer.
    fn prefers_aggregated(&self) -> bool {
        !self.shared.single_lists
    }
}

fn has_many_threads() -> bool {
    Runtime::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Runs `work` on a blocking thread if it is long and there is a runtime, and here otherwise. On a
/// blocking thread it goes on to its end, even if nobody waits for it any more.
fn offload_if<T: Default + Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Op<T> {
    match Runtime::try_current() {
        Ok(runtime) if long => {
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

impl fmt::Debug for DiskBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskBackend")
            .field("dir", &self.shared.tree.dir)
            .field("ttl", &self.shared.ttl)
            .field("statistics", &self.stats())
            .finish_non_exhaustive()
    }
}
