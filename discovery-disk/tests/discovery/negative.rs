//! Answers for group versions that have no list.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use discovery_core::Format;
use discovery_core::sync::clock::{Clock, ManualClock};
use discovery_core::testing::{Gate, fixtures};
use discovery_disk::DiskDiscoveryLayer;
use discovery_disk::store::{EscapedNames, FileNames};
use tower::{Layer, ServiceExt};

use crate::partial::discover;
use crate::tools::*;

const MINUTE: Duration = Duration::from_secs(60);

struct Place {
    _outer: tempfile::TempDir,
    dir: PathBuf,
    state: PathBuf,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        let (outer, dir) = directory();
        Self {
            state: outer.path().join("cache/state"),
            _outer: outer,
            dir,
            clock: ManualClock::new(SystemTime::now()),
        }
    }

    /// One of a new process.
    fn layer(&self) -> DiskDiscoveryLayer {
        DiskDiscoveryLayer::new(&self.dir)
            .single_lists(true)
            .state_dir(&self.state)
            .negative_ttl(10 * MINUTE)
            .clock(self.clock.clone())
    }
}

#[test]
fn a_failing_and_an_empty_group_version_are_asked_for_once_in_their_time() {
    let place = Place::new();
    let server = Server::legacy();
    server.set("/apis/a/v1", fixtures::status(503));
    let empty =
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"a/v2","resources":[]}"#;
    server.set("/apis/a/v2", json(Format::Legacy, empty));
    let first = discover(&server, &place.layer());
    assert_eq!(first.failed.len(), 2);
    // client-go's walk asks twice for what may pass.
    assert_eq!(
        server.asked(),
        [
            "/api",
            "/api/v1",
            "/apis",
            "/apis/a/v1",
            "/apis/a/v1",
            "/apis/a/v2"
        ]
    );
    let files = tree(&place.dir);

    // The next process asks for nothing, and knows the same.
    let second = discover(&server, &place.layer());
    assert_eq!(server.asked(), [""; 0]);
    // Only of a legacy server is it known that an empty list is an error, and the files do not tell.
    let failed: Vec<_> = second.failed.keys().map(ToString::to_string).collect();
    assert_eq!(failed, ["a/v1"]);
    assert!(
        second
            .snapshot
            .resources("a/v2")
            .unwrap()
            .resources
            .is_empty()
    );
    assert_eq!(server.ask(&place.layer(), "/apis/a/v1").status(), 503);
    let list = server.ask(&place.layer(), "/apis/a/v2");
    assert_eq!(list.status(), 200);
    assert!(text(list).contains(r#""resources":[]"#));
    // kubectl sees nothing of it.
    assert_eq!(tree(&place.dir), files);
    assert!(files.iter().all(|(name, _)| !name.starts_with("a/")));

    place.clock.advance(10 * MINUTE + Duration::from_secs(1));
    let _ = discover(&server, &place.layer());
    let asked = server.asked();
    assert!(asked.contains(&"/apis/a/v1".to_owned()) && asked.contains(&"/apis/a/v2".to_owned()));

    // One answer may be an accident.
    let place_of_one = Place::new();
    let layer = place_of_one.layer();
    for _ in 0..2 {
        server.asked();
        assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 503);
        assert_eq!(server.asked(), ["/apis/a/v1"]);
    }
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 503);
    assert_eq!(server.asked(), [""; 0]);

    // A list that has come counts more.
    place.clock.advance(20 * MINUTE);
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "xs")));
    assert!(
        discover(&server, &place.layer())
            .snapshot
            .resources("a/v1")
            .is_some()
    );
}

#[test]
fn what_is_about_the_user_is_not_kept() {
    for status in [401, 403, 407, 408, 429] {
        let place = Place::new();
        let server = Server::legacy();
        server.set("/apis/a/v1", fixtures::status(status));
        let _ = discover(&server, &place.layer());
        server.asked();
        let _ = discover(&server, &place.layer());
        assert!(
            server.asked().contains(&"/apis/a/v1".to_owned()),
            "{status}"
        );
    }
}

