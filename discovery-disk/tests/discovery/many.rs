//! Many files: they are read and written by several threads.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use discovery_core::Format;
use discovery_core::engine::ParsedAnswer;
use discovery_core::sync::clock::ManualClock;
use discovery_disk::DiskDiscoveryLayer;
use discovery_disk::store::faults::Step;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::partial::discover;
use crate::tools::*;

fn hundreds() -> impl Iterator<Item = String> {
    (0..300).map(|n| format!("g{n}"))
}

/// With many files, the work is done on blocking threads.
#[test]
fn hundreds_of_files_on_many_threads() {
    let (_dir, dir) = directory();
    let server = Server::default();
    serve_groups(&server, hundreds(), "xs");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    for (turn, sent) in [2, 0, 2].into_iter().enumerate() {
        let layer = of_single_lists(&dir);
        if turn == 2 {
            layer.handle().invalidate();
        }
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let request = Request::get("/apis").header("accept", Format::V2.content_type());
                let request = request.body(Full::default()).unwrap();
                runtime.spawn(layer.layer(server.service()).oneshot(request))
            })
            .collect();
        for call in calls {
            let answer = runtime.block_on(call).unwrap().unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(
                answer
                    .extensions()
                    .get::<ParsedAnswer>()
                    .unwrap()
                    .snapshot
                    .lists()
                    .len(),
                301
            );
        }
        assert_eq!(server.asked().len(), sent);
    }
    assert_eq!(tree(&dir).len(), 302);

    // Of hundreds, one is broken and one is not there: these two are written.
    let name = |n: usize| dir.join(format!("g{n}/v1/serverresources.json"));
    fs::write(name(7), "garbled").unwrap();
    fs::remove_file(name(8)).unwrap();
    server.asked();
    let layer = of_single_lists(&dir);
    let discovered = discover(&server, &layer);
    assert_eq!(server.asked(), ["/api", "/apis"]);
    assert_eq!(layer.disk_stats().files_written, 2);
    assert!(discovered.snapshot.is_complete());
    for n in [0, 7, 8, 299] {
        let of = format!("g{n}/v1");
        let list = discovered.snapshot.resources(&of).unwrap();
        assert_eq!(list.json(), &file(&of, "xs"));
        assert_eq!(fs::read_to_string(name(n)).unwrap(), file(&of, "xs"));
    }
}

/// The invalidation does not wait for the writes.
#[test]
fn an_invalidation_while_hundreds_of_files_are_written() {
    let (_dir, dir) = directory();
    let (reached, wait_reached) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel();
    let hook = Mutex::new(Some((reached, wait_go_on)));
    let layer = of_single_lists(&dir).with_faults(move |step, _| {
        // All other threads wait here meanwhile, none has got further.
        let mut hook = hook.lock().unwrap();
        if step == Step::SetMode
            && let Some((reached, wait)) = hook.take()
        {
            reached.send(()).unwrap();
            wait.recv().unwrap();
        }
        None
    });
    let server = Server::default();
    serve_groups(&server, hundreds(), "xs");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let request = Request::get("/apis").body(Full::default()).unwrap();
    let call = runtime.spawn(layer.layer(server.service()).oneshot(request));
    wait_reached.recv().unwrap();
    layer.handle().invalidate();
    go_on.send(()).unwrap();
    assert_eq!(runtime.block_on(call).unwrap().unwrap().status(), 200);
    // Nothing of it is published, and no temporary file is left.
    assert_eq!(tree(&dir), []);
    assert_eq!(layer.disk_stats().write_errors, 0);
    server.asked();
    for path in ["/apis", "/api/v1"] {
        server.ask(&layer, path);
    }
    assert_eq!(server.asked(), ["/api", "/apis"]);
    assert_eq!(tree(&dir).len(), 302);
    assert!(layer.handle().fresh());
}

/// A server of files is slow to answer, not busy: several writes are under way at once.
#[test]
fn many_files_are_written_by_several_threads_and_the_groups_last() {
    let (_dir, dir) = directory();
    // The first two wait for each other, which one alone would do for ever.
    let (barrier, turn) = (Barrier::new(2), AtomicUsize::new(0));
    let renamed = Arc::new(Mutex::new(Vec::new()));
    let (log, under_way) = (Arc::clone(&renamed), AtomicUsize::new(0));
    let layer = of_single_lists(&dir).with_faults(move |step, path| {
        match step {
            Step::OpenTemp if turn.fetch_add(1, Ordering::SeqCst) < 2 => {
                barrier.wait();
            }
            // After all others have ended, and not only begun.
            Step::SetMode if under_way.fetch_add(1, Ordering::SeqCst) >= 8 => panic!("too many"),
            Step::Rename => {
                let before = under_way.fetch_sub(1, Ordering::SeqCst);
                let name = path.strip_prefix(path.ancestors().nth(1).unwrap()).unwrap();
                let is_groups = name.ends_with("servergroups.json");
                assert!(!is_groups || before == 1, "a list is still being written");
                log.lock()
                    .unwrap()
                    .push((path.to_owned(), thread::current().id()));
            }
            _ => {}
        }
        None
    });
    let server = Server::default();
    serve_groups(&server, hundreds(), "xs");
    assert_eq!(server.ask(&layer, "/apis").status(), 200);
    let renamed = renamed.lock().unwrap();
    assert_eq!((renamed.len(), tree(&dir).len()), (302, 302));
    assert!(renamed.last().unwrap().0.ends_with("servergroups.json"));
    let threads: HashSet<_> = renamed.iter().map(|(_, thread)| thread).collect();
    assert!((2..=8).contains(&threads.len()), "{}", threads.len());
    let statistics = layer.disk_stats();
    let bytes: usize = tree(&dir).iter().map(|(_, content)| content.len()).sum();
    assert_eq!(
        (statistics.files_written, statistics.bytes_written),
        (302, bytes as u64)
    );
    assert!(
        server
            .ask(&layer, "/apis")
            .extensions()
            .get::<ParsedAnswer>()
            .unwrap()
            .hit
    );
}

