//! Documents that fail to be written are kept in memory, with one warning, and break no file that was there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use discovery_core::Format;
use discovery_core::sync::clock::ManualClock;
use discovery_disk::DiskDiscoveryLayer;
use discovery_disk::store::faults::{Fault, Step};

use crate::tools::*;

/// Counts the warnings and errors that `work` logs.
fn warnings(work: impl FnOnce()) -> usize {
    use discovery_core::testing::{EventLevel, Events};

    let events = Events::new("").level(EventLevel::Warn);
    events.capture(work);
    events.take().len()
}

/// Answers come from memory then.
#[track_caller]
fn works_without(dir: &Path) {
    for legacy in [false, true] {
        let (server, layer) = (Server::new(legacy), of_single_lists(dir));
        let warned = warnings(|| {
            server.ask_all(&layer);
            assert_eq!(server.asked().len(), if legacy { 5 } else { 2 });
            for _ in 0..3 {
                assert!(server.ask_all(&layer.clone()));
            }
        });
        assert!(server.asked().is_empty());
        assert_eq!((warned, layer.disk_stats().files_written), (1, 0));
        assert!(layer.disk_stats().write_errors >= 4);
        assert!(layer.handle().fresh());
        layer.handle().invalidate();
        assert_eq!(
            warnings(|| drop(server.ask(&layer, "/apis"))),
            0,
            "it was told"
        );
        assert_eq!(server.asked().len(), 2);
    }
}

#[test]
fn a_file_in_the_place_of_the_directory() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("cache");
    fs::write(&path, "a file").unwrap();
    works_without(&path);
    works_without(&path.join("discovery/h"));
    assert_eq!(fs::read_to_string(path).unwrap(), "a file");
}

#[test]
fn no_directory_is_nothing_to_warn_of() {
    let layer = DiskDiscoveryLayer::without_files();
    let server = Server::default();
    assert_eq!(warnings(|| drop(server.ask(&layer, "/apis"))), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_can_not_be_made() {
    // Nobody makes directories there, not even root.
    works_without(Path::new("/proc/self/cache/discovery/h"));
    works_without(Path::new("/dev/null/cache"));
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_read_only() {
    let (_outer, dir) = directory();
    fs::create_dir_all(&dir).unwrap();
    set_mode(&dir, 0o500);
    if fs::write(dir.join("probe"), "").is_ok() {
        skipped("root writes everywhere");
        return;
    }
    works_without(&dir);
    set_mode(&dir, 0o700);
}

/// The outcomes of a step of a write.
fn faults(step: Step) -> Vec<fn() -> Fault> {
    let mut faults: Vec<fn() -> Fault> =
        vec![|| Fault::Error(ErrorKind::StorageFull.into()), || {
            Fault::Error(ErrorKind::PermissionDenied.into())
        }];
    if step == Step::Write {
        faults.push(|| Fault::Torn(0));
        faults.push(|| Fault::Torn(7));
    }
    faults
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
    for step in [
        Step::OpenTemp,
        Step::Write,
        Step::SetMode,
        Step::Close,
        Step::Rename,
    ] {
        for fault in faults(step) {
            let (_outer, dir) = warm_directory();
            let server = Server::legacy();
            server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
            let broken = Arc::new(AtomicBool::new(true));
            let is_broken = Arc::clone(&broken);
            let clock = ManualClock::new(SystemTime::now() + Duration::from_secs(7 * 60 * 60));
            // All has expired.
            let layer = of_single_lists(&dir)
                .clock(clock.clone())
                .with_faults(move |seen, _| {
                    (seen == step && is_broken.load(Ordering::SeqCst)).then(fault)
                });
            let warned = warnings(|| {
                for _ in 0..2 {
                    assert!(
                        text(server.ask(&layer, "/apis/a/v1")).contains("new"),
                        "{step:?}"
                    );
                }
            });
            assert_eq!((server.asked().len(), warned), (1, 1), "{step:?}");
            assert_eq!(tree(&dir), all_files(), "{step:?}");
            assert_eq!(layer.disk_stats().write_errors, 1);

            // Kept for as long as a file would be.
            clock.advance(Duration::from_secs(6 * 60 * 60));
            server.ask(&layer, "/apis/a/v1");
            assert!(server.asked().is_empty());
            clock.advance(Duration::from_nanos(1));
            broken.store(false, Ordering::SeqCst);
            server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "newer")));
            assert!(text(server.ask(&layer, "/apis/a/v1")).contains("newer"));
            assert_eq!(
                fs::read_to_string(dir.join("a/v1/serverresources.json")).unwrap(),
                file("a/v1", "newer")
            );
        }
    }
}

/// A document that is written later replaces the one that was kept in memory.
#[test]
fn what_is_kept_is_not_older_than_a_file() {
    let (_outer, dir) = directory();
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let layer = of_single_lists(&dir).with_faults(move |step, path| {
        let this = path.to_string_lossy().contains("a/v1");
        (this && step == Step::Rename && is_broken.load(Ordering::SeqCst))
            .then(|| Fault::Error(ErrorKind::StorageFull.into()))
    });
    let server = Server::legacy();
    server.ask_all(&layer);
    assert_eq!(tree(&dir).len(), 3, "the others could be written");
    broken.store(false, Ordering::SeqCst);
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    let mut request = http::Request::get("/apis/a/v1")
        .body(http_body_util::Full::default())
        .unwrap();
    request
        .headers_mut()
        .insert(http::header::CACHE_CONTROL, "no-cache".parse().unwrap());
    let service = tower::Layer::layer(&layer, server.service());
    tokio_test::block_on(tower::ServiceExt::oneshot(service, request)).unwrap();
    server.asked();
    assert!(text(server.ask(&layer, "/apis/a/v1")).contains("new"));
    assert!(server.asked().is_empty());
    assert_eq!(tree(&dir)[0].1, file("a/v1", "new"));
}