#[test]
fn an_invalidation_forgets_them_in_its_process() {
    let place = Place::new();
    let server = Server::legacy();
    server.set("/apis/a/v1", fixtures::status(404));
    let _ = discover(&server, &place.layer());
    server.asked();
    let layer = place.layer();
    layer.handle().invalidate();
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 404);
    assert_eq!(server.asked(), ["/apis/a/v1"]);
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 404);
    assert_eq!(server.asked(), [""; 0]);
    layer.handle().invalidate();
    server.ask(&layer, "/apis/a/v1");
    assert_eq!(server.asked(), ["/apis/a/v1"]);
}

#[test]
fn they_need_the_option_and_a_place() {
    for layer in [
        |place: &Place| place.layer().negative_ttl(Duration::ZERO),
        |place: &Place| {
            DiskDiscoveryLayer::new(&place.dir)
                .single_lists(true)
                .negative_ttl(MINUTE)
        },
    ] {
        let place = Place::new();
        let server = Server::legacy();
        server.set("/apis/a/v1", fixtures::status(404));
        server.ask(&layer(&place), "/apis/a/v1");
        server.ask(&layer(&place), "/apis/a/v1");
        assert_eq!(server.asked(), ["/apis/a/v1", "/apis/a/v1"]);
        assert!(!place.state.join("negative").exists());
    }
}

/// Servers share a place.
#[test]
fn each_server_has_its_own() {
    let place = Place::new();
    let server = Server::legacy();
    server.set("/apis/a/v1", fixtures::status(404));
    server.ask(&place.layer(), "/apis/a/v1");
    let other = DiskDiscoveryLayer::new(place.dir.with_file_name("other"))
        .single_lists(true)
        .state_dir(&place.state)
        .negative_ttl(MINUTE);
    let working = Server::legacy();
    assert_eq!(working.ask(&other, "/apis/a/v1").status(), 200);
}

/// The same directory by another way, as `--cache-dir` may name it: below a link, or relative.
#[cfg(unix)]
#[test]
fn the_way_to_the_directory_does_not_matter() {
    let place = Place::new();
    let server = Server::legacy();
    server.set("/apis/a/v1", fixtures::status(404));
    server.ask(&place.layer(), "/apis/a/v1");
    assert_eq!(server.asked(), ["/apis/a/v1"]);

    let cache = place.state.parent().unwrap();
    let link = cache.with_file_name("link");
    std::os::unix::fs::symlink(cache, &link).unwrap();
    let by_link = DiskDiscoveryLayer::new(link.join(place.dir.strip_prefix(cache).unwrap()))
        .single_lists(true)
        .state_dir(link.join("state"))
        .negative_ttl(10 * MINUTE)
        .clock(place.clock.clone());
    assert_eq!(server.ask(&by_link, "/apis/a/v1").status(), 404);
    assert_eq!(server.asked(), [""; 0]);
}

/// The names tell those who look after a cache what each file is.
#[test]
fn files_are_named_after_the_server_and_the_group_version() {
    let place = Place::new();
    let server = Server::legacy();
    server.set("/apis/a/v1", fixtures::status(404));
    server.ask(&place.layer(), "/apis/a/v1");
    let below = place
        .dir
        .strip_prefix(place.state.parent().unwrap())
        .unwrap();
    let name = EscapedNames.file_name(below.to_str().unwrap());
    let file = place.state.join("negative").join(name).join("a%2fv1");
    assert!(file.is_file(), "{}", file.display());
}

/// A known list is told although the server is in trouble.
#[test]
fn an_expired_list_counts_more_than_trouble_if_it_may_be_told() {
    let place = Place::new();
    let server = Server::legacy();
    let all = ["/apis/a/v1"; 1];
    let mut layer = place.layer().keep_last_good(true);
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 200);
    server.set("/apis/a/v1", fixtures::status(503));
    place.clock.advance(7 * 60 * MINUTE);
    for _ in 0..4 {
        let answer = server.ask(&layer, "/apis/a/v1");
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("cache-status"));
        assert!(text(answer).contains("xs"));
        // Another process.
        layer = place.layer().keep_last_good(true);
    }
    // One that tells no expired files tells of the trouble.
    server.asked();
    for asked in [&all[..], &all, &[], &[]] {
        layer = if asked.is_empty() {
            place.layer()
        } else {
            layer.clone()
        };
        let _ = server.ask(&layer, "/apis/a/v1");
        assert_eq!(server.asked(), asked);
    }
    assert_eq!(server.ask(&place.layer(), "/apis/a/v1").status(), 503);
    // A server that says that there is no such list is not in trouble.
    server.set("/apis/a/v1", fixtures::status(404));
    let layer = place.layer().keep_last_good(true);
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 404);
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 404);
}

