//! Writing the files of a server.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;

use discovery_core::Snapshot;

use super::backend::Shared;
use super::state::Part;
use super::state::Turn;
use super::tidy::Untidy;
use super::tree::{Batch, Name, Written};
use crate::store::error::why;

/// The largest number of threads that write files at the same time, and how many there are for each processor. They wait
/// for the disk, or for a server of files, and so may be more; kubectl's writes come from as many goroutines as its
/// requests.
const MAX_THREADS: usize = 8;
const PER_PROCESSOR: usize = 2;

/// For how many files a thread is worth its start.
const PER_THREAD: usize = 8;

/// A file that this thread alone writes.
struct Busy<'a> {
    shared: &'a Shared,
    name: &'a Name,
}

impl Shared {
    /// Writes what a fetch has found, or keeps what can't be written.
    pub(super) fn write_found(&self, found: &Snapshot, turn: Turn) {
        let lists: Vec<_> = found
            .lists()
            .filter(|(_, list)| !list.resources.is_empty())
            .map(|(group_version, list)| {
                let name = Name::Resources(group_version.clone());
                (name, Part::List(Arc::clone(list)))
            })
            .collect();
        let groups = found.groups().filter(|groups| !groups.groups.is_empty());
        let has_files = groups.is_some() || !lists.is_empty();
        let batch = match has_files {
            true => self.tree.make(),
            false => self.tree.single(),
        };
        self.write_all(&lists, &batch, turn);
        self.remove_emptied(found, turn);
        self.save_empty(found, turn);
        // Last, so that whoever sees new groups finds their lists as well.
        if let Some(groups) = groups {
            let had_files = !batch.is_new && self.tree.stamp(&Name::Groups).is_some();
            let part = Part::Groups(Arc::clone(groups));
            let Some(written) = self.write(&batch, &Name::Groups, &part, turn) else {
                return;
            };
            // A new directory has nothing that is to go.
            let now = self.clock.now();
            let untidy = match written {
                _ if !had_files => None,
                Written::Content => Some(Untidy::All),
                _ => self.tree.untidy(now),
            };
            if let Some(untidy) = untidy {
                let served = found.group_versions().iter().chain(found.stale());
                self.tree.tidy(untidy, &served.cloned().collect(), now);
            }
        }
    }

    /// Removes the files of lists that have no resources any more: they would be told until they expire.
    fn remove_emptied(&self, found: &Snapshot, turn: Turn) {
        for (group_version, list) in found.lists() {
            let name = Name::Resources(group_version.clone());
            if list.resources.is_empty()
                && let Some(_busy) = self.begin(&name, turn)
            {
                self.tree.remove(&name);
                self.state().forget(&name, turn);
            }
        }
    }

    /// Keeps lists without resources where kubectl does not look.
    fn save_empty(&self, found: &Snapshot, turn: Turn) {
        let Some(negatives) = &self.negatives else {
            return;
        };
        negatives.note_lists(found.lists().map(|(group_version, _)| group_version));
        for (group_version, list) in found.lists() {
            if list.resources.is_empty() && self.claims(negatives, group_version, turn) {
                negatives.save_empty(group_version, list.json());
            }
        }
    }

