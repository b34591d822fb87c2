use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use discovery_core::clock::{Clock, SystemClock};
use discovery_core::document::{
    ApiGroupList, ApiResourceList, DecodeError, Document, Kind, decode,
};
use discovery_core::engine::{Cache, Need};
use discovery_core::store::Op;
use discovery_core::{Form, GroupVersion, Snapshot};
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use super::tree::{Name, Opened, Tree, Written};
use crate::store::fs::{Fs, Stamp};

/// The time to live of kubectl's files.
const TTL: Duration = Duration::from_secs(6 * 60 * 60);

/// From how many files on they are read and written on a blocking thread, where there are several
/// threads to gain from it. Handing over a single read costs ten times the read.
const MANY: usize = 64;

/// How many threads read files at the same time at most.
const MAX_THREADS: usize = 4;

/// The resources of a group version.
type List = (GroupVersion, Arc<Document<ApiResourceList>>);

/// What a [`DiskDiscoveryLayer`](super::DiskDiscoveryLayer)'s services share: the files of one
/// server.
pub struct Files {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    tree: Tree,
    ttl: Duration,
    clock: Box<dyn Clock>,
    /// Whether only files count that this process wrote.
    invalidated: AtomicBool,
    fresh: AtomicBool,
    state: Mutex<State>,
    /// Held while a file is written.
    writing: Mutex<()>,
    /// The form in which the server answered this process; the files don't tell.
    form: RwLock<Option<Form>>,
    /// The groups that were read last, while somebody uses them.
    groups: Mutex<Option<(Stamp, Weak<Snapshot>)>>,
    warned: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct State {
    /// The files that this process wrote since the last invalidation.
    ours: HashSet<Name>,
    /// What could not be written, and when it came.
    kept: HashMap<Name, (SystemTime, Part)>,
    /// The number of invalidations.
    epoch: u64,
}

/// The content of a file.
#[derive(Clone)]
enum Part {
    Groups(Arc<Document<ApiGroupList>>),
    List(Arc<Document<ApiResourceList>>),
}

#[derive(Default)]
struct Counters {
    files_read: AtomicU64,
    files_written: AtomicU64,
    files_renewed: AtomicU64,
    bytes_written: AtomicU64,
    write_errors: AtomicU64,
}

/// What was done to a server's files, since the layer was made.
///
/// ```
/// let layer = discovery_disk::DiskDiscoveryLayer::new("/nonexistent/cache");
/// assert_eq!(layer.disk_statistics().files_written, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStatistics {
    /// Files that were read and not expired.
    pub files_read: u64,
    /// Files that got new content.
    pub files_written: u64,
    /// Files whose content had not changed: only their modification time was renewed.
    pub files_renewed: u64,
    /// The size of the files that got new content.
    pub bytes_written: u64,
    /// Writes that failed.
    pub write_errors: u64,
}