/// A layer that can't rename anything, and an answer that it keeps.
fn keeping(dir: &Path, clock: ManualClock) -> (Server, DiskDiscoveryLayer) {
    let server = Server::legacy();
    let layer = of_single_lists(dir).clock(clock).with_faults(|step, _| {
        (step == Step::Rename).then(|| Fault::Error(ErrorKind::StorageFull.into()))
    });
    server.ask_all(&layer);
    server.asked();
    assert!(server.ask_all(&layer));
    (server, layer)
}

/// A document that failed to be written does not hide another process's file.
#[test]
fn a_newer_file_counts_more_than_what_is_kept() {
    let (_outer, dir) = directory();
    let since = SystemTime::now();
    let (server, layer) = keeping(&dir, ManualClock::new(since));
    let second = Duration::from_secs(1);
    let path = dir.join("a/v1/serverresources.json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for (content, modified, expected) in [
        (file("a/v1", "older"), since - second, "xs"),
        (file("a/v1", "newer"), since + second, "newer"),
        ("garbled".to_owned(), since + second, "xs"),
    ] {
        fs::write(&path, content).unwrap();
        set_modified(&path, modified);
        assert!(text(server.ask(&layer, "/apis/a/v1")).contains(expected));
        assert!(server.asked().is_empty());
    }
    // The groups as well.
    let groups = dir.join("servergroups.json");
    for (name, modified) in [("older", since - second), ("newer", since + second)] {
        fs::write(&groups, GROUPS.replace("\"a\"", &format!("\"{name}\""))).unwrap();
        set_modified(&groups, modified);
        let body = text(server.ask(&layer, "/apis"));
        assert_eq!(body.contains("newer"), name == "newer", "{body}");
    }
    assert!(server.asked().is_empty());
}

/// It would be kept for years.
#[test]
fn what_is_kept_does_not_outlast_a_clock_that_is_set_back() {
    let hour = Duration::from_secs(60 * 60);
    for (back, is_hit) in [(hour * 6, true), (hour * 7, false)] {
        let (_outer, dir) = directory();
        let since = SystemTime::now();
        let clock = ManualClock::new(since);
        let (server, layer) = keeping(&dir, clock.clone());
        clock.set(since - back);
        assert_eq!(server.ask_all(&layer), is_hit, "{back:?}");
        clock.set(since);
    }
}

#[test]
fn reads_that_fail_are_misses() {
    for step in [Step::Open, Step::Read] {
        let (_outer, dir) = warm_directory();
        let layer = of_single_lists(&dir).with_faults(move |seen, _| {
            (seen == step).then(|| Fault::Error(ErrorKind::Other.into()))
        });
        let server = Server::default();
        assert_eq!(server.ask(&layer, "/apis").status(), 200);
        assert_eq!(server.asked(), ["/api", "/apis"]);
        assert_eq!(tree(&dir), all_files());
    }
}

/// A file that can't be made to look new is written anew.
#[test]
fn a_renewal_that_fails_is_a_write() {
    let (_outer, dir) = warm_directory();
    for name in ["servergroups.json", "a/v1/serverresources.json"] {
        set_modified(&dir.join(name), long_ago());
    }
    let layer = of_single_lists(&dir).with_faults(|step, _| {
        (step == Step::Touch).then(|| Fault::Error(ErrorKind::PermissionDenied.into()))
    });
    let server = Server::legacy();
    assert_eq!(warnings(|| drop(server.ask(&layer, "/apis/a/v1"))), 0);
    assert_eq!(
        (
            layer.disk_stats().files_written,
            layer.disk_stats().files_renewed
        ),
        (1, 0)
    );
    assert!(modified(&dir.join("a/v1/serverresources.json")) > long_ago());
    assert_eq!(modified(&dir.join("servergroups.json")), long_ago());
}

/// Somebody empties the cache while it is written: what is written afterwards is where it belongs, and no temporary
/// file stays.
#[cfg(unix)]
#[test]
fn a_directory_that_is_removed_while_it_is_written() {
    for at in [Step::MakeDir, Step::OpenTemp, Step::Rename] {
        let (_outer, dir) = directory();
        let (place, calls) = (dir.clone(), AtomicUsize::new(0));
        let layer = DiskDiscoveryLayer::new(&dir).with_faults(move |step, path| {
            let is_list = path
                .strip_prefix(&place)
                .is_ok_and(|path| path.starts_with("g"));
            if step == at && is_list && calls.fetch_add(1, Ordering::Relaxed) == 2 {
                fs::remove_dir_all(&place).unwrap();
            }
            None
        });
        let server = Server::default();
        serve_groups(
            &server,
            ["a", "g", "z"].map(str::to_owned).into_iter(),
            "xs",
        );
        for _ in 0..3 {
            server.ask_with(&layer, "/apis", Format::V2.content_type());
            layer.handle().invalidate();
        }
        let files: Vec<_> = tree(&dir).into_iter().map(|(path, _)| path).collect();
        let lists = ["a", "g", "z"].map(|group| format!("{group}/v1/serverresources.json"));
        let groups = [
            "servergroups.json".to_owned(),
            "v1/serverresources.json".to_owned(),
        ];
        assert_eq!(
            files,
            [&lists[..2], &groups[..1], &groups[1..], &lists[2..]].concat(),
            "{at:?}"
        );
    }
}
