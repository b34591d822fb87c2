//! Lists that the server does not serve any more.

use std::fs;

use discovery_core::Format;
use discovery_core::testing::fixtures::{self, Group};
use discovery_disk::DiskDiscoveryLayer;

use crate::tools::*;

/// How long a look at all directories is good for.
#[cfg(unix)]
const EVERY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

fn refresh(server: &Server, layer: &DiskDiscoveryLayer) {
    layer.handle().invalidate();
    assert_eq!(server.ask(layer, "/apis").status(), 200);
}

#[test]
fn lists_of_group_versions_that_are_gone_lose_their_files() {
    let (_dir, dir) = warm_directory();
    for name in ["gone/v1", "a/v0", "v0", "s/v1"] {
        fs::create_dir_all(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("serverresources.json"), "{}").unwrap();
    }
    fs::write(dir.join("gone/note"), "not ours").unwrap();
    fs::write(dir.join("note"), "not ours").unwrap();
    let (server, layer) = (Server::default(), DiskDiscoveryLayer::new(&dir));
    refresh(&server, &layer);
    let names: Vec<_> = tree(&dir).into_iter().map(|(name, _)| name).collect();
    let left = [
        "a/v1/serverresources.json",
        "a/v2/serverresources.json",
        "gone/note",
        "note",
        // It is stale, and may come back.
        "s/v1/serverresources.json",
        "servergroups.json",
        "v1/serverresources.json",
    ];
    assert_eq!(names, left);
    assert!(!dir.join("a/v0").exists() && !dir.join("v0").exists());

    // In a process that runs long, when the groups have changed.
    let groups = [Group::new("a").version("v2", &["xs"])];
    server.set("/apis", json(Format::V2, &fixtures::aggregated(&groups)));
    refresh(&server, &layer);
    assert!(!dir.join("a/v1").exists() && dir.join("a/v2").exists());
    assert!(!dir.join("s").exists());
}

/// kubectl publishes its groups at each discovery. That is no reason to look at all directories again on the same day.
#[cfg(unix)]
#[test]
fn after_another_program_s_discovery_only_groups_that_are_gone_are_looked_at() {
    let (_dir, dir) = warm_directory();
    let plant = |name: &str| {
        fs::create_dir_all(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("serverresources.json"), "{}").unwrap();
    };
    let discover = || {
        let new = dir.join("servergroups.json.tmp");
        fs::copy(dir.join("servergroups.json"), &new).unwrap();
        fs::rename(new, dir.join("servergroups.json")).unwrap();
    };
    let looked = || fs::metadata(&dir).unwrap().accessed().unwrap();
    let (server, layer) = (Server::default(), DiskDiscoveryLayer::new(&dir));
    refresh(&server, &layer);
    let first = looked();
    for _ in 0..2 {
        for name in ["gone/v1", "v0", "a/v0"] {
            plant(name);
        }
        discover();
        refresh(&server, &layer);
        assert!(!dir.join("gone").exists() && !dir.join("v0").exists());
        assert!(dir.join("a/v0").exists() && dir.join("a/v1").exists());
        assert_eq!(looked(), first, "the day goes on");
    }

    // Nothing has been published since.
    plant("a/v9");
    refresh(&server, &layer);
    assert!(dir.join("a/v0").exists() && dir.join("a/v9").exists());

    let times = fs::FileTimes::new().set_accessed(first - EVERY);
    fs::File::open(&dir).unwrap().set_times(times).unwrap();
    refresh(&server, &layer);
    assert!(!dir.join("a/v0").exists() && !dir.join("a/v9").exists());
    assert!(dir.join("a/v1").exists());
}

