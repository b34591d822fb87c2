//! One discovery between processes. Two layers are as two processes: each has the lock's file open for itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use discovery_core::testing::Gate;
use discovery_disk::DiskDiscoveryLayer;
use discovery_disk::store::{EscapedNames, FileNames};
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::tools::*;

fn layer(dir: &Path, state: &Path) -> DiskDiscoveryLayer {
    DiskDiscoveryLayer::new(dir).state_dir(state)
}

fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (outer, dir) = directory();
    let state = outer.path().join("cache/discovery-state");
    (outer, dir, state)
}

fn get(path: &str) -> Request<Full<bytes::Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

/// The file that the processes lock.
fn lock_file(state: &Path) -> PathBuf {
    let mut files = state.join("locks").read_dir().unwrap();
    files.next().unwrap().unwrap().path()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_start_with_nothing_one_asks() {
    let (_outer, dir, state) = places();
    let first = Server::default();
    let gate = Gate::new();
    first.hold(&gate);
    let leader = layer(&dir, &state);
    let leading = tokio::spawn(leader.layer(first.service()).oneshot(get("/apis")));
    while first.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    // The lock is held now.
    assert!(File::open(lock_file(&state)).unwrap().try_lock().is_err());
    let others: Vec<_> = (0..19)
        .map(|n| {
            let layer = layer(&dir, &state);
            let path = ["/apis", "/api", "/apis/a/v1"][n % 3];
            let server = Server::default();
            let task = tokio::spawn(layer.layer(server.service()).oneshot(get(path)));
            (server, task)
        })
        .collect();
    gate.open();
    assert_eq!(leading.await.unwrap().unwrap().status(), 200);
    for (server, task) in others {
        assert_eq!(task.await.unwrap().unwrap().status(), 200);
        assert_eq!(server.asked(), [""; 0]);
    }
    assert!(!state.exists(), "nothing is left of it");
    assert_eq!(tree(&dir), all_files());
}

/// Nothing is known in the end: each asks for itself, after its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_has_an_end() {
    let (_outer, dir, state) = places();
    let hung = Server::default();
    hung.hold(&Gate::new());
    let leading = tokio::spawn(
        layer(&dir, &state)
            .layer(hung.service())
            .oneshot(get("/apis")),
    );
    while hung.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    let server = Server::default();
    let impatient = layer(&dir, &state).max_lock_wait(Duration::from_millis(30));
    let answer = impatient
        .layer(server.service())
        .oneshot(get("/apis"))
        .await;
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(server.asked(), ["/api", "/apis"]);

    // One that is told not to wait, and one whose answer must be new.
    let server = Server::default();
    let other =
        layer(&dir.with_file_name("same lock no more"), &state).max_lock_wait(Duration::ZERO);
    other
        .layer(server.service())
        .oneshot(get("/apis"))
        .await
        .unwrap();
    assert_eq!(server.asked(), ["/api", "/apis"]);
    let server = Server::default();
    let invalidated = layer(&dir, &state);
    invalidated.handle().invalidate();
    invalidated
        .layer(server.service())
        .oneshot(get("/apis"))
        .await
        .unwrap();
    assert_eq!(server.asked(), ["/api", "/apis"]);

    // A holder that goes away gives the lock back.
    leading.abort();
    let _ = leading.await;
    assert!(!state.exists());
}

/// Callers of one process share its hold.
#[tokio::test]
async fn a_process_does_not_wait_for_itself() {
    let (_outer, dir, state) = places();
    let layer = layer(&dir, &state).single_lists(true);
    let server = Server::legacy();
    let service = layer.layer(server.service());
    let ask = |path| service.clone().oneshot(get(path));
    let (one, two, three) = tokio::join!(ask("/api/v1"), ask("/apis/a/v1"), ask("/apis/a/v2"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(server.asked(), ["/api/v1", "/apis/a/v1", "/apis/a/v2"]);
}

/// Where there can be no lock, nobody waits.
#[test]
fn a_lock_that_can_not_be_is_left_out() {
    let (outer, dir, _) = places();
    let occupied = outer.path().join("file");
    fs::write(&occupied, "no directory").unwrap();
    let server = Server::default();
    assert_eq!(server.ask(&layer(&dir, &occupied), "/apis").status(), 200);
    assert_eq!(server.asked(), ["/api", "/apis"]);
    assert!(dir.join("servergroups.json").exists());

    // Nothing is written through a link.
    #[cfg(unix)]
    {
        let (outer, dir, state) = places();
        let target = outer.path().join("target");
        fs::create_dir_all(&state).unwrap();
        fs::create_dir(&target).unwrap();
        let name = EscapedNames.file_name(dir.to_str().unwrap());
        fs::create_dir(state.join("locks")).unwrap();
        std::os::unix::fs::symlink(target.join("file"), state.join("locks").join(name)).unwrap();
        assert_eq!(
            Server::default()
                .ask(&layer(&dir, &state), "/apis")
                .status(),
            200
        );
        assert!(!target.join("file").exists());
    }
}

/// Many take it and give it back at once, so that its file comes and goes.
#[test]
fn the_locks_file_comes_and_goes() {
    let (_outer, dir, state) = places();
    let layers: Vec<_> = (0..4)
        .map(|_| layer(&dir, &state).ttl(Duration::ZERO))
        .collect();
    std::thread::scope(|scope| {
        for layer in &layers {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(Server::default().ask(layer, "/apis").status(), 200);
                }
            });
        }
    });
    assert!(!state.exists());
}

/// A hit needs no lock.
#[test]
fn a_hit_makes_no_file() {
    let (outer, dir) = warm_directory();
    let state = outer.path().join("state");
    assert!(Server::default().ask_all(&layer(&dir, &state)));
    assert!(!state.exists());
}
