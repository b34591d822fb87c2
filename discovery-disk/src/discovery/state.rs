use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use discovery_core::kube::document::{ApiGroupList, ApiResourceList, Document};
use foldhash::quality::RandomState;

use super::tree::{Limit, Name, has_expired};

/// The writes of this process. It is locked for moments, never while a file is read
/// or written.
#[derive(Default)]
pub(super) struct State {
    /// The files that this process wrote since the last invalidation, and the save that wrote them.
    ours: HashMap<Name, u64, RandomState>,
    /// Documents that failed to be written.
    kept: HashMap<Name, Kept, RandomState>,
    /// The files that are being written, each by one thread.
    busy: HashSet<Name, RandomState>,
    /// How many threads wait for a file that another one is writing.
    pub(super) waiting: usize,
    /// The number of invalidations.
    epoch: u64,
    /// The number of saves.
    saves: u64,
}

/// A document that failed to be written.
struct Kept {
    /// The time when it came.
    since: SystemTime,
    part: Part,
    turn: Turn,
}

/// The place of a save among invalidations and other saves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    epoch: u64,
    save: u64,
}

/// The content of a file.
#[derive(Clone)]
pub(super) enum Part {
    Groups(Arc<Document<ApiGroupList>>),
    List(Arc<Document<ApiResourceList>>),
}

impl State {
    /// The turn of a save that is asked for now.
    pub(super) fn turn(&mut self) -> Turn {
        self.saves += 1;
        Turn {
            epoch: self.epoch,
            save: self.saves,
        }
    }

    /// Whether what was asked for then still counts for this file: not after an invalidation, for
    /// then another fetch writes, nor when a later save has been quicker.
    pub(super) fn wants(&self, name: &Name, turn: Turn) -> bool {
        let later = |save: u64| save > turn.save;
        self.epoch == turn.epoch
            && !self.ours.get(name).is_some_and(|save| later(*save))
            && !self
                .kept
                .get(name)
                .is_some_and(|kept| later(kept.turn.save))
    }

    /// Takes a file to be written. `false` if another thread is writing it.
    pub(super) fn take(&mut self, name: &Name) -> bool {
        self.busy.insert(name.clone())
    }

    pub(super) fn give_back(&mut self, name: &Name) {
        self.busy.remove(name);
    }

    /// A file has been written.
    pub(super) fn landed(&mut self, name: &Name, turn: Turn) {
        self.kept.remove(name);
        self.ours.insert(name.clone(), turn.save);
    }

    /// A file has been removed.
    pub(super) fn forget(&mut self, name: &Name, turn: Turn) {
        if self.wants(name, turn) {
            self.kept.remove(name);
            self.ours.remove(name);
        }
    }

    /// A file could not be written.
    pub(super) fn keep(&mut self, name: &Name, since: SystemTime, part: Part, turn: Turn) {
        self.kept.insert(name.clone(), Kept { since, part, turn });
    }

    /// The document that failed to be written, if it has not expired, and the time when it came.
    pub(super) fn kept(&mut self, name: &Name, limit: Limit) -> Option<(SystemTime, Part)> {
        if self.kept.is_empty() {
            return None;
        }
        let Kept { since, part, turn } = self.kept.get(name)?;
        if turn.epoch != self.epoch && !limit.also_invalidated {
            return None;
        }
        // From further ahead than it may last: a clock that was set back would keep it for ever.
        let is_ahead = has_expired(limit.now, limit.ttl, *since);
        if limit.excludes(*since) || is_ahead {
            // Those of the past are kept for whoever takes expired documents as well.
            if is_ahead {
                self.kept.remove(name);
            }
            return None;
        }
        Some((*since, part.clone()))
    }

    pub(super) fn is_ours(&self, name: &Name) -> bool {
        !self.ours.is_empty() && self.ours.contains_key(name)
    }

    /// Forgets what is ours, and what was asked for until now. Threads that write go on to the end
    /// of what they publish; whoever writes the same file next waits for them. Documents that failed to be written stay for
    /// whoever takes invalidated ones, if anybody does.
    pub(super) fn invalidate(&mut self, keep_last_good: bool) {
        self.epoch += 1;
        self.ours.clear();
        if !keep_last_good {
            self.kept.clear();
        }
    }
}

impl Part {
    pub(super) fn json(&self) -> &[u8] {
        match self {
            Self::Groups(groups) => groups.json(),
            Self::List(list) => list.json(),
        }
    }
}
