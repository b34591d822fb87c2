//! Temporary files that killed processes left.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use discovery_core::Format;
use discovery_core::sync::clock::ManualClock;
use discovery_disk::DiskDiscoveryLayer;

use crate::tools::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn leave(path: &Path, age: Duration) {
    fs::write(path, "left").unwrap();
    set_modified(path, SystemTime::now() - age);
}

fn names(dir: &Path) -> Vec<String> {
    let entries = dir.read_dir().unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_first_write_beside_them_removes_them() {
    let (_dir, dir) = warm_directory();
    let list = dir.join("a/v1");
    for (name, age) in [
        ("serverresources.json.1", DAY),
        ("serverresources.json.4294967295", DAY * 100),
        // Too new, or something else.
        ("serverresources.json.2", DAY - Duration::from_secs(60)),
        ("serverresources.json.bak", DAY * 2),
        ("serverresources.json.", DAY * 2),
        ("serverresources.json.3x", DAY * 2),
        ("servergroups.json.4", DAY * 2),
        ("5", DAY * 2),
    ] {
        leave(&list.join(name), age);
    }
    fs::create_dir(list.join("serverresources.json.6")).unwrap();
    leave(&dir.join("servergroups.json.7"), DAY * 2);

    // Reading removes nothing, nor does renewing one list.
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    assert!(server.ask_all(&layer));
    layer.handle().invalidate();
    server.ask(&layer, "/apis/a/v1");
    assert_eq!(names(&list).len(), 10);

    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    layer.handle().invalidate();
    server.ask(&layer, "/apis/a/v1");
    let left = [
        "5",
        "servergroups.json.4",
        "serverresources.json",
        "serverresources.json.",
        "serverresources.json.2",
        "serverresources.json.3x",
        "serverresources.json.6",
        "serverresources.json.bak",
    ];
    assert_eq!(names(&list), left);
    // Nothing has been written there.
    assert!(dir.join("servergroups.json.7").exists());

    // Once: what comes later is for the next process.
    leave(&list.join("serverresources.json.8"), DAY * 2);
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "newer")));
    layer.handle().invalidate();
    server.ask(&layer, "/apis/a/v1");
    assert_eq!(names(&list).len(), left.len() + 1);
}

/// Also where nothing has changed.
#[test]
fn a_process_that_asks_for_the_groups_removes_them_everywhere() {
    let (_dir, dir) = warm_directory();
    let left = [
        "servergroups.json.1",
        "v1/serverresources.json.2",
        "a/v1/serverresources.json.3",
        "a/v2/serverresources.json.4",
    ];
    for name in left {
        leave(&dir.join(name), DAY * 2);
    }
    leave(&dir.join("a/v1/serverresources.json.5"), DAY / 2);
    let (server, layer) = (Server::default(), DiskDiscoveryLayer::new(&dir));
    layer.handle().invalidate();
    server.ask(&layer, "/apis");
    assert_eq!(layer.disk_stats().files_written, 0, "nothing has changed");
    for name in left {
        assert!(!dir.join(name).exists(), "{name}");
    }
    assert!(dir.join("a/v1/serverresources.json.5").exists());
}

#[cfg(unix)]
#[test]
fn what_is_behind_a_link_is_left() {
    let (outer, dir) = warm_directory();
    let elsewhere = outer.path().join("elsewhere");
    fs::rename(dir.join("a/v1"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.join("a/v1")).unwrap();
    leave(&elsewhere.join("serverresources.json.1"), DAY * 2);
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    layer.handle().invalidate();
    server.ask(&layer, "/apis/a/v1");
    assert!(elsewhere.join("serverresources.json.1").exists());
}

/// Looking at thousands of directories takes longer than asking the server whether something has changed.
#[test]
fn a_tree_that_is_as_it_was_is_looked_at_once_a_day() {
    let (_dir, dir) = warm_directory();
    let clock = ManualClock::new(SystemTime::now());
    let refresh = |name: &str| {
        let path = dir.join(name);
        leave(&path, DAY * 3);
        let server = Server::default();
        let layer = DiskDiscoveryLayer::new(&dir).clock(clock.clone());
        layer.handle().invalidate();
        server.ask(&layer, "/apis");
        path.exists()
    };
    assert!(!refresh("a/v1/serverresources.json.1"));
    assert!(
        refresh("a/v1/serverresources.json.2"),
        "another process has looked"
    );
    clock.advance(DAY - Duration::from_secs(60));
    assert!(refresh("a/v1/serverresources.json.2"));
    clock.advance(Duration::from_secs(120));
    assert!(!refresh("a/v1/serverresources.json.2"));
    // Somebody has published the groups since then, as kubectl does at each refresh: no reason to look again that day.
    assert!(refresh("a/v1/serverresources.json.3"));
    fs::rename(dir.join("servergroups.json"), dir.join("x")).unwrap();
    fs::rename(dir.join("x"), dir.join("servergroups.json")).unwrap();
    assert!(refresh("a/v1/serverresources.json.3"));
    clock.advance(DAY);
    assert!(!refresh("a/v1/serverresources.json.3"));
}
