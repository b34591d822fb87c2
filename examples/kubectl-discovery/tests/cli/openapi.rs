//! `openapi`: documents through the caches.

use embedded_apiserver::EmbeddedServer;
use serde_json::Value;

use crate::program::{Home, server};

#[test]
fn the_documents_are_listed_and_printed() {
    let (home, server) = (Home::new(), server());
    let names = home.ask(&server, &["openapi"]).ok();
    let names: Vec<_> = names.lines().collect();
    assert!(names.contains(&"apis/apps/v1") && names.contains(&"api/v1"));
    let pretty = home.ask(&server, &["openapi", "apps/v1"]).ok();
    assert!(pretty.starts_with("{\n  \""), "{pretty}");
    server.clear_log();
    let raw = home
        .ask(&server, &["openapi", "apis/apps/v1", "--raw"])
        .ok();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&pretty), read(&raw));
    // Its hash is in the URL, so that the HTTP cache may answer without asking.
    let asked: Vec<_> = server.log().into_iter().map(|entry| entry.target).collect();
    assert_eq!(asked, ["/openapi/v3?timeout=32s"]);
}

#[test]
fn version_2_is_one_document_of_json() {
    let (home, server) = (Home::new(), server());
    let document = home.ask(&server, &["openapi", "--v2"]).ok();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["swagger"], "2.0");
    let run = home.ask(&server, &["openapi", "--v2", "apps/v1"]);
    assert_eq!(run.code, Some(1), "{run:?}");
}

#[test]
fn an_unknown_group_version_is_an_error_that_says_where_to_look() {
    let (home, server) = (Home::new(), server());
    let run = home.ask(&server, &["openapi", "apps/v9"]);
    assert!(
        run.failed().contains("kubectl-discovery openapi lists"),
        "{run:?}"
    );
}

#[test]
fn a_server_below_a_path_is_asked_there() {
    let server = EmbeddedServer::builder()
        .base_path("/k8s/one")
        .start_in_thread()
        .unwrap();
    let document = Home::new().ask(&server, &["openapi", "v1"]).ok();
    assert!(document.contains("Pod"));
    let log = server.log();
    let mut targets = log.iter().map(|entry| entry.target.as_str());
    assert!(targets.all(|target| target.starts_with("/k8s/one/openapi/v3")));
}
