//! `cache`: a look at the files, and their care.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use discovery_core::store::{Op, Store, Value as Entry};
use discovery_disk::DiskStore;
use discovery_disk::store::{DiskStoreOptions, EscapedNames, FileNames};
use embedded_apiserver::EmbeddedServer;
use serde_json::Value;

use crate::program::{Home, server};
use crate::tree::{Tree, make_old};

/// A home whose caches know the server.
fn warm(server: &EmbeddedServer) -> Home {
    let home = Home::new();
    home.ask(server, &["api-resources"]).ok();
    home
}

/// The directory of a server's discovery files.
fn directory(home: &Home, server: &EmbeddedServer) -> PathBuf {
    let host = server.addr().to_string().replace(':', "_");
    home.cache().join("discovery").join(host)
}

/// The entries of the HTTP cache.
fn entries(home: &Home) -> Vec<PathBuf> {
    let dir = home.cache().join("http");
    let names = Tree::of(&dir);
    let names = names.names().into_iter().filter(|name| name.len() == 64);
    names.map(|name| dir.join(name)).collect()
}

/// Makes a file another one: its sum is wrong, and it is no JSON.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(file, bytes).unwrap();
}

#[test]
fn servers_and_entries_are_listed() {
    let server = server();
    let home = warm(&server);
    let list = || -> Value {
        let json = home.run(&["cache", "list", "-o", "json"]).ok();
        serde_json::from_str(&json).unwrap()
    };
    let before = list();
    let host = server.addr().to_string().replace(':', "_");
    assert_eq!(before["discovery"][0]["server"], host);
    let files = Tree::of(&directory(&home, &server)).names().len();
    assert_eq!(before["discovery"][0]["files"], files);
    assert_eq!(before["discovery"][0]["expired"], 0);
    assert_eq!(before["http"]["entries"], 2);
    assert_eq!(before["http"]["damaged"], 0);
    damage(&entries(&home)[0]);
    make_old(&directory(&home, &server), Duration::from_secs(7 * 3600));
    let after = list();
    assert_eq!(after["http"]["damaged"], 1);
    assert_eq!(after["discovery"][0]["expired"], files);
    let table = home.run(&["cache", "list"]).ok();
    assert!(
        table.starts_with("SERVER ") && table.contains(&host),
        "{table}"
    );
    assert!(table.contains(" 7h "), "{table}");
    // Nothing there is no error.
    let empty = Home::new().run(&["cache", "list"]).ok();
    assert!(empty.contains("HTTP ENTRIES"), "{empty}");
}

#[test]
fn the_files_of_a_path_are_explained() {
    let server = server();
    let home = warm(&server);
    let explain = |arguments: &[&str]| -> Value {
        let arguments = [&["cache", "explain", "-o", "json"], arguments].concat();
        let json = home.ask(&server, &arguments).ok();
        serde_json::from_str(&json).unwrap()
    };
    server.clear_log();
    let groups = explain(&["/apis"]);
    assert_eq!(groups[0]["cache"], "discovery");
    assert!(
        groups[0]["file"]
            .as_str()
            .unwrap()
            .ends_with("/servergroups.json")
    );
    assert_eq!(
        (&groups[0]["hit"], &groups[1]["hit"]),
        (&true.into(), &true.into())
    );
    let file = groups[1]["file"].as_str().unwrap();
    assert!(entries(&home).contains(&PathBuf::from(file)), "{file}");

    let why = groups[1]["why"].as_str().unwrap();
    assert!(
        why.starts_with("the server is asked whether ETag "),
        "{why}"
    );

    let list = explain(&[&format!("{}/apis/apps/v1", server.url())]);
    let file = list[0]["file"].as_str().unwrap();
    assert!(file.ends_with("/apps/v1/serverresources.json"), "{file}");
    // An aggregated answer leaves no entry for a list.
    assert_eq!(
        (&list[0]["hit"], &list[1]["why"]),
        (&true.into(), &"not there".into())
    );
    damage(Path::new(file));
    let why = explain(&["/apis/apps/v1"])[0]["why"].to_string();
    assert!(why.contains("malformed"), "{why}");
    make_old(&directory(&home, &server), Duration::from_secs(3600));
    let old = explain(&["/api", "--cache-ttl=30m"]);
    assert_eq!(old[0]["why"], "older than the TTL (30m0s)");
    assert_eq!(explain(&["/version"])[0]["cache"], "http");
    // Nobody was asked.
    assert_eq!(server.counters().total, 0);
    for (target, words) in [
        ("/api/v1/pods", "no cache keeps"),
        ("https://elsewhere.test/apis", "not a URL of the server"),
        ("apis", "neither a path"),
    ] {
        let run = home.ask(&server, &["cache", "explain", target]);
        assert!(run.failed().contains(words), "{run:?}");
    }
}

