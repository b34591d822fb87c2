//! Documents that are written, and documents that are not.

use std::fs;

use discovery_core::engine::{ParsedAnswer, Refresh};
use discovery_core::{Accept, Format};
use discovery_disk::DiskDiscoveryLayer;
use http::Response;

use crate::tools::*;

#[test]
fn an_aggregated_server_fills_everything_at_once() {
    for path in ["/api", "/apis", "/apis/a"] {
        let (_dir, dir) = directory();
        let (server, layer) = (Server::default(), of_single_lists(&dir));
        assert_eq!(layer.dir(), Some(&*dir));
        server.ask(&layer, path);
        assert_eq!(server.asked(), ["/api", "/apis"]);
        assert_eq!(tree(&dir), all_files(), "{path}");
        let statistics = layer.disk_stats();
        let bytes: usize = all_files().iter().map(|(_, content)| content.len()).sum();
        assert_eq!(
            (statistics.files_written, statistics.bytes_written),
            (4, bytes as u64)
        );
        assert_eq!((statistics.files_renewed, statistics.write_errors), (0, 0));
        // A program of its own, as far as the cache is concerned.
        let next = of_single_lists(&dir);
        assert!(server.ask_all(&next));
        assert!(server.asked().is_empty());
        assert_eq!(next.handle().stats().hits, 5);
    }
}

#[test]
fn a_legacy_server_fills_what_was_asked() {
    let (_dir, dir) = directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    server.ask(&layer, "/apis");
    assert_eq!(
        tree(&dir),
        [("servergroups.json".to_owned(), GROUPS.to_owned())]
    );
    assert!(!server.ask_all(&layer));
    assert_eq!(
        tree(&dir),
        all_files(),
        "the same bytes as from an aggregated one"
    );
    assert_eq!(
        server.asked(),
        ["/api", "/api/v1", "/apis", "/apis/a/v1", "/apis/a/v2"]
    );
}

