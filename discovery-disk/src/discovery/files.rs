use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use discovery_core::clock::{Clock, SystemClock};
use discovery_core::document::{ApiGroupList, ApiResourceList, DecodeError, Document, Kind};
use discovery_core::engine::{Cache, Need};
use discovery_core::store::Op;
use discovery_core::{Form, GroupVersion, Snapshot};
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use super::tree::{Name, Tree, Written};
use crate::store::fs::Fs;

/// The time to live of kubectl's files.
const TTL: Duration = Duration::from_secs(6 * 60 * 60);

/// From how many files on they are read and written on a blocking thread, where there are several
/// threads to gain from it. Handing over a single read costs ten times the read.
const MANY: usize = 64;

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
    /// The form in which the server answered this process; the files don't tell.
    form: RwLock<Option<Form>>,
    warned: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct State {
    /// The files that this process wrote since the last invalidation.
    ours: HashSet<Name>,
    /// What could not be written, and when it came.
    kept: Option<(SystemTime, Snapshot)>,
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
    pub(super) fn new(dir: PathBuf) -> Self {
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
            form: RwLock::default(),
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
    pub(super) fn dir(&self) -> &Path {
        &self.tree.dir
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

    /// The groups, without lists.
    fn load_groups(&self, now: SystemTime) -> Snapshot {
        let mut snapshot = Snapshot::default();
        if let Some(groups) = self.read::<ApiGroupList>(&Name::Groups, now) {
            snapshot.set_groups(groups);
        }
        if let Some(form) = *self.form.read().unwrap_or_else(PoisonError::into_inner) {
            snapshot.set_form(form);
        }
        self.add_kept(&mut snapshot, now);
        snapshot
    }

    /// Adds lists from their files.
    fn load_lists(
        &self,
        snapshot: &mut Snapshot,
        group_versions: impl IntoIterator<Item = GroupVersion>,
        now: SystemTime,
    ) {
        for group_version in group_versions {
            let name = Name::Resources(group_version.clone());
            let Some(list) = self.read::<ApiResourceList>(&name, now) else {
                continue;
            };
            if list.group_version == group_version.as_str() {
                snapshot.insert(&group_version, list);
            } else {
                tracing::warn!(%group_version, found = %list.group_version, "the wrong file");
            }
        }
    }

    fn read<T: Kind>(&self, name: &Name, now: SystemTime) -> Option<Document<T>> {
        let is_ours = self.state().ours.contains(name);
        if !is_ours && self.invalidated.load(Ordering::Acquire) {
            return None;
        }
        let content = match self.tree.read(name, now, self.ttl) {
            Ok(content) => content?,
            Err(error) => {
                tracing::debug!(?name, %error, "a discovery file can't be read");
                return None;
            }
        };
        self.counters.files_read.fetch_add(1, Ordering::Relaxed);
        if !is_ours {
            self.fresh.store(false, Ordering::Release);
        }
        let decoded: Result<_, DecodeError> = Document::decode(content);
        decoded
            .inspect_err(|error| tracing::warn!(?name, %error, "a broken discovery file"))
            .ok()
    }

    /// Adds what could not be written.
    fn add_kept(&self, snapshot: &mut Snapshot, now: SystemTime) {
        let mut state = self.state();
        let expired = |since: &SystemTime| since.checked_add(self.ttl).is_none_or(|end| now > end);
        if state.kept.as_ref().is_some_and(|(since, _)| expired(since)) {
            state.kept = None;
        }
        if let Some((_, kept)) = &state.kept {
            snapshot.merge(kept);
        }
    }

    fn save(&self, found: &Snapshot) {
        let now = self.clock.now();
        if let Some(form) = found.form() {
            *self.form.write().unwrap_or_else(PoisonError::into_inner) = Some(form);
        }
        let mut failed = false;
        for (group_version, list) in found.lists() {
            if !list.resources.is_empty() {
                let name = Name::Resources(group_version.clone());
                failed |= !self.write(name, list.json(), now);
            }
        }
        // Last, so that whoever sees new groups finds their lists as well.
        if let Some(groups) = found.groups().filter(|groups| !groups.groups.is_empty()) {
            failed |= !self.write(Name::Groups, groups.json(), now);
        }
        if failed {
            let mut state = self.state();
            let (_, kept) = state.kept.get_or_insert_with(|| (now, Snapshot::default()));
            kept.merge(found);
        }
    }

    /// Says whether the file has the content now.
    fn write(&self, name: Name, content: &[u8], now: SystemTime) -> bool {
        let counters = &self.counters;
        match self.tree.write(&name, content, now) {
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
                    let dir = self.tree.dir.display();
                    tracing::warn!(
                        %dir, %error,
                        "discovery files can't be written; answers are kept in memory"
                    );
                }
                return false;
            }
        }
        self.state().ours.insert(name);
        true
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
            shared.add_kept(&mut snapshot, now);
            shared.load_lists(&mut snapshot, [group_version.clone()], now);
            return Op::Ready(Arc::new(snapshot));
        }
        let mut snapshot = shared.load_groups(now);
        if *need == Need::Groups {
            return Op::Ready(Arc::new(snapshot));
        }
        let missing: Vec<_> = snapshot.missing().collect();
        let many = missing.len() >= MANY;
        let shared = Arc::clone(shared);
        offload_if(many, move || {
            shared.load_lists(&mut snapshot, missing, now);
            Arc::new(snapshot)
        })
    }

    fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
        let many = found.lists().len() >= MANY;
        let (shared, found) = (Arc::clone(&self.shared), Arc::clone(found));
        offload_if(many, move || shared.save(&found))
    }

    fn invalidate(&self) {
        let shared = &self.shared;
        let mut state = shared.state();
        *state = State::default();
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