#[tokio::test]
async fn a_stale_list_counts_more_than_trouble() {
    let place = Place::new();
    let server = Server::legacy();
    let layer = place.layer().stale_while_revalidate(60 * MINUTE);
    let service = layer.layer(server.service());
    let get = || http::Request::get("/apis/a/v1").body(http_body_util::Full::default());
    service.clone().oneshot(get().unwrap()).await.unwrap();
    server.set("/apis/a/v1", fixtures::status(503));
    place.clock.advance(6 * 60 * MINUTE + MINUTE);
    for _ in 0..4 {
        server.asked();
        let answer = service.clone().oneshot(get().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

/// It has been there, so that the next answer may be an accident again.
#[test]
fn trouble_begins_anew_after_a_list() {
    let place = Place::new();
    let server = Server::legacy();
    let layer = place.layer();
    server.set("/apis/a/v1", fixtures::status(503));
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 503);
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "xs")));
    assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 200);
    server.set("/apis/a/v1", fixtures::status(503));
    place.clock.advance(7 * 60 * MINUTE);
    server.asked();
    for asked in [1, 1, 0] {
        assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 503);
        assert_eq!(server.asked().len(), asked);
    }
}

/// A list that came later, even if it has expired: the server had one.
#[test]
fn an_answer_from_before_a_list_does_not_come_back() {
    let place = Place::new();
    let server = Server::legacy();
    let layer = || place.layer().negative_ttl(48 * 60 * MINUTE);
    server.set("/apis/a/v1", fixtures::status(404));
    assert_eq!(server.ask(&layer(), "/apis/a/v1").status(), 404);
    // Another program has found it there.
    let path = place.dir.join("a/v1/serverresources.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, file("a/v1", "xs")).unwrap();
    place.clock.advance(MINUTE);
    set_modified(&path, place.clock.now());
    assert_eq!(server.ask(&layer(), "/apis/a/v1").status(), 200);
    place.clock.advance(7 * 60 * MINUTE);
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "ys")));
    assert!(text(server.ask(&layer(), "/apis/a/v1")).contains("ys"));
}

/// An answer that was on its way when the cache was told to forget says nothing about what is there now.
#[tokio::test]
async fn an_answer_from_before_an_invalidation_is_not_kept() {
    let empty =
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"a/v1","resources":[]}"#;
    for old in [fixtures::status(404), json(Format::Legacy, empty)] {
        let place = Place::new();
        let server = Server::legacy();
        server.set("/apis/a/v1", old);
        let gate = Gate::new();
        server.hold(&gate);
        let layer = place.layer();
        let service = layer.layer(server.service());
        let get = || http::Request::get("/apis/a/v1").body(http_body_util::Full::default());
        let asking = tokio::spawn(service.clone().oneshot(get().unwrap()));
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        layer.handle().invalidate();
        gate.open();
        asking.await.unwrap().unwrap();
        server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "xs")));
        let answer = service.clone().oneshot(get().unwrap()).await.unwrap();
        assert_eq!(server.asked(), ["/apis/a/v1"]);
        assert_eq!(answer.status(), 200);
    }
}

/// The option to trust any owner reaches the state directory as well.
#[cfg(unix)]
#[test]
fn an_accepted_directory_has_them_too() {
    for trust in [false, true] {
        let place = Place::new();
        let server = Server::legacy();
        server.set("/apis/a/v1", fixtures::status(404));
        server.ask(&place.layer(), "/apis/a/v1");
        let negative = place.state.join("negative");
        let of_server = negative.read_dir().unwrap().next().unwrap().unwrap();
        set_mode(of_server.path(), 0o777);
        server.asked();
        let layer = place.layer().trust_any_owner(trust);
        assert_eq!(server.ask(&layer, "/apis/a/v1").status(), 404);
        assert_eq!(server.asked().is_empty(), trust);
    }
}
