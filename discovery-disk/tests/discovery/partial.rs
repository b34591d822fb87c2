//! Trees of which a part is there: only the rest is asked for.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::engine::WantParsed;
use discovery_core::kube::plan::drive;
use discovery_core::testing::fixtures;
use discovery_core::{Discovered, Plan};
use discovery_disk::DiskDiscoveryLayer;
use http::Request;
use http_body_util::Full;
use tower::Layer;

use crate::tools::*;

/// The documents that a typed client finds.
pub(crate) fn discover(server: &Server, layer: &DiskDiscoveryLayer) -> Discovered {
    let mut plan = Plan::everything();
    let dress = |request: Request<()>| {
        let mut request = request.map(|()| Full::<Bytes>::default());
        request.extensions_mut().insert(WantParsed);
        request
    };
    tokio_test::block_on(drive(
        &mut plan,
        &layer.layer(server.service()),
        dress,
        1 << 20,
        |_| (),
    ));
    plan.finish().unwrap()
}

#[test]
fn a_complete_directory_costs_no_request() {
    for legacy in [false, true] {
        let (_dir, dir) = warm_directory();
        let server = Server::new(legacy);
        let discovered = discover(&server, &DiskDiscoveryLayer::new(&dir));
        assert!(server.asked().is_empty());
        assert!(discovered.snapshot.is_complete() && discovered.failed.is_empty());
    }
}

/// Otherwise the files would have other bytes than kubectl's.
#[test]
fn an_aggregated_server_is_asked_for_all_however_few_are_missing() {
    let (_dir, dir) = warm_directory();
    let server = Server::default();
    for missing in [&["/apis/a/v1"][..], &["/api/v1", "/apis/a/v2"]] {
        for path in missing {
            let name = path
                .trim_start_matches("/apis/")
                .trim_start_matches("/api/");
            fs::remove_file(dir.join(name).join("serverresources.json")).unwrap();
        }
        let discovered = discover(&server, &DiskDiscoveryLayer::new(&dir));
        assert_eq!(server.asked(), ["/api", "/apis"]);
        assert!(discovered.snapshot.is_complete());
        assert_eq!(tree(&dir), all_files());
    }
}

#[test]
fn a_request_for_one_list_brings_all() {
    for (legacy, expected) in [
        (false, &["/api", "/apis"][..]),
        (true, &["/api", "/apis", "/apis/a/v1"]),
    ] {
        let (_dir, dir) = directory();
        let (server, layer) = (Server::new(legacy), DiskDiscoveryLayer::new(&dir));
        let answer = server.ask(&layer, "/apis/a/v1");
        assert_eq!(text(answer), file("a/v1", "xs"));
        assert_eq!(server.asked(), expected);
        // The form of the server is known now.
        server.ask(&layer, "/api/v1");
        assert_eq!(server.asked(), if legacy { &["/api/v1"][..] } else { &[] });
        // Another program does not know it, and its user does not want to.
        let alone = of_single_lists(dir.join("other"));
        server.ask(&alone, "/apis/a/v1");
        assert_eq!(server.asked(), ["/apis/a/v1"]);
    }
}

/// kubectl ends with 0 then: the aggregated answer has what the list's own request would not bring.
#[test]
fn an_empty_list_is_nothing_to_ask_the_failing_server_of_the_group_for() {
    let (_dir, dir) = warm_directory();
    fs::remove_dir_all(dir.join("a/v1")).unwrap();
    let server = Server::default();
    let groups = [fixtures::Group::new("a")
        .version("v2", &["xs"])
        .version("v1", &[])];
    server.set(
        "/apis",
        json(discovery_core::Format::V2, &fixtures::aggregated(&groups)),
    );
    server.set("/apis/a/v1", fixtures::status(503));
    for _ in 0..2 {
        let discovered = discover(&server, &DiskDiscoveryLayer::new(&dir));
        assert_eq!(server.asked(), ["/api", "/apis"]);
        assert!(discovered.snapshot.is_complete() && discovered.failed.is_empty());
    }
}

