//! Trees of which a part is there: only the rest is asked for.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::engine::WantParsed;
use discovery_core::kube::plan::drive;
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

#[test]
fn a_list_or_two_are_asked_for_alone() {
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
        assert_eq!(server.asked(), missing);
        assert!(discovered.snapshot.is_complete());
        assert_eq!(tree(&dir), all_files());
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

/// kubectl then discovers everything again at each command.
#[test]
fn a_list_that_can_not_be_had_does_not_take_the_others_along() {
    for legacy in [false, true] {
        let (_dir, dir) = warm_directory();
        fs::remove_dir_all(dir.join("a/v1")).unwrap();
        let server = Server::new(legacy);
        server.set(
            "/apis/a/v1",
            http::Response::builder()
                .status(503)
                .body("down".into())
                .unwrap(),
        );
        for _ in 0..3 {
            let discovered = discover(&server, &DiskDiscoveryLayer::new(&dir));
            assert_eq!(server.asked(), ["/apis/a/v1"]);
            assert_eq!(discovered.snapshot.lists().len(), 2);
            assert_eq!(
                discovered
                    .failed
                    .keys()
                    .map(discovery_core::GroupVersion::as_str)
                    .collect::<Vec<_>>(),
                ["a/v1"]
            );
        }
    }
}

/// A group version without a file may exist all the same; another process may have found out.
#[test]
fn unknown_group_versions_are_asked_for() {
    let (_dir, dir) = warm_directory();
    let (server, layer) = (Server::legacy(), DiskDiscoveryLayer::new(&dir));
    for _ in 0..2 {
        assert_eq!(server.ask(&layer, "/apis/b/v1").status(), 404);
        assert_eq!(server.asked(), ["/apis/b/v1"]);
    }
    server.set(
        "/apis/b/v1",
        json(discovery_core::Format::Legacy, &file("b/v1", "bs")),
    );
    assert_eq!(server.ask(&layer, "/apis/b/v1").status(), 200);
    assert_eq!(
        fs::read_to_string(dir.join("b/v1/serverresources.json")).unwrap(),
        file("b/v1", "bs")
    );
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
