use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::engine::{Cache, FetchPermit, Scope};
use discovery_core::internal::WarnOnce;
use discovery_core::store::Op;
use discovery_core::sync::clock::Clock;
use discovery_core::{Format, GroupVersion, Snapshot};
use http::Response;
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use super::lock::ProcessLock;
use super::negative::{Negative, Negatives};
use super::read_lists::{All, ReadLists};
use super::settings::DiskSettings;
use super::state::{State, Turn};
use super::stats::{Counters, DiskStats};
use super::tree::{Limit, Name, Tree};
use crate::store::fs::Stamp;
use crate::store::offload::offload_if;
use crate::store::trust::Trust;
use crate::store::{EscapedNames, FileNames};

/// The name of the cache.
pub(super) const CACHE: &str = "disk";

/// From how many files on they are read on a blocking thread, where there are several threads to
/// gain from it. Handing over a single read costs ten times the read.
pub(super) const MANY: usize = 64;

/// The directory of the negative entries in the state directory, with a directory for each server.
const NEGATIVE: &str = "negative";

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
    keep_last_good: bool,
    stale_while_revalidate: Duration,
    lock: Option<Arc<ProcessLock>>,
    pub(super) negatives: Option<Negatives>,
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
    /// The groups that were read last: a request for a list that is not known asks for them, and there are hundreds.
    pub(super) groups: Mutex<Option<(Stamp, Arc<Snapshot>)>>,
    pub(super) lists: ReadLists,
    all: Mutex<All>,
    pub(super) warned: WarnOnce,
    pub(super) counters: Counters,
}

