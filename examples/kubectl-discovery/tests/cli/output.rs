//! Output for a healthy server. The formats have their own tests, with kubectl's bytes.

use embedded_apiserver::EmbeddedServer;

use crate::program::{Home, server};

/// As kubectl 1.37.1 prints it.
const APPS: &str = "\
NAME                  SHORTNAMES   APIVERSION   NAMESPACED   KIND
controllerrevisions                apps/v1      true         ControllerRevision
daemonsets            ds           apps/v1      true         DaemonSet
deployments           deploy       apps/v1      true         Deployment
replicasets           rs           apps/v1      true         ReplicaSet
statefulsets          sts          apps/v1      true         StatefulSet
";

#[test]
fn one_group_can_be_selected() {
    for legacy in [false, true] {
        let server = EmbeddedServer::builder()
            .legacy_only(legacy)
            .start_in_thread()
            .unwrap();
        let home = Home::new();
        let table = home
            .ask(&server, &["api-resources", "--api-group=apps"])
            .ok();
        assert_eq!(table, APPS, "legacy: {legacy}");
    }
}

#[test]
fn a_legacy_and_an_aggregated_server_print_the_same() {
    let home = Home::new();
    let print = |legacy: bool| {
        let builder = EmbeddedServer::builder().crds(7).legacy_only(legacy);
        let server = builder.start_in_thread().unwrap();
        // These leave out what only one of the forms has, or has in its own order (verbs).
        let formats = ["name", ""];
        let resources =
            formats.map(|format| home.ask(&server, &["api-resources", "-o", format]).ok());
        let versions = home.ask(&server, &["api-versions"]).ok();
        if legacy {
            // Only the groups are asked for.
            server.clear_log();
            home.ask(&server, &["api-versions"]).ok();
            assert_eq!(server.counters().total, 2);
        }
        (resources, versions)
    };
    let (resources, versions) = print(false);
    assert!(versions.lines().is_sorted());
    assert!(versions.contains("apps/v1\n") && versions.contains("\nv1\n"));
    assert_eq!((resources, versions), print(true));
}

#[test]
fn the_versions_of_the_server_are_printed() {
    let (home, server) = (Home::new(), server());
    let text = home.ask(&server, &["version"]).ok();
    assert_eq!(text.lines().last(), Some("Server Version: v1.36.2"));
    let json = home.ask(&server, &["version", "-o", "json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["serverVersion"]["gitVersion"], "v1.36.2");
    let yaml = home.ask(&server, &["version", "-o", "yaml"]).ok();
    assert!(yaml.contains("\nserverVersion:\n") && yaml.contains("\n  major: \"1\"\n"));
}

#[test]
fn raw_is_what_the_server_sends() {
    let (home, server) = (Home::new(), server());
    // Not even the documents that the caches know come from them.
    home.ask(&server, &["api-resources"]).ok();
    server.clear_log();
    let document = home.ask(&server, &["get", "--raw", "/apis?limit=1"]).ok();
    assert!(document.starts_with(r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"#));
    home.ask(&server, &["get", "--raw", "/apis", "--request-timeout=5"])
        .ok();
    let targets: Vec<_> = server.log().into_iter().map(|entry| entry.target).collect();
    assert_eq!(targets, ["/apis?limit=1", "/apis?timeout=5s"]);
}

#[test]
fn a_server_below_a_path_is_asked_there() {
    let server = EmbeddedServer::builder()
        .base_path("/k8s/one")
        .start_in_thread()
        .unwrap();
    let home = Home::new();
    assert_eq!(
        home.ask(&server, &["api-resources", "--api-group=apps"])
            .ok(),
        APPS
    );
    home.ask(&server, &["get", "--raw", "/version"]).ok();
    assert_eq!(server.counters().path("/k8s/one/version"), 1);
}

#[test]
fn agents_and_timeouts_are_told() {
    let (home, server) = (Home::new(), server());
    home.ask(&server, &["api-versions", "--request-timeout=1m"])
        .ok();
    home.ask(&server, &["api-versions"]).ok();
    let log = server.log();
    let mut targets: Vec<_> = log.iter().map(|entry| entry.target.as_str()).collect();
    targets.sort_unstable();
    assert_eq!(
        targets,
        [
            "/api?timeout=1m0s",
            "/api?timeout=32s",
            "/apis?timeout=1m0s",
            "/apis?timeout=32s"
        ]
    );
    assert!(log.iter().all(|entry| {
        entry
            .user_agent()
            .unwrap()
            .starts_with("kubectl-discovery/")
    }));
}