#[test]
fn damaged_files_are_found_and_removed() {
    let server = server();
    let home = warm(&server);
    let text = home.run(&["cache", "verify"]).ok();
    assert!(text.ends_with(" files are whole\n"), "{text}");
    let list = directory(&home, &server).join("apps/v1/serverresources.json");
    let other = directory(&home, &server).join("batch/v1/serverresources.json");
    let entry = &entries(&home)[0];
    damage(entry);
    damage(&list);
    fs::copy(
        directory(&home, &server).join("v1/serverresources.json"),
        &other,
    )
    .unwrap();
    let run = home.run(&["cache", "verify"]);
    assert!(run.failed().starts_with("error: 3 of "), "{run:?}");
    assert!(run.stdout.contains("another checksum"), "{run:?}");
    assert!(
        run.stdout.contains("of the group version \"v1\""),
        "{run:?}"
    );
    assert!(entry.exists() && list.exists());
    let run = home.run(&["cache", "verify", "--remove"]);
    assert!(run.failed().contains("have been removed"), "{run:?}");
    assert!(!entry.exists() && !list.exists() && !other.exists());
    home.run(&["cache", "verify"]).ok();
    // The entries for OpenAPI are whole, too.
    home.ask(&server, &["openapi", "apps/v1"]).ok();
    home.ask(&server, &["version"]).ok();
    home.run(&["cache", "verify"]).ok();
}

#[test]
fn files_of_no_use_are_pruned() {
    let server = server();
    let home = warm(&server);
    let whole = Tree::of(&home.cache());
    let temporary = [
        home.cache().join("http/.diskv-temp/31415"),
        directory(&home, &server).join("servergroups.json.27182"),
    ];
    fs::create_dir_all(temporary[0].parent().unwrap()).unwrap();
    for file in &temporary {
        fs::write(file, "left behind").unwrap();
    }
    // Another program may be writing them.
    home.run(&["cache", "prune"]).ok();
    assert!(temporary.iter().all(|file| file.exists()));
    make_old(&home.cache(), Duration::from_secs(2 * 3600));
    let foreign = directory(&home, &server).join("notes.txt");
    fs::write(&foreign, "mine").unwrap();
    let text = home.run(&["cache", "prune", "--dry-run"]).ok();
    assert!(
        text.contains("would remove ") && text.contains("2 files with 22 bytes"),
        "{text}"
    );
    assert!(temporary.iter().all(|file| file.exists()));
    home.run(&["cache", "prune"]).ok();
    assert!(!temporary.iter().any(|file| file.exists()));
    let names = |tree: &Tree| tree.names().len();
    assert_eq!(names(&Tree::of(&home.cache())), names(&whole) + 1);
    home.run(&["cache", "prune", "--older-than=1h"]).ok();
    assert_eq!(Tree::of(&directory(&home, &server)).names(), ["notes.txt"]);
    assert_eq!(entries(&home).len(), 2);
    let dirs = Tree::of(&directory(&home, &server)).dirs;
    assert!(dirs.is_empty(), "{dirs:?}");
}

#[test]
fn the_files_of_one_server_are_cleared_and_those_of_others_stay() {
    let (one, two) = (server(), server());
    let home = warm(&one);
    home.ask(&two, &["api-resources"]).ok();
    home.ask(&one, &["openapi", "apps/v1"]).ok();
    let before = Tree::of(&home.cache());
    let text = home.ask(&one, &["cache", "clear", "--dry-run"]).ok();
    assert!(text.contains("would remove"), "{text}");
    assert_eq!(Tree::of(&home.cache()), before);
    home.ask(&one, &["cache", "clear"]).ok();
    assert!(!directory(&home, &one).exists());
    assert!(directory(&home, &two).exists());
    assert_eq!(entries(&home).len(), 2);
    home.run(&["cache", "clear", "--all"]).ok();
    assert!(Tree::of(&home.cache()).files.is_empty());
    assert!(home.cache().join("discovery").is_dir());
}

