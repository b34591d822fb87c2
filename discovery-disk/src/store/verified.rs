use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fs::Stamp;

/// How many files are remembered; a few hundred bytes each at most.
const CAPACITY: usize = 8192;

/// The files whose checksum this process has seen to be right. Clones share one table.
#[derive(Clone, Default)]
pub(crate) struct Verified {
    stamps: Arc<Mutex<HashMap<(u64, u64), Stamp>>>,
}

impl Verified {
    pub(crate) fn contains(&self, stamp: &Stamp) -> bool {
        self.lock().get(&(stamp.device, stamp.inode)) == Some(stamp)
    }

    pub(crate) fn insert(&self, stamp: Stamp) {
        let mut stamps = self.lock();
        let file = (stamp.device, stamp.inode);
        // Forgetting costs no more than computing the sums again.
        if stamps.len() >= CAPACITY && !stamps.contains_key(&file) {
            stamps.clear();
        }
        stamps.insert(file, stamp);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), Stamp>> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn stamp(path: &std::path::Path) -> Stamp {
        Stamp::of(&std::fs::metadata(path).unwrap()).unwrap()
    }

    #[test]
    fn the_table_is_bounded_and_tells_states_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let first = stamp(&path);
        let verified = Verified::default();
        assert!(!verified.contains(&first));
        verified.insert(first);
        assert!(verified.contains(&first));

        std::fs::write(&path, "longer").unwrap();
        assert!(!verified.contains(&stamp(&path)));
        assert!(verified.contains(&first));

        for inode in 0..CAPACITY as u64 {
            verified.insert(Stamp {
                device: u64::MAX,
                inode,
                ..first
            });
            assert!(verified.lock().len() <= CAPACITY);
        }
        assert!(!verified.contains(&first));
    }
}
