//! Several layers on one directory, many threads, and what happens in between.

use std::sync::{Barrier, Mutex, mpsc};
use std::thread;

use discovery_core::Format;
use discovery_core::engine::Refresh;
use discovery_disk::store::faults::Step;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::tools::*;

#[test]
fn what_one_layer_wrote_another_reads() {
    let (_dir, dir) = directory();
    let server = Server::default();
    let (one, two) = (of_single_lists(&dir), of_single_lists(&dir));
    server.ask(&one, "/apis");
    assert!(server.ask_all(&two));
    assert!(one.handle().fresh() && !two.handle().fresh());
    assert_eq!(server.asked().len(), 2);
    // Each has its own idea of what is its own.
    two.handle().invalidate();
    assert!(server.ask_all(&one));
    server.ask(&two, "/apis");
    assert_eq!(server.asked().len(), 2);
    assert_eq!(two.disk_stats().files_renewed, 4);
}

/// A reader sees whole files, old or new, while others write.
#[test]
fn readers_see_whole_files_while_many_threads_write() {
    let (_dir, dir) = directory();
    let servers: Vec<_> = (0..2)
        .map(|n| {
            let server = Server::legacy();
            // Lists that differ in size, so that a mixture would be seen.
            let name = "x".repeat(1 + 50_000 * n);
            server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", &name)));
            server
        })
        .collect();
    let layers: Vec<_> = servers.iter().map(|_| of_single_lists(&dir)).collect();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for n in 0..8 {
            let (server, layer, barrier) = (&servers[n % 2], &layers[n % 2], &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..50 {
                    if (round + n) % 10 == 0 {
                        layer.handle().invalidate();
                    }
                    for path in ["/apis", "/apis/a/v1", "/api/v1"] {
                        let answer = server.ask(layer, path);
                        assert_eq!(answer.status(), 200);
                        if path == "/apis/a/v1" {
                            let body = text(answer);
                            assert!(
                                [file("a/v1", "x"), file("a/v1", &"x".repeat(50_001))]
                                    .contains(&body)
                            );
                        }
                    }
                }
            });
        }
    });
    let names: Vec<_> = tree(&dir).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "a/v1/serverresources.json",
            "servergroups.json",
            "v1/serverresources.json"
        ]
    );
}

/// A write that is still under way when everything is invalidated is not taken for one's own, and
/// what is written after it is not overwritten by it.
#[test]
fn an_invalidation_in_the_middle_of_a_write() {
    let (_dir, dir) = directory();
    let (reached, wait_reached) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel();
    let hook = Mutex::new(Some((reached, wait_go_on)));
    let layer = of_single_lists(&dir).with_faults(move |step, path| {
        if step == Step::Rename
            && path.ends_with("a/v1/serverresources.json")
            && let Some((reached, wait)) = hook.lock().unwrap().take()
        {
            reached.send(()).unwrap();
            wait.recv().unwrap();
        }
        None
    });
    let old = Server::legacy();
    old.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "old")));
    let new = Server::legacy();
    new.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    thread::scope(|scope| {
        scope.spawn(|| old.ask(&layer, "/apis/a/v1"));
        wait_reached.recv().unwrap();
        let refresher = scope.spawn(|| {
            // It waits until the write is through, if that is how it is done.
            let mut request = Request::get("/apis/a/v1").body(Full::default()).unwrap();
            request.extensions_mut().insert(Refresh::next());
            let call = layer.layer(new.service()).oneshot(request);
            tokio_test::block_on(call).unwrap()
        });
        go_on.send(()).unwrap();
        assert!(text(refresher.join().unwrap()).contains("new"));
    });
    assert!(text(new.ask(&layer, "/apis/a/v1")).contains("new"));
    assert_eq!(
        tree(&dir),
        [("a/v1/serverresources.json".to_owned(), file("a/v1", "new"))]
    );
    assert_eq!(new.asked(), ["/apis/a/v1"]);
}