#[test]
fn nothing_outside_and_nothing_foreign_is_removed() {
    let server = server();
    let home = warm(&server);
    let outside = home.path().join("outside");
    fs::create_dir_all(outside.join("apps/v1")).unwrap();
    let precious = outside.join("apps/v1/serverresources.json");
    fs::write(&precious, "mine").unwrap();
    fs::write(outside.join("servergroups.json"), "mine").unwrap();
    let discovery = home.cache().join("discovery");
    symlink(&outside, discovery.join("linked")).unwrap();
    let link = directory(&home, &server).join("v1/serverresources.json");
    fs::remove_file(&link).unwrap();
    symlink(&precious, &link).unwrap();
    let foreign = [
        discovery.join("notes.json"),
        home.cache().join("http/notes"),
        home.cache().join("servergroups.json"),
    ];
    for file in &foreign {
        fs::write(file, "mine").unwrap();
    }
    home.run(&["cache", "clear", "--all"]).ok();
    assert!(foreign.iter().chain([&precious]).all(|file| file.exists()));
    assert!(outside.join("servergroups.json").exists());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    // A directory that is a link itself.
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    symlink(&outside, other.join("discovery")).unwrap();
    let run = home.run(&[
        "cache",
        "clear",
        "--all",
        "--cache-dir",
        other.to_str().unwrap(),
    ]);
    assert!(run.failed().contains("not followed"), "{run:?}");
    assert!(precious.exists());
}

#[test]
fn what_was_begun_is_finished_even_if_nobody_reads() {
    let server = server();
    let home = warm(&server);
    let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_kubectl-discovery")))
        .args(["cache", "clear", "--all"])
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    assert!(Tree::of(&home.cache()).files.is_empty());
}

/// Programs with the library's option keep answers for group versions without a list, where kubectl does not look.
#[test]
fn negative_entries_are_listed_verified_and_cleared() {
    let server = server();
    let home = warm(&server);
    let host = server.addr().to_string().replace(':', "_");
    let negative = home.cache().join("discovery-state/negative");
    let keep = |host: &str| {
        let dir = negative.join(EscapedNames.file_name(&format!("discovery/{host}")));
        let options = DiskStoreOptions::new().checksum(true);
        let store = DiskStore::with_options(&dir, options);
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone";
        for group_version in ["acme.test/v1", "acme.test/v2"] {
            let Op::Ready(put) = store.put(group_version, Entry::new("", answer)) else {
                panic!("small values are written in place");
            };
            put.unwrap();
        }
        dir
    };
    let (ours, other) = (keep(&host), keep("10.0.0.1_6443"));
    let json = home.run(&["cache", "list", "-o", "json"]).ok();
    let list: Value = serde_json::from_str(&json).unwrap();
    let counts = |list: &Value| -> Vec<_> {
        let servers = list["discovery"].as_array().unwrap();
        let counts = servers
            .iter()
            .map(|server| server["negative"].as_u64().unwrap());
        counts.collect()
    };
    assert_eq!(counts(&list), [2, 2]);
    let text = home.run(&["cache", "verify"]).ok();
    assert!(text.ends_with(" files are whole\n"), "{text}");

    let mut bytes = fs::read(ours.join("acme.test%2fv1")).unwrap();
    bytes[12] ^= 1;
    fs::write(ours.join("acme.test%2fv1"), bytes).unwrap();
    let run = home.run(&["cache", "verify"]);
    assert!(run.stdout.contains("acme.test%2fv1: damaged: "), "{run:?}");
    let pruned = home.run(&["cache", "prune"]).ok();
    assert!(pruned.contains("acme.test%2fv1 (damaged: "), "{pruned}");
    assert!(!ours.join("acme.test%2fv1").exists() && ours.join("acme.test%2fv2").exists());

    home.ask(&server, &["cache", "clear"]).ok();
    assert!(!ours.exists() && other.join("acme.test%2fv1").exists());
    home.run(&["cache", "clear", "--all"]).ok();
    assert!(!home.cache().join("discovery-state").exists());
    assert!(home.cache().join("discovery").exists());
}
