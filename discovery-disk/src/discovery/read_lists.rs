//! Documents that this process has read, and need not read again while their files are the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use discovery_core::kube::document::{ApiResourceList, Document};
use discovery_core::{GroupVersion, Snapshot};
use foldhash::quality::RandomState;

use crate::store::fs::Stamp;

/// The resources of a group version.
pub(super) type List = (GroupVersion, Arc<Document<ApiResourceList>>);

/// The lists that were read last, each with the state of its file at that time.
#[derive(Default)]
pub(super) struct ReadLists {
    lists: Mutex<HashMap<GroupVersion, ReadList, RandomState>>,
}

#[derive(Clone)]
pub(super) struct ReadList {
    pub(super) stamp: Stamp,
    pub(super) modified: SystemTime,
    pub(super) list: Arc<Document<ApiResourceList>>,
}

/// The last snapshot of groups and lists. It has the aggregated documents that were made of it.
#[derive(Default)]
pub(super) struct All {
    groups: Arc<Snapshot>,
    all: Arc<Snapshot>,
}

impl ReadLists {
    pub(super) fn get(&self, group_version: &GroupVersion) -> Option<ReadList> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.get(group_version).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.is_empty()
    }

    pub(super) fn keep(&self, group_version: &GroupVersion, read: ReadList) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(group_version.clone(), read);
    }

    pub(super) fn forget(&self, group_version: &GroupVersion) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.remove(group_version);
    }
}

impl All {
    /// The snapshot of these groups and lists: the last one, if it is of the very same.
    pub(super) fn load(&mut self, groups: Arc<Snapshot>, lists: Vec<List>) -> Arc<Snapshot> {
        let is_same = |(group_version, list): &List| {
            let known = self.all.resources(group_version.as_str());
            known.is_some_and(|known| Arc::ptr_eq(known, list))
        };
        let are_same = Arc::ptr_eq(&self.groups, &groups)
            && self.all.lists().len() == lists.len()
            && lists.iter().all(is_same);
        if !are_same {
            let mut all = Snapshot::clone(&groups);
            all.extend(lists);
            (self.groups, self.all) = (groups, Arc::new(all));
        }
        Arc::clone(&self.all)
    }
}
