//! `resolve`: the meaning of names.

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};
use serde_json::{Value, json};

use crate::program::{Home, server};

#[test]
fn a_short_name_is_resolved_to_its_resource() {
    let (home, server) = (Home::new(), server());
    let table = home.ask(&server, &["resolve", "deploy", "no"]).ok();
    let cells: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        cells[0][..4],
        ["NAME", "RESOURCE", "SHORTNAMES", "APIVERSION"]
    );
    assert_eq!(
        cells[1][..6],
        [
            "deploy",
            "deployments",
            "deploy",
            "apps/v1",
            "Namespaced",
            "Deployment"
        ]
    );
    assert_eq!(
        cells[2][..6],
        ["no", "nodes", "no", "v1", "Cluster", "Node"]
    );
}

#[test]
fn documents_tell_the_cache() {
    let (home, server) = (Home::new(), server());
    let resolve = |arguments: &[&str]| -> Value {
        let arguments = [&["resolve", "-o", "json"], arguments].concat();
        let json = home.ask(&server, &arguments).ok();
        serde_json::from_str(&json).unwrap()
    };
    let first = resolve(&["Deployment", "pods.v1."]);
    assert_eq!(first[0]["name"], "Deployment");
    assert_eq!(first[0]["resource"], "deployments");
    assert_eq!(first[0]["group"], "apps");
    assert_eq!(first[0]["namespaced"], true);
    assert_eq!(first[0]["shortNames"], json!(["deploy"]));
    assert_eq!(first[1]["kind"], "Pod");
    server.clear_log();
    let second = resolve(&["deploy"]);
    assert_eq!(second[0]["source"], "disk");
    assert!(second[0]["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(server.counters().total, 0);
    let yaml = home.ask(&server, &["resolve", "deploy", "-o", "yaml"]).ok();
    assert!(yaml.contains("\n  resource: deployments\n"), "{yaml}");
}

#[test]
fn an_unknown_name_is_an_error_with_near_names_and_the_others_are_printed() {
    let (home, server) = (Home::new(), server());
    let run = home.ask(&server, &["resolve", "depoyments", "po"]);
    assert!(run.failed().contains("near it are deployments"), "{run:?}");
    assert!(run.stdout.contains("pods"), "{run:?}");
    // A name that is new on the server is found in spite of the cache.
    server.control().set_crds(2);
    let name = "widget001s";
    let run = home.ask(&server, &["resolve", name]);
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn a_short_name_of_two_resources_is_the_firsts_with_a_warning() {
    let group = |name: &str, resource: &str, kind: &str| {
        let resource = Resource::new(resource, kind).short_names(["shared"]);
        Group::new(name).version(Version::new("v1").resource(resource))
    };
    let server = EmbeddedServer::builder().start_in_thread().unwrap();
    let control = server.control();
    control.set_group(group("one.test", "rockets", "Rocket"));
    control.set_group(group("two.test", "planes", "Plane"));
    let home = Home::new();
    let run = home.ask(&server, &["resolve", "shared"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("rockets"), "{run:?}");
    assert_eq!(
        run.stderr,
        "Warning: short name \"shared\" could also match lower priority resource planes.two.test\n"
    );
    home.ask(&server, &["resolve", "shared.two.test"]).ok();
}

#[test]
fn control_characters_of_a_server_do_not_reach_the_terminal() {
    let server = server();
    let resource = Resource::new("evils", "Ev\u{1b}[2Jil");
    let group = Group::new("evil.test").version(Version::new("v1").resource(resource));
    server.control().set_group(group);
    let home = Home::new();
    let table = home.ask(&server, &["resolve", "evils"]).ok();
    assert!(table.contains("Ev\\u{1b}[2Jil"), "{table}");
}
