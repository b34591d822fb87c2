//! Files that are not what they should be: each is as good as none, and is replaced.

use std::fs::{self, File};
use std::path::Path;

use discovery_disk::DiskDiscoveryLayer;

use crate::tools::*;

/// A server's directory in which one file has been made bad.
#[track_caller]
fn is_replaced(what: &str, make_bad: impl Fn(&Path)) {
    for (name, path) in [
        ("servergroups.json", "/apis"),
        ("a/v1/serverresources.json", "/apis/a/v1"),
    ] {
        let (_dir, dir) = warm_directory();
        let (server, layer) = (Server::legacy(), of_single_lists(&dir));
        make_bad(&dir.join(name));
        let expected = text(server.ask(&DiskDiscoveryLayer::without_files(), path));
        server.asked();
        let answer = server.ask(&layer, path);
        assert_eq!(answer.status(), 200, "{what} {name}");
        assert!(!server.asked().is_empty(), "{what} {name} is no hit");
        assert_eq!(
            text(answer).trim_end(),
            expected.trim_end(),
            "{what} {name}"
        );
        assert_eq!(tree(&dir), all_files(), "{what} {name} is replaced");
        assert!(fs::symlink_metadata(dir.join(name)).unwrap().is_file());
        server.ask(&layer, path);
        server.ask(&of_single_lists(&dir), path);
        assert!(server.asked().is_empty(), "{what} {name} is good now");
    }
}

#[test]
fn a_file_with_wrong_content_is_replaced() {
    let list = file("a/v1", "xs");
    let other_group = file("b/v1", "xs");
    let no_group = list.replace("a/v1", "");
    let half = &list[..list.len() / 2];
    let trailing = format!("{list}{{}}");
    let groups_half = &GROUPS[..GROUPS.len() - 3];
    let groups_trailing = format!("{GROUPS}x");
    let contents: Vec<&str> = vec![
        "",
        "\n",
        "{}",
        "null",
        "[]",
        "0",
        "\"\"",
        "{",
        "garbled",
        "\0\0\0\0",
        r#"{"kind":null}"#,
        r#"{"kind":"Status","status":"Failure"}"#,
        r#"{"kind":"APIGroup","name":"a"}"#,
        r#"{"kind":"APIGroupDiscoveryList","items":[]}"#,
        r#"{"apiVersion":"v1","groups":[],"resources":[],"groupVersion":"a/v1"}"#,
        // Of the wrong type, for either file.
        r#"{"kind":"APIGroupList","groups":{}}"#,
        r#"{"kind":"APIGroupList","groups":[{"name":1}]}"#,
        r#"{"kind":"APIResourceList","groupVersion":"a/v1","resources":"xs"}"#,
        r#"{"kind":"APIResourceList","groupVersion":"a/v1","resources":[{"namespaced":"no"}]}"#,
        r#"{"kind":7}"#,
        // kubectl reads this.
        "kind: APIGroupList\ngroups: []\n",
        "kind: APIResourceList\ngroupVersion: a/v1\nresources: []\n",
        half,
        &trailing,
        groups_half,
        &groups_trailing,
        &no_group,
        &other_group,
    ];
    for content in contents {
        is_replaced(content, |path| fs::write(path, content).unwrap());
    }
    is_replaced("the other one", |path| {
        let is_groups = path.ends_with("servergroups.json");
        fs::write(path, if is_groups { &list } else { GROUPS }).unwrap();
    });
    is_replaced("garbled bytes", |path| {
        fs::write(path, b"\xff\xfe{\x80").unwrap();
    });
}

#[test]
fn an_oversized_file_is_replaced() {
    is_replaced("sparse", |path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(1 << 40).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_pipe_is_replaced() {
    // Opening it to read would wait for a writer, for ever.
    is_replaced("pipe", |path| {
        fs::remove_file(path).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    });
}

#[cfg(unix)]
#[test]
fn a_socket_is_replaced() {
    // The path of a socket must be short.
    let short = tempfile::Builder::new()
        .prefix("s")
        .tempdir_in("/tmp")
        .unwrap();
    let socket = short.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    is_replaced("socket", |path| {
        fs::remove_file(path).unwrap();
        fs::hard_link(&socket, path).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_replaced_and_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    is_replaced("link", |path| {
        // Its target is a good file; even so it is neither read nor touched.
        fs::copy(path, &target).unwrap();
        set_modified(&target, long_ago());
        fs::remove_file(path).unwrap();
        symlink(&target, path).unwrap();
    });
    assert_eq!(modified(&target), long_ago());
    is_replaced("dangling link", |path| {
        fs::remove_file(path).unwrap();
        symlink(outside.path().join("nowhere"), path).unwrap();
    });
    assert!(!outside.path().join("nowhere").exists());
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_replaced() {
    let probe = tempfile::NamedTempFile::new().unwrap();
    set_mode(probe.path(), 0);
    if File::open(probe.path()).is_ok() {
        skipped("root reads everything");
        return;
    }
    is_replaced("unreadable", |path| set_mode(path, 0));
}

/// It can't be replaced without removing what is in it, so the answers stay in memory.
#[test]
fn a_directory_in_a_files_place() {
    for (name, path) in [
        ("servergroups.json", "/apis"),
        ("a/v1/serverresources.json", "/apis/a/v1"),
    ] {
        let (_dir, dir) = warm_directory();
        fs::remove_file(dir.join(name)).unwrap();
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("mine"), "precious").unwrap();
        let before = tree(&dir);
        let (server, layer) = (Server::legacy(), of_single_lists(&dir));
        for _ in 0..3 {
            assert_eq!(server.ask(&layer, path).status(), 200);
        }
        assert!(server.asked().len() <= 2, "once");
        assert_eq!(layer.disk_stats().write_errors, 1);
        assert_eq!(tree(&dir), before, "no temporary file is left");
    }
}

/// Where a directory of the tree should be.
#[test]
fn a_file_in_a_directorys_place() {
    let (_dir, dir) = directory();
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("a"), "a file").unwrap();
    let (server, layer) = (Server::default(), of_single_lists(&dir));
    server.ask(&layer, "/apis");
    server.asked();
    assert!(
        server.ask_all(&layer),
        "what could not be written is in memory"
    );
    assert_eq!(layer.disk_stats().write_errors, 2);
    assert_eq!(tree(&dir).len(), 3);
}