/// Long work does not hold up the thread that drives futures, whatever the runtime.
#[test]
fn only_a_few_files_are_written_in_place() {
    for (groups, in_place) in [(2, true), (3, false), (20, false)] {
        let (_dir, dir) = directory();
        let threads = Arc::new(Mutex::new(HashSet::new()));
        let seen = Arc::clone(&threads);
        let layer = of_single_lists(&dir).with_faults(move |step, _| {
            if step == Step::Rename {
                seen.lock().unwrap().insert(thread::current().id());
            }
            None
        });
        let server = Server::default();
        // The core group has a list, too, and the groups have a file.
        serve_groups(&server, hundreds().take(groups), "xs");
        server.ask(&layer, "/apis");
        assert_eq!(tree(&dir).len(), groups + 2);
        let threads = threads.lock().unwrap();
        assert_eq!(threads.contains(&thread::current().id()), in_place);
    }
}

/// Many lists come one by one, at the same time: each has its file, and one that is written twice
/// has what came last.
#[test]
fn single_lists_from_many_threads() {
    let (_dir, dir) = directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    for name in hundreds().take(40) {
        let list = file(&format!("{name}/v1"), "xs");
        server.set(&format!("/apis/{name}/v1"), json(Format::Legacy, &list));
    }
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for n in 0..8 {
            let (server, layer, barrier) = (&server, &layer, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for name in hundreds().take(40).skip(n).step_by(2) {
                    server.ask(layer, &format!("/apis/{name}/v1"));
                }
            });
        }
    });
    assert_eq!(tree(&dir).len(), 40);
    assert_eq!(layer.disk_stats().write_errors, 0);
}

/// Inside a process a list is read once, until its file changes.
#[test]
fn what_has_not_changed_is_read_once() {
    let (_dir, dir) = directory();
    let server = Server::default();
    serve_groups(&server, (0..70).map(|n| format!("g{n}")), "xs");
    server.ask(&DiskDiscoveryLayer::new(&dir), "/apis");
    server.asked();

    let layer = DiskDiscoveryLayer::new(&dir);
    let aggregated = |path| server.ask_with(&layer, path, Format::V2.content_type());
    let files_read = || layer.disk_stats().files_read;
    let snapshot = |answer: &Answer| {
        let parsed = answer.extensions().get::<ParsedAnswer>().unwrap();
        Arc::clone(&parsed.snapshot)
    };
    // For `/api`, the groups and the list of the core group.
    aggregated("/api");
    assert_eq!(files_read(), 2);
    // Then the lists of the others; the groups' file is opened to see that it is the same.
    let first = aggregated("/apis");
    assert_eq!(files_read(), 73);
    let second = aggregated("/apis");
    assert!(Arc::ptr_eq(&snapshot(&first), &snapshot(&second)));
    assert_eq!(files_read(), 74);
    let list = server.ask(&layer, "/apis/g7/v1");
    assert_eq!(text(list), file("g7/v1", "xs"));
    assert_eq!(files_read(), 74);

    // Another process replaces one.
    let path = dir.join("g7/v1/serverresources.json");
    fs::write(path.with_extension("new"), file("g7/v1", "ys")).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    let third = snapshot(&aggregated("/apis"));
    assert_eq!(files_read(), 76);
    assert_eq!(third.resources("g7/v1").unwrap().resources[0].name, "ys");
    assert!(server.asked().is_empty());

    // They expire as files do, and an invalidation counts.
    let later = SystemTime::now() + Duration::from_secs(7 * 60 * 60);
    let clock = ManualClock::new(SystemTime::now());
    let layer = DiskDiscoveryLayer::new(&dir).clock(clock.clone());
    server.ask(&layer, "/apis/g7/v1");
    assert!(server.asked().is_empty());
    clock.set(later);
    server.ask(&layer, "/apis/g7/v1");
    assert_eq!(server.asked(), ["/api", "/apis"]);
    clock.set(SystemTime::now());
    let layer = DiskDiscoveryLayer::new(&dir);
    server.ask(&layer, "/apis/g7/v1");
    layer.handle().invalidate();
    server.ask(&layer, "/apis/g7/v1");
    assert_eq!(server.asked(), ["/api", "/apis"]);
}
