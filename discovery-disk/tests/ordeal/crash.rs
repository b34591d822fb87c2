//! A writer that is killed at random moments.

use std::fs;
use std::path::Path;
use std::time::Duration;

use discovery_core::kube::document::{ApiGroupList, ApiResourceList, decode_exact};
use tokio_test::block_on;

use crate::parts::{start, wait_until_written};
use crate::processes::{CRASH_KEYS, DISCOVERY, GROUPS};
use crate::values::{check, store, sweep};
use crate::{Random, number, seed};

#[test]
fn whatever_is_there_after_a_kill_was_completely_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed("crash"));
    let kills = number("ORDEAL_KILLS", 60);
    for kill in 0..kills {
        let kind = (kill % u64::from(DISCOVERY + 1)) as u8;
        let mut child = start("part_victim", dir.path(), kind);
        wait_until_written(&mut child);
        // Wherever it is: there is nothing to wait for.
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        if kind == DISCOVERY {
            check_discovery(&dir.path().join("discovery"));
            continue;
        }
        // A store that has seen none of the files.
        let store = store(dir.path(), kind);
        for key in CRASH_KEYS {
            if let Some(value) = block_on(store.get(key)).unwrap() {
                check(key, value);
            }
        }
    }
    for kind in 0..DISCOVERY {
        sweep(dir.path(), kind);
        let temporary = dir.path().join(kind.to_string()).join(".diskv-temp");
        let left = temporary.read_dir().map_or(0, Iterator::count);
        assert_eq!(left, 0, "temporary files of kind {kind}");
    }
}

/// Each file is as the program writes it, or not there.
fn check_discovery(directory: &Path) {
    let mut lists = 0;
    for n in 0..GROUPS {
        let name = format!("g{n}/v1");
        if let Ok(json) = fs::read(directory.join(&name).join("serverresources.json")) {
            let list: ApiResourceList = decode_exact(&json).expect("a whole list");
            assert_eq!(
                (list.group_version.as_str(), list.resources.len()),
                (&*name, 1)
            );
            lists += 1;
        }
    }
    if let Ok(json) = fs::read(directory.join("servergroups.json")) {
        let groups: ApiGroupList = decode_exact(&json).expect("a whole list of groups");
        assert_eq!(groups.groups.len(), GROUPS + 1);
        assert_eq!(lists, GROUPS, "the lists that the groups promise");
    }
}