    /// Writes files, many of them with several threads, and returns when all is done.
    fn write_all(&self, files: &[(Name, Part)], batch: &Batch, turn: Turn) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((name, part)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.write(batch, name, part, turn);
            }
        };
        let most = match files.len() / PER_THREAD {
            0 | 1 => 1,
            several => {
                let processors = thread::available_parallelism().map_or(1, usize::from);
                several.min(processors * PER_PROCESSOR).min(MAX_THREADS)
            }
        };
        thread::scope(|scope| {
            for _ in 1..most {
                let builder = thread::Builder::new().name("discovery files".into());
                // Without another thread, this one does it all.
                if builder.spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
    }

    /// Writes a file, or keeps what can't be written. Does nothing if that is not wanted any more.
    fn write(&self, batch: &Batch, name: &Name, part: &Part, turn: Turn) -> Option<Written> {
        let _busy = self.begin(name, turn)?;
        let now = self.clock.now();
        let wanted = || self.state().wants(name, turn);
        let written = self.tree.write(batch, name, part.json(), now, wanted);
        self.count(name, part.json(), &written);
        let mut state = self.state();
        if !state.wants(name, turn) {
            return None;
        }
        match written {
            Ok(Written::Content | Written::Renewed) => state.landed(name, turn),
            Ok(Written::Unwanted) => {}
            Ok(Written::NoFile) | Err(_) => state.keep(name, now, part.clone(), turn),
        }
        written.ok()
    }

    /// Waits until no other thread writes this file. `None` if it is not to be written any more.
    fn begin<'a>(&'a self, name: &'a Name, turn: Turn) -> Option<Busy<'a>> {
        let mut state = self.state();
        loop {
            if !state.wants(name, turn) {
                return None;
            }
            if state.take(name) {
                return Some(Busy { shared: self, name });
            }
            state.waiting += 1;
            state = self
                .given_back
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn count(&self, name: &Name, content: &[u8], written: &io::Result<Written>) {
        let counters = &self.counters;
        match written {
            Ok(Written::NoFile | Written::Unwanted) => {}
            Ok(Written::Renewed) => {
                tracing::debug!(decision = "renew", file = %self.tree.shown(name));
                counters.files_renewed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Written::Content) => {
                let bytes = content.len();
                tracing::debug!(decision = "write", file = %self.tree.shown(name), bytes);
                counters.files_written.fetch_add(1, Ordering::Relaxed);
                counters
                    .bytes_written
                    .fetch_add(content.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                counters.write_errors.fetch_add(1, Ordering::Relaxed);
                if self.warned.is_first() {
                    let dir = &self.tree.dir;
                    tracing::warn!(
                        ?dir, error = %why(error),
                        "discovery files can't be written, answers are kept in memory; \
                         further cases are logged at DEBUG"
                    );
                } else {
                    let reason = "it failed to be written";
                    let file = self.tree.shown(name);
                    tracing::debug!(decision = "keep in memory", reason, %file, error = %why(error));
                }
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.give_back(self.name);
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.shared.given_back.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use discovery_core::engine::Cache;
    use discovery_core::kube::document::ApiResourceList;
    use tokio_test::block_on;

    use std::path::Path;

    use super::super::DiskBackend;
    use super::super::settings::DiskSettings;
    use super::*;

    fn backend(dir: Option<&Path>) -> DiskBackend {
        DiskBackend::new(&DiskSettings::new(dir.map(Path::to_owned)))
    }

    /// The documents of a fetch of one list.
    fn found(resource: &str) -> Arc<Snapshot> {
        let json = format!(
            r#"{{"kind":"APIResourceList","groupVersion":"a/v1","resources":[{{"name":"{resource}"}}]}}"#
        );
        let list: ApiResourceList =
            discovery_core::kube::document::decode(json.as_bytes()).unwrap();
        let mut snapshot = Snapshot::default();
        snapshot.insert(&"a/v1".parse().unwrap(), list);
        Arc::new(snapshot)
    }

    /// The engine may wait for saves in any order, and may be told to forget before it does.
    #[test]
    fn what_was_found_last_is_what_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/v1/serverresources.json");
        let content = || std::fs::read_to_string(&path).unwrap();
        let files = backend(Some(dir.path()));
        let (first, second) = (files.save(&found("one")), files.save(&found("two")));
        assert!(!path.exists(), "nothing before it is waited for");
        block_on(second);
        block_on(first);
        assert!(content().contains("two"));
        assert_eq!(files.stats().files_written, 1);

        let third = files.save(&found("three"));
        files.invalidate();
        block_on(files.save(&found("four")));
        block_on(third);
        assert!(content().contains("four"));
        let fifth = files.save(&found("five"));
        files.invalidate();
        block_on(fifth);
        assert!(content().contains("four"));

        // The same where nothing can be written.
        let files = backend(None);
        let (first, second) = (files.save(&found("one")), files.save(&found("two")));
        block_on(second);
        block_on(first);
        let need = discovery_core::engine::Scope::Resources("a/v1".parse().unwrap());
        let known = block_on(files.load(&need));
        assert_eq!(known.resources("a/v1").unwrap().resources[0].name, "two");
    }
}