impl Files {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
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
            warned: AtomicBool::new(false),
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
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DiskStatistics {
            files_read: read(&counters.files_read),
            files_written: read(&counters.files_written),
            files_renewed: read(&counters.files_renewed),
            bytes_written: read(&counters.bytes_written),
            write_errors: read(&counters.write_errors),
        }
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups, without lists. `/api` and `/apis` are asked at the same time, and both need them:
    /// they are parsed once.
    fn load_groups(&self, now: SystemTime) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::default();
        let mut stamp = None;
        if let Some(Part::Groups(groups)) = self.kept(&Name::Groups, now) {
            snapshot.set_groups_shared(groups);
        } else if let Some(opened) = self.open(&Name::Groups, now) {
            stamp = opened.stamp;
            let latest = self
                .groups()
                .as_ref()
                .filter(|latest| stamp == Some(latest.0))
                .and_then(|(_, snapshot)| snapshot.upgrade());
            if let Some(latest) = latest {
                return latest;
            }
            if let Some(groups) = self.decode(&Name::Groups, &opened, &mut Vec::new(), true) {
                snapshot.set_groups(groups);
            }
        }
        if let Some(form) = *self.form.read().unwrap_or_else(PoisonError::into_inner) {
            snapshot.set_form(form);
        }
        let snapshot = Arc::new(snapshot);
        *self.groups() = stamp.map(|stamp| (stamp, Arc::downgrade(&snapshot)));
        snapshot
    }

    fn groups(&self) -> MutexGuard<'_, Option<(Stamp, Weak<Snapshot>)>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists from their files. Many of them are read and parsed by several threads, because a
    /// program that waits for all of them has nothing else to do.
    fn load_lists(&self, group_versions: &[GroupVersion], now: SystemTime) -> Vec<List> {
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        if group_versions.len() < MANY || threads < 2 {
            return self.load_some(group_versions, now);
        }
        let share = group_versions.len().div_ceil(threads);
        let (own, others) = group_versions.split_at(share);
        thread::scope(|scope| {
            let spawn = |share| {
                let builder = thread::Builder::new().name("discovery files".into());
                builder
                    .spawn_scoped(scope, move || self.load_some(share, now))
                    .map_err(|_| share)
            };
            let others: Vec<_> = others.chunks(share).map(spawn).collect();
            let mut lists = self.load_some(own, now);
            for other in others {
                match other {
                    Ok(thread) => lists.extend(thread.join().unwrap_or_default()),
                    Err(share) => lists.extend(self.load_some(share, now)),
                }
            }
            lists
        })
    }

    fn load_some(&self, group_versions: &[GroupVersion], now: SystemTime) -> Vec<List> {
        // Where many are read, their JSON is seldom asked for, and then made anew.
        let keep_json = group_versions.len() == 1;
        let mut buffer = Vec::new();
        let load = |group_version: &GroupVersion| {
            let name = Name::Resources(group_version.clone());
            if let Some(Part::List(list)) = self.kept(&name, now) {
                return Some((group_version.clone(), list));
            }
            let opened = self.open(&name, now)?;
            let list: Document<ApiResourceList> =
                self.decode(&name, &opened, &mut buffer, keep_json)?;
            if list.group_version != group_version.as_str() {
                tracing::warn!(%group_version, found = %list.group_version, "the wrong file");
                return None;
            }
            Some((group_version.clone(), Arc::new(list)))
        };
        group_versions.iter().filter_map(load).collect()
    }

    /// What could not be written and is later than any file.
    fn kept(&self, name: &Name, now: SystemTime) -> Option<Part> {
        let mut state = self.state();
        let (since, part) = state.kept.get(name)?;
        if since.checked_add(self.ttl).is_none_or(|end| now > end) {
            state.kept.remove(name);
            return None;
        }
        Some(part.clone())
    }

    /// Opens a file that counts: not expired, and not older than an invalidation.
    fn open(&self, name: &Name, now: SystemTime) -> Option<Opened> {
        let is_ours = self.state().ours.contains(name);
        if !is_ours && self.invalidated.load(Ordering::Acquire) {
            return None;
        }
        let opened = self.tree.open(name, now, self.ttl);
        let opened = opened
            .inspect_err(|error| tracing::debug!(?name, %error, "a discovery file can't be opened"))
            .ok()??;
        self.counters.files_read.fetch_add(1, Ordering::Relaxed);
        if !is_ours {
            self.fresh.store(false, Ordering::Release);
        }
        Some(opened)
    }

    fn decode<T: Kind>(
        &self,
        name: &Name,
        opened: &Opened,
        buffer: &mut Vec<u8>,
        keep_json: bool,
    ) -> Option<Document<T>> {
        if let Err(error) = self.tree.read(opened, buffer) {
            tracing::debug!(?name, %error, "a discovery file can't be read");
            return None;
        }
        let decoded: Result<Document<T>, DecodeError> = if keep_json {
            Document::decode(std::mem::take(buffer).into())
        } else {
            decode(buffer).map(Document::new)
        };
        decoded
            .inspect_err(|error| tracing::warn!(?name, %error, "a broken discovery file"))
            .ok()
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