impl DiskBackend {
    pub(super) fn new(settings: &DiskSettings) -> Self {
        let trust = Trust::new(settings.trust_any_owner);
        #[cfg_attr(not(feature = "testing"), expect(unused_mut))]
        let mut tree = Tree::new(settings.dir.clone(), trust);
        #[cfg(feature = "testing")]
        {
            tree.fs.hook.clone_from(&settings.faults);
        }
        let state = settings.dir.as_ref().zip(settings.state_dir.as_ref());
        let lock = state
            .filter(|_| !settings.max_lock_wait.is_zero())
            .map(|(dir, state)| {
                let path = state.join("locks").join(state_name(dir, state));
                ProcessLock::new(path, settings.max_lock_wait)
            });
        let negatives = state
            .filter(|_| !settings.negative_ttl.is_zero())
            .map(|(dir, state)| {
                let place = state.join(NEGATIVE).join(state_name(dir, state));
                let clock = Arc::clone(&settings.clock);
                Negatives::new(
                    place,
                    settings.negative_ttl,
                    clock,
                    settings.trust_any_owner,
                )
            });
        let shared = Shared {
            tree,
            single_lists: settings.single_lists,
            keep_last_good: settings.keep_last_good,
            stale_while_revalidate: settings.stale_while_revalidate,
            lock,
            negatives,
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

impl DiskBackend {
    fn load_within(&self, need: &Scope, limit: Limit) -> Op<Arc<Snapshot>> {
        let shared = &self.shared;
        if let Scope::Resources(group_version) = need {
            let mut snapshot = Snapshot::default();
            snapshot.extend(shared.load_some(slice::from_ref(group_version), limit));
            if let Some(format) = shared.format() {
                snapshot.set_format(format);
            }
            if !snapshot.knows(group_version) {
                shared.load_negative(group_version, &mut snapshot);
            }
            return Op::Ready(Arc::new(snapshot));
        }
        let snapshot = shared.load_groups(limit);
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
            snapshot.extend(shared.load_lists(&core, limit));
            return Op::Ready(Arc::new(snapshot));
        }
        let missing: Vec<_> = snapshot.missing().cloned().collect();
        // A program with one thread has nothing else to do.
        let many = missing.len() >= MANY && has_many_threads();
        let shared = Arc::clone(shared);
        offload_if(many, move || shared.load_all(snapshot, &missing, limit))
    }
}

impl Shared {
    /// The limit of documents that may be so old now.
    pub(super) fn limit(&self, ttl: Duration) -> Limit {
        Limit {
            now: self.clock.now(),
            ttl,
            also_invalidated: false,
        }
    }

    fn load_all(
        &self,
        groups: Arc<Snapshot>,
        missing: &[GroupVersion],
        limit: Limit,
    ) -> Arc<Snapshot> {
        let lists = self.load_lists(missing, limit);
        let snapshot = self.all().load(groups, lists);
        if self.negatives.is_none() {
            return snapshot;
        }
        let unknown: Vec<_> = snapshot.missing().cloned().collect();
        if unknown.is_empty() {
            return snapshot;
        }
        let mut with_negatives = Snapshot::clone(&snapshot);
        for group_version in unknown {
            self.load_negative(&group_version, &mut with_negatives);
        }
        Arc::new(with_negatives)
    }

    /// Adds what is known of a group version whose list is not known.
    fn load_negative(&self, group_version: &GroupVersion, snapshot: &mut Snapshot) {
        if let Some(negatives) = &self.negatives
            && let Some(negative) = negatives.get(group_version)
            && !self.has_better(group_version, &negative)
        {
            negative.add_to(snapshot, group_version);
        }
    }

    /// Whether a list that has expired counts more than a negative entry: because it came later, or because the server was
    /// in trouble, and the list may be told then.
    fn has_better(&self, group_version: &GroupVersion, negative: &Negative) -> bool {
        let name = Name::Resources(group_version.clone());
        let kept = self.state().kept(&name, self.limit(Duration::MAX));
        let since = kept.map(|(since, _)| since).max(self.tree.modified(&name));
        let limit = self.limit(self.ttl.saturating_add(self.stale_while_revalidate));
        since.is_some_and(|since| {
            let may_be_told = self.keep_last_good || !limit.excludes(since);
            negative.is_before(since) || (negative.is_trouble() && may_be_told)
        })
    }

    /// Whether a negative answer that was asked for in this turn still counts. It will be of this process then.
    pub(super) fn claims(
        &self,
        negatives: &Negatives,
        group_version: &GroupVersion,
        turn: Turn,
    ) -> bool {
        let state = self.state();
        let is_wanted = state.wants(&Name::Resources(group_version.clone()), turn);
        if is_wanted {
            // Before an invalidation that comes now.
            negatives.claim(group_version);
        }
        is_wanted
    }

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
        self.load_within(need, self.shared.limit(self.shared.ttl))
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
        state.invalidate(shared.keep_last_good);
        if let Some(negatives) = &shared.negatives {
            negatives.invalidate();
        }
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

    fn last_good(&self, scope: &Scope) -> Option<Arc<Snapshot>> {
        let shared = &self.shared;
        if !shared.keep_last_good {
            return None;
        }
        let limit = Limit {
            also_invalidated: true,
            ..shared.limit(Duration::MAX)
        };
        if let Scope::Resources(group_version) = scope {
            let lists = shared.load_some(slice::from_ref(group_version), limit);
            if lists.is_empty() {
                return None;
            }
            let mut snapshot = Snapshot::default();
            snapshot.extend(lists);
            return Some(Arc::new(snapshot));
        }
        let groups = shared.load_groups(limit);
        groups.groups()?;
        let missing: Vec<_> = groups.missing().cloned().collect();
        let mut all = Snapshot::clone(&groups);
        all.extend(shared.load_lists(&missing, limit));
        Some(Arc::new(all))
    }

    fn stale(&self, need: &Scope) -> Option<Op<Arc<Snapshot>>> {
        let shared = &self.shared;
        if shared.stale_while_revalidate.is_zero() {
            return None;
        }
        let ttl = shared.ttl.saturating_add(shared.stale_while_revalidate);
        Some(self.load_within(need, shared.limit(ttl)))
    }

    fn spawn(&self, refresh: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        match Runtime::try_current() {
            Ok(runtime) => {
                drop(runtime.spawn(refresh));
                true
            }
            Err(_) => false,
        }
    }

    fn begin_fetch(&self, _: &Scope) -> Op<FetchPermit> {
        let shared = &self.shared;
        match &shared.lock {
            // Another process' answer would not count.
            Some(lock) if !shared.invalidated.load(Ordering::Acquire) => lock.begin(),
            _ => Op::Ready(FetchPermit::default()),
        }
    }

    fn note_failure(&self, group_version: &GroupVersion, answer: &Response<Bytes>) -> Op<()> {
        let shared = Arc::clone(&self.shared);
        let is_kept = |negatives: &Negatives| negatives.keeps(group_version, answer.status());
        if !shared.negatives.as_ref().is_some_and(is_kept) {
            return Op::Ready(());
        }
        let turn = shared.state().turn();
        let (group_version, answer) = (group_version.clone(), answer.clone());
        Op::wait(async move {
            if let Some(negatives) = &shared.negatives
                && shared.claims(negatives, &group_version, turn)
            {
                negatives.save(&group_version, &answer);
            }
        })
    }

    /// kubectl's files have the lists of the aggregated answer.
    fn prefers_aggregated(&self) -> bool {
        !self.shared.single_lists
    }
}

/// The name for a server's directory in the state directory: that of the way to it from the directory that both are in, so
/// that it is the same however the way there is written.
fn state_name(dir: &Path, state: &Path) -> PathBuf {
    let root = state.parent().unwrap_or(state);
    let below = dir.strip_prefix(root).unwrap_or(dir);
    EscapedNames.file_name(&below.to_string_lossy())
}

fn has_many_threads() -> bool {
    Runtime::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
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