/// kube-rs takes an aggregated answer here, and it is made of the files.
#[test]
fn files_give_aggregated_answers() {
    let (_dir, dir) = warm_directory();
    let server = Server::legacy();
    for accept in [
        Format::V2.content_type(),
        Format::V2Beta1.content_type(),
        Accept::KUBECTL,
    ] {
        let layer = of_single_lists(&dir);
        let body = text(server.ask_with(&layer, "/apis", accept));
        assert!(body.contains(r#""resource":"xs""#), "{body}");
        assert!(!body.contains(r#""name":"s""#), "a group without versions");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn nothing_is_written_for_empty_lists() {
    let (_dir, dir) = directory();
    let (server, layer) = (Server::default(), of_single_lists(&dir));
    server.set(
        "/api",
        Response::builder().status(404).body("".into()).unwrap(),
    );
    server.set(
        "/apis",
        json(Format::V2, r#"{"kind":"APIGroupDiscoveryList","items":[]}"#),
    );
    server.ask(&layer, "/apis");
    assert!(!dir.parent().unwrap().exists(), "not even a directory");
    // One empty list among others.
    let item = r#"{"metadata":{"name":"e"},"versions":[{"version":"v1"}]}"#;
    server.set(
        "/apis",
        json(
            Format::V2,
            &format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{item}]}}"#),
        ),
    );
    server.ask(&layer, "/apis");
    let names: Vec<_> = tree(&dir).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["servergroups.json"]);
    server.set(
        "/apis/e/v1",
        json(
            Format::Legacy,
            r#"{"kind":"APIResourceList","resources":[]}"#,
        ),
    );
    server.ask(&layer, "/apis/e/v1");
    assert_eq!(tree(&dir).len(), 1);
}

#[test]
fn nothing_is_written_for_errors() {
    let (_dir, dir) = directory();
    let (server, layer) = (Server::default(), of_single_lists(&dir));
    for code in [403, 404, 500, 503] {
        let error = || Response::builder().status(code).body("no".into()).unwrap();
        server.set("/apis", error());
        server.set("/apis/a/v1", error());
        for path in ["/apis", "/api", "/apis/a/v1"] {
            server.ask(&layer, path);
        }
    }
    for body in ["", "{", "{}", "null", r#"{"kind":"Status"}"#] {
        server.set("/apis", json(Format::Legacy, body));
        server.set("/apis/a/v1", json(Format::Legacy, body));
        for path in ["/apis", "/api", "/apis/a/v1"] {
            server.ask(&layer, path);
        }
    }
    assert!(!dir.parent().unwrap().exists());
}

#[test]
fn without_files_all_is_kept_in_memory() {
    let (server, layer) = (Server::default(), DiskDiscoveryLayer::without_files());
    server.ask(&layer, "/apis");
    server.asked();
    assert!(server.ask_all(&layer.clone()));
    assert!(server.asked().is_empty() && layer.handle().fresh());
    layer.handle().invalidate();
    server.ask(&layer, "/apis");
    assert_eq!(server.asked().len(), 2);
    let statistics = layer.disk_stats();
    assert_eq!((statistics.files_written, statistics.write_errors), (0, 0));
}

/// kubectl's disk cache never tells which versions are stale, so that its program does not fail.
#[test]
fn stale_versions_are_not_reported() {
    let (_dir, dir) = directory();
    let (server, layer) = (Server::default(), of_single_lists(&dir));
    for _ in 0..2 {
        let answer = server.ask(&layer, "/apis");
        let known = answer.extensions().get::<ParsedAnswer>().unwrap();
        assert_eq!((known.snapshot.stale().len(), known.cache), (0, "disk"));
        assert_eq!(known.snapshot.groups().unwrap().json(), GROUPS);
    }
}

#[test]
fn a_refresh_writes_what_is_new() {
    let (_dir, dir) = warm_directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    server.set("/apis/a/v1", json(Format::Legacy, &file("a/v1", "new")));
    for (refresh, expected) in [(None, "xs"), (Some(Refresh::next()), "new")] {
        let mut request = http::Request::get("/apis/a/v1")
            .body(http_body_util::Full::default())
            .unwrap();
        if let Some(refresh) = refresh {
            request.extensions_mut().insert(refresh);
        }
        let service = tower::Layer::layer(&layer, server.service());
        tokio_test::block_on(tower::ServiceExt::oneshot(service, request)).unwrap();
        assert_eq!(
            fs::read_to_string(dir.join("a/v1/serverresources.json")).unwrap(),
            file("a/v1", expected)
        );
    }
}

/// In a directory that was not there, nothing is looked for, and nothing is done twice for one file.
#[test]
fn a_new_tree_costs_the_calls_that_it_can_not_do_without() {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use discovery_disk::store::faults::Step;

    let (_dir, dir) = directory();
    let calls: Arc<Mutex<BTreeMap<String, Vec<Step>>>> = Arc::default();
    let counted = Arc::clone(&calls);
    let place = dir.clone();
    let layer = DiskDiscoveryLayer::new(&dir).with_faults(move |step, path| {
        // All calls for one file, by the directory that it is in.
        let inside = path.strip_prefix(&place).unwrap_or(path);
        let group = inside
            .iter()
            .next()
            .map(|name| name.to_string_lossy().into_owned());
        let mut calls = counted.lock().unwrap();
        calls
            .entry(group.unwrap_or_default())
            .or_default()
            .push(step);
        None
    });
    let server = Server::default();
    serve_groups(&server, (0..40).map(|n| format!("g{n}")), "xs");
    server.ask_with(&layer, "/apis", discovery_core::Format::V2.content_type());
    assert_eq!(layer.disk_stats().files_written, 42);
    let calls = calls.lock().unwrap();
    for n in 0..40 {
        let expected = [
            Step::MakeDir,
            Step::MakeDir,
            Step::OpenTemp,
            Step::Write,
            Step::SetMode,
            Step::Close,
            Step::Rename,
        ];
        assert_eq!(calls[&format!("g{n}")], expected);
    }
}
