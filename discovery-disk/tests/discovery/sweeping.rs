//! Temporary files that killed processes left.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use discovery_core::Format;

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

    // Reading and renewing remove nothing.
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    assert!(server.ask_all(&layer));
    layer.handle().invalidate();
    server.ask_all(&layer);
    assert_eq!(names(&list).len(), 10);

    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    layer.handle().invalidate();
    server.ask_all(&layer);
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
    server.ask_all(&layer);
    assert_eq!(names(&list).len(), left.len() + 1);
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
