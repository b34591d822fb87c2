//! Several processes on one directory.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use discovery_core::Format;
use discovery_core::testing::Gate;
use discovery_disk::DiskDiscoveryLayer;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::parts::{part, say_written, start, succeed, wait_until_written};
use crate::tools::*;

const PROCESSES: u8 = 6;
const ROUNDS: usize = 15;
const GROUPS: usize = 40;

fn groups() -> impl Iterator<Item = String> {
    (0..GROUPS).map(|n| format!("g{n}"))
}

/// Each process and round has lists of another length, so that a mixture would be seen.
fn resource(number: u8, round: usize) -> String {
    char::from(b'a' + number)
        .to_string()
        .repeat(1 + round % 5 * 3_000)
}

/// Everything that is there is whole, and of one writer.
fn check(dir: &Path) -> usize {
    let is_temporary = |name: &str| name.rsplit('.').next().unwrap().parse::<u32>().is_ok();
    let files: Vec<_> = tree(dir)
        .into_iter()
        .filter(|(name, _)| !is_temporary(name))
        .collect();
    for (name, content) in &files {
        let Some(group) = name.strip_suffix("/v1/serverresources.json") else {
            continue;
        };
        let (_, rest) = content.split_once("\"name\":\"").unwrap();
        let (name, _) = rest.split_once('"').unwrap();
        assert!(name.bytes().all(|byte| byte == name.as_bytes()[0]));
        assert_eq!(*content, file(&format!("{group}/v1"), name));
    }
    files.len()
}

fn discover(dir: &str, number: u8, round: usize) {
    let (server, layer) = (Server::default(), of_single_lists(dir));
    serve_groups(&server, groups(), &resource(number, round));
    layer.handle().invalidate();
    let answer = server.ask_with(&layer, "/apis", Format::V2.content_type());
    assert_eq!(answer.status(), 200);
    assert_eq!(layer.disk_stats().write_errors, 0);
}

#[test]
fn part_writer() {
    let Some((dir, number)) = part() else { return };
    for round in 0..ROUNDS {
        discover(&dir, number, round);
        // Another program, which finds everything there, whoever wrote it.
        let (server, layer) = (Server::default(), of_single_lists(&dir));
        let answer = server.ask_with(&layer, "/apis", Format::V2.content_type());
        assert!(text(answer).contains("g39"));
        assert!(server.asked().is_empty());
    }
}

/// Writes for ever, and says so after the first time.
#[test]
fn part_victim() {
    let Some((dir, number)) = part() else { return };
    for round in 0.. {
        discover(&dir, number, round);
        if round == 0 {
            say_written();
        }
    }
}

#[test]
fn many_processes_write_the_same_files() {
    let (_dir, dir) = directory();
    let start = |number| start("part_writer", &dir, number);
    succeed((0..PROCESSES).map(start).collect());
    assert_eq!(check(&dir), GROUPS + 2);
    assert_eq!(tree(&dir).len(), GROUPS + 2, "a temporary file is left");
}

#[test]
fn a_killed_writer_leaves_whole_files() {
    let (_dir, dir) = directory();
    for number in 0..PROCESSES {
        let mut child = start("part_victim", &dir, number);
        // It has begun; then it is killed wherever it is, which differs with every run.
        wait_until_written(&mut child);
        for _ in 0..number {
            assert_eq!(check(&dir), GROUPS + 2);
        }
        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!(check(&dir), GROUPS + 2);
        // It left only the files that its threads were writing.
        let left = tree(&dir).len() - GROUPS - 2;
        assert!(left <= 8 * (usize::from(number) + 1), "{left}");
        let (server, layer) = (Server::default(), of_single_lists(&dir));
        server.ask_with(&layer, "/apis", Format::V2.content_type());
        assert!(server.asked().is_empty(), "all is there");
    }
}

fn with_lock(outer: &Path) -> DiskDiscoveryLayer {
    DiskDiscoveryLayer::new(outer.join("discovery/h")).state_dir(outer.join("state"))
}

/// Asks a server that never answers, and says so.
#[test]
fn part_holder() {
    let Some((outer, _)) = part() else { return };
    let server = Server::default();
    server.hold(&Gate::new());
    let service = with_lock(Path::new(&outer)).layer(server.service());
    let request = Request::get("/apis").body(Full::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let _ = runtime.unwrap().block_on(async {
        let asking = tokio::spawn(service.oneshot(request));
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        say_written();
        asking.await
    });
}

/// The system ends the lock of a process with it. This would not end if somebody had to.
#[test]
fn a_killed_holder_of_the_lock_is_not_waited_for() {
    let outer = tempfile::tempdir().unwrap();
    let mut child = start("part_holder", outer.path(), 0);
    wait_until_written(&mut child);
    let locks = outer.path().join("state/locks");
    let lock = locks.read_dir().unwrap().next().unwrap().unwrap().path();
    assert!(File::open(&lock).unwrap().try_lock().is_err());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lock.exists());

    let layer = with_lock(outer.path()).max_lock_wait(Duration::MAX);
    let server = Server::default();
    assert_eq!(server.ask(&layer, "/apis").status(), 200);
    assert_eq!(server.asked(), ["/api", "/apis"]);
    assert!(!lock.exists());
}
