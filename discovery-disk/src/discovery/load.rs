//! Reading the files of a server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use discovery_core::kube::document::{
    ApiGroupList, ApiResourceList, DecodeError, Document, Kind, decode_exact,
};
use discovery_core::{GroupVersion, Snapshot};

use super::backend::{CACHE, MANY, Shared};
use super::read_lists::{List, ReadList};
use super::state::Part;
use super::tree::{Batch, Limit, Name, Opened};
use crate::store::error::{Shown, why};
use crate::store::fs::Stamp;

/// The largest number of threads that read files at the same time.
const MAX_THREADS: usize = 4;

/// The number of files that a thread takes at a time.
const BATCH: usize = 16;

impl Shared {
    /// The groups, without lists. They are parsed once as long as their file is the same.
    pub(super) fn load_groups(&self, limit: Limit) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::default();
        let mut stamp = None;
        let kept = self.state().kept(&Name::Groups, limit);
        let since = kept.as_ref().map(|(since, _)| *since);
        if let Some(opened) = self.open(&self.tree.single(), &Name::Groups, limit, since) {
            let format = self.format();
            let is_it = |latest: &&(Stamp, Arc<Snapshot>)| {
                let (stamp, snapshot) = latest;
                opened.stamp == Some(*stamp) && (format.is_none() || snapshot.format() == format)
            };
            if let Some((_, latest)) = self.groups().as_ref().filter(is_it) {
                return Arc::clone(latest);
            }
            let groups: Option<Document<ApiGroupList>> =
                self.decode(&opened, &mut Vec::new(), true);
            // Neither program writes a list without groups: it had some.
            if let Some(groups) = groups.filter(|groups| !groups.groups.is_empty()) {
                snapshot.set_groups(groups);
                stamp = opened.stamp;
            }
        }
        if let (None, Some((_, Part::Groups(groups)))) = (snapshot.groups(), kept) {
            snapshot.set_groups_shared(groups);
        }
        if let Some(format) = self.format() {
            snapshot.set_format(format);
        }
        let snapshot = Arc::new(snapshot);
        *self.groups() = stamp.map(|stamp| (stamp, Arc::clone(&snapshot)));
        snapshot
    }

    pub(super) fn groups(&self) -> MutexGuard<'_, Option<(Stamp, Arc<Snapshot>)>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists from their files, in no order. Many of them are read and parsed by several threads,
    /// because a program that waits for all of them has nothing else to do.
    pub(super) fn load_lists(&self, group_versions: &[GroupVersion], limit: Limit) -> Vec<List> {
        // A look at a file that is as it was takes less time than to share it out among threads.
        let (mut known, unknown) = self.unchanged_lists(group_versions, limit);
        let group_versions = &unknown[..];
        if group_versions.len() < MANY {
            known.extend(self.load_some(group_versions, limit));
            return known;
        }
        let all = &self.tree.many();
        let batches: Vec<_> = group_versions.chunks(BATCH).collect();
        let next = AtomicUsize::new(0);
        // Lists differ in size, and threads in when they start: each takes the next batch.
        let work = || {
            let mut lists = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                lists.extend(self.load_from(all, batch, limit));
            }
            lists
        };
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        thread::scope(|scope| {
            let spawn = |_| {
                let builder = thread::Builder::new().name("discovery files".into());
                // Without another thread, this one does it all.
                builder.spawn_scoped(scope, work).ok()
            };
            let others: Vec<_> = (1..threads).filter_map(spawn).collect();
            let mut lists = work();
            for other in others {
                // The lists that a panicked thread has read are lost.
                lists.extend(other.join().unwrap_or_default());
            }
            lists.extend(known);
            lists
        })
    }

    /// The lists that were read before and whose files are the same, and the group versions of the others.
    fn unchanged_lists(
        &self,
        group_versions: &[GroupVersion],
        limit: Limit,
    ) -> (Vec<List>, Vec<GroupVersion>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        if self.lists.is_empty() {
            return (known, group_versions.to_vec());
        }
        for group_version in group_versions {
            let name = Name::Resources(group_version.clone());
            let kept = self.state().kept(&name, limit);
            let since = kept.map(|(since, _)| since);
            match self.unchanged(group_version, &name, limit, since) {
                Some(list) => known.push((group_version.clone(), list)),
                None => unknown.push(group_version.clone()),
            }
        }
        (known, unknown)
    }

    pub(super) fn load_some(&self, group_versions: &[GroupVersion], limit: Limit) -> Vec<List> {
        let batch = match group_versions.len() {
            // A file or two are found by their paths as fast.
            0..=2 => self.tree.single(),
            _ => self.tree.many(),
        };
        self.load_from(&batch, group_versions, limit)
    }

    fn load_from(&self, batch: &Batch, group_versions: &[GroupVersion], limit: Limit) -> Vec<List> {
        // If many are read, their JSON is seldom asked for, and then made anew.
        let keep_json = group_versions.len() == 1;
        let mut buffer = Vec::new();
        let load = |group_version: &GroupVersion| {
            let name = Name::Resources(group_version.clone());
            let kept = self.state().kept(&name, limit);
            let since = kept.as_ref().map(|(since, _)| *since);
            let list = self
                .unchanged(group_version, &name, limit, since)
                .or_else(|| {
                    let opened = self.open(batch, &name, limit, since)?;
                    self.read_list(group_version, &opened, &mut buffer, keep_json)
                });
            let list = match (list, kept) {
                (None, Some((_, Part::List(list)))) => Some(list),
                (list, _) => list,
            };
            Some((group_version.clone(), list?))
        };
        group_versions.iter().filter_map(load).collect()
    }

    fn read_list(
        &self,
        group_version: &GroupVersion,
        opened: &Opened,
        buffer: &mut Vec<u8>,
        keep_json: bool,
    ) -> Option<Arc<Document<ApiResourceList>>> {
        let list: Document<ApiResourceList> = self.decode(opened, buffer, keep_json)?;
        // Neither program writes one: it had some.
        if list.resources.is_empty() {
            let reason = "it has no resources";
            tracing::debug!(decision = "skip", reason, file = %Shown(&opened.path));
            return None;
        }
        if list.group_version != group_version.as_str() {
            tracing::debug!(
                decision = "skip",
                reason = "it is of another group version",
                file = %Shown(&opened.path),
                found = ?list.group_version,
            );
            return None;
        }
        let list = Arc::new(list);
        if let Some(stamp) = opened.stamp {
            let (modified, list) = (opened.modified, Arc::clone(&list));
            let read = ReadList {
                stamp,
                modified,
                list,
            };
            self.lists.keep(group_version, read);
        }
        Some(list)
    }

    /// A list that was read before, if its file is the same, and still counts by the rules of [`open`](Self::open).
    fn unchanged(
        &self,
        group_version: &GroupVersion,
        name: &Name,
        limit: Limit,
        kept: Option<SystemTime>,
    ) -> Option<Arc<Document<ApiResourceList>>> {
        let read = self.lists.get(group_version)?;
        if self.tree.stamp(name) != Some(read.stamp) {
            self.lists.forget(group_version);
            return None;
        }
        let is_ours = self.state().is_ours(name);
        if self.is_invalidated(is_ours, limit)
            || limit.excludes(read.modified)
            || kept.is_some_and(|since| read.modified <= since)
        {
            return None;
        }
        if !is_ours {
            self.fresh.store(false, Ordering::Release);
        }
        Some(read.list)
    }

    /// Whether a file does not count, since this process has not written it after an invalidation.
    fn is_invalidated(&self, is_ours: bool, limit: Limit) -> bool {
        !is_ours && !limit.also_invalidated && self.invalidated.load(Ordering::Acquire)
    }

    /// Opens a file that counts: not expired, not older than an invalidation, and newer than what
    /// is kept because it could not be written.
    fn open(
        &self,
        batch: &Batch,
        name: &Name,
        limit: Limit,
        kept: Option<SystemTime>,
    ) -> Option<Opened> {
        let is_ours = self.state().is_ours(name);
        if self.is_invalidated(is_ours, limit) {
            tracing::debug!(
                decision = "skip",
                reason = "this process has not written it since the cache was invalidated",
                file = %self.tree.shown(name),
            );
            return None;
        }
        let opened = self.tree.open(batch, name, limit);
        let opened = opened
            .inspect_err(|error| {
                let reason = "it failed to be opened";
                let file = self.tree.shown(name);
                tracing::debug!(decision = "skip", reason, %file, error = %why(error));
            })
            .ok()??;
        if kept.is_some_and(|since| opened.modified <= since) {
            tracing::debug!(
                decision = "skip",
                reason = "a later document is kept in memory",
                file = %Shown(&opened.path),
            );
            return None;
        }
        tracing::debug!(
            decision = "read",
            file = %Shown(&opened.path),
            age = ?limit.now.duration_since(opened.modified).ok(),
        );
        self.counters.files_read.fetch_add(1, Ordering::Relaxed);
        if !is_ours {
            self.fresh.store(false, Ordering::Release);
        }
        Some(opened)
    }

    fn decode<T: Kind>(
        &self,
        opened: &Opened,
        buffer: &mut Vec<u8>,
        keep_json: bool,
    ) -> Option<Document<T>> {
        let path = Shown(&opened.path);
        if let Err(error) = self.tree.read(opened, buffer) {
            let reason = "it failed to be read";
            tracing::debug!(decision = "skip", reason, file = %path, error = %why(&error));
            return None;
        }
        let decoded: Result<Document<T>, DecodeError> = if keep_json {
            Document::decode_exact(std::mem::take(buffer).into())
        } else {
            decode_exact(buffer).map(Document::new)
        };
        decoded
            .map(|document| document.from_cache(CACHE, opened.modified))
            .inspect_err(|error| {
                let reason = "it is not such a document";
                tracing::debug!(decision = "skip", reason, file = %path, error = %why(error));
            })
            .ok()
    }
}