/// From an aggregated server, many lists come with two requests, and from a legacy one, with one
/// request each.
#[test]
fn many_missing_lists_are_fetched_with_the_groups() {
    for (legacy, expected) in [
        (false, &["/api", "/apis"][..]),
        (
            true,
            &["/api", "/api/v1", "/apis", "/apis/a/v1", "/apis/a/v2"],
        ),
    ] {
        let (_dir, dir) = warm_directory();
        for name in ["a", "v1"] {
            fs::remove_dir_all(dir.join(name)).unwrap();
        }
        let server = Server::new(legacy);
        let layer = DiskDiscoveryLayer::new(&dir);
        assert!(discover(&server, &layer).snapshot.is_complete());
        assert_eq!(server.asked(), expected);
        assert_eq!(tree(&dir), all_files());
        // The groups had not changed.
        let statistics = layer.disk_stats();
        assert_eq!(statistics.files_written, 3);
        assert!(discover(&server, &layer).snapshot.is_complete());
        assert!(server.asked().is_empty());
    }
}

#[test]
fn missing_groups_are_fetched_and_the_lists_are_not() {
    let (_dir, dir) = warm_directory();
    fs::remove_file(dir.join("servergroups.json")).unwrap();
    let (server, layer) = (Server::legacy(), DiskDiscoveryLayer::new(&dir));
    assert!(discover(&server, &layer).snapshot.is_complete());
    assert_eq!(server.asked(), ["/api", "/apis"]);
}

/// kubectl then discovers everything again at each command. A list in trouble is asked for twice.
#[test]
fn a_list_that_can_not_be_had_does_not_take_the_others_along() {
    let (_dir, dir) = warm_directory();
    fs::remove_dir_all(dir.join("a/v1")).unwrap();
    let server = Server::legacy();
    server.set("/apis/a/v1", fixtures::status(503));
    for _ in 0..3 {
        let discovered = discover(&server, &DiskDiscoveryLayer::new(&dir));
        assert_eq!(
            server.asked(),
            ["/api", "/apis", "/apis/a/v1", "/apis/a/v1"]
        );
        assert_eq!(discovered.snapshot.lists().len(), 2);
        let failed: Vec<_> = discovered.failed.keys().map(ToString::to_string).collect();
        assert_eq!(failed, ["a/v1"]);
    }
}

/// A group version without a file may exist all the same; another process may have found out. What this process has
/// found out it knows.
#[test]
fn unknown_group_versions_are_asked_for_once() {
    for legacy in [false, true] {
        let (_dir, dir) = warm_directory();
        let (server, layer) = (Server::new(legacy), DiskDiscoveryLayer::new(&dir));
        for path in ["/apis/b/v1", "/apis/b", "/apis/b/v1", "/apis/b", "/apis/c"] {
            assert_eq!(server.ask(&layer, path).status(), 404);
        }
        assert_eq!(server.asked(), ["/api", "/apis"]);
        layer.handle().invalidate();
        assert_eq!(server.ask(&layer, "/apis/b").status(), 404);
        assert_eq!(server.asked(), ["/api", "/apis"]);
    }
    let (_dir, dir) = warm_directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    let list = json(discovery_core::Format::Legacy, &file("b/v1", "bs"));
    server.set("/apis/b/v1", list);
    assert_eq!(server.ask(&layer, "/apis/b/v1").status(), 200);
    let written = fs::read_to_string(dir.join("b/v1/serverresources.json"));
    assert_eq!(written.unwrap(), file("b/v1", "bs"));
}

#[test]
fn answers_hold_the_documents_of_the_files() {
    let (_dir, dir) = warm_directory();
    let layer = DiskDiscoveryLayer::new(&dir);
    let discovered = discover(&Server::default(), &layer);
    let list = discovered.snapshot.resources("a/v1").unwrap();
    assert_eq!(list.json(), &file("a/v1", "xs"));
    let copy = Arc::clone(&discovered.snapshot);
    assert!(Arc::ptr_eq(copy.resources("a/v1").unwrap(), list));
}