/// A server at `/a/v1` of the same address has its files there, in kubectl's layout.
#[test]
fn another_servers_files_below_are_left() {
    let (_dir, dir) = warm_directory();
    let others = ["k8s/clusters/c-1", "b", "c/v1"];
    for other in others {
        for name in ["v1", "apps/v1", "x/v9"] {
            let list = dir.join(other).join(name);
            fs::create_dir_all(&list).unwrap();
            fs::write(list.join("serverresources.json"), "{}").unwrap();
        }
        fs::write(dir.join(other).join("servergroups.json"), "{}").unwrap();
    }
    let before = tree(&dir).len();
    refresh(&Server::default(), &DiskDiscoveryLayer::new(&dir));
    assert_eq!(tree(&dir).len(), before);
}

#[cfg(unix)]
#[test]
fn nothing_is_removed_behind_a_link() {
    let (outer, dir) = warm_directory();
    let elsewhere = outer.path().join("elsewhere/v1");
    fs::create_dir_all(&elsewhere).unwrap();
    fs::write(elsewhere.join("serverresources.json"), "{}").unwrap();
    let link = |target: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
    };
    link(&outer.path().join("elsewhere"), "group");
    fs::create_dir(dir.join("other")).unwrap();
    link(&elsewhere, "other/v1");
    fs::create_dir_all(dir.join("file/v1")).unwrap();
    link(
        &elsewhere.join("serverresources.json"),
        "file/v1/serverresources.json",
    );
    refresh(&Server::default(), &DiskDiscoveryLayer::new(&dir));
    assert!(elsewhere.join("serverresources.json").exists());
    assert!(dir.join("group").is_symlink() && dir.join("other/v1").is_symlink());
}

/// A file is not evidence of anything, if neither program writes such a one.
#[test]
fn a_list_without_content_is_no_list() {
    let (_dir, dir) = warm_directory();
    let empty =
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"a/v1","resources":[]}"#;
    fs::write(dir.join("a/v1/serverresources.json"), format!("{empty}\n")).unwrap();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    assert!(text(server.ask(&layer, "/apis/a/v1")).contains("xs"));
    assert_eq!(server.asked(), ["/apis/a/v1"]);
    let empty = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#;
    fs::write(dir.join("servergroups.json"), format!("{empty}\n")).unwrap();
    assert!(text(server.ask(&layer, "/apis")).contains("a/v1"));
    assert_eq!(server.asked(), ["/api", "/apis"]);
}

/// An empty list has no file. The one from before would be told until it expires, by kubectl as well.
#[test]
fn a_list_that_has_become_empty_loses_its_file() {
    let groups = [Group::new("a").version("v2", &["xs"]).version("v1", &[])];
    let groups = json(Format::V2, &fixtures::aggregated(&groups));
    for is_invalidated in [true, false] {
        let (_dir, dir) = warm_directory();
        let server = Server::default();
        let layer = DiskDiscoveryLayer::new(&dir);
        assert!(text(server.ask(&layer, "/apis/a/v1")).contains("xs"));
        server.set("/apis", groups.clone());
        if is_invalidated {
            layer.handle().invalidate();
        } else {
            set_modified(&dir.join("servergroups.json"), long_ago());
        }
        assert_eq!(server.ask(&layer, "/apis").status(), 200);
        assert_eq!(server.asked(), ["/api", "/apis"]);
        assert!(!dir.join("a/v1").exists() && dir.join("a/v2").exists());
        assert_eq!(layer.disk_stats().write_errors, 0);
        // This process, and another one.
        for layer in [layer, DiskDiscoveryLayer::new(&dir)] {
            assert!(text(server.ask(&layer, "/apis/a/v2")).contains("xs"));
            let list = text(server.ask(&layer, "/apis/a/v1"));
            assert!(list.contains(r#""resources":[]"#), "{list}");
        }
    }
    // That of a server below this one is its own.
    let (_dir, dir) = warm_directory();
    fs::write(dir.join("a/servergroups.json"), GROUPS).unwrap();
    let server = Server::default();
    server.set("/apis", groups);
    refresh(&server, &DiskDiscoveryLayer::new(&dir));
    assert!(dir.join("a/v1/serverresources.json").exists());
}
