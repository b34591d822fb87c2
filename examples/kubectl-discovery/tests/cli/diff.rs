//! `diff`: two clusters side by side.

use std::fs;

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};

use crate::program::{Home, server};

/// A kubeconfig with a context for each server.
fn configured(home: &Home, servers: &[(&str, &EmbeddedServer)]) -> String {
    let list = |field: &str, entry: &dyn Fn(&str, &EmbeddedServer) -> String| {
        let entries: String = servers
            .iter()
            .map(|(name, server)| format!("- name: {name}\n  {}\n", entry(name, server)))
            .collect();
        format!("{field}:\n{entries}")
    };
    let clusters = list("clusters", &|_, server| {
        format!("cluster: {{server: {:?}}}", server.url())
    });
    let contexts = list("contexts", &|name, _| {
        format!("context: {{cluster: {name}, user: \"\"}}")
    });
    let file = home.path().join("config");
    fs::write(
        &file,
        format!("apiVersion: v1\nkind: Config\n{clusters}{contexts}"),
    )
    .unwrap();
    format!("--kubeconfig={}", file.display())
}

fn widgets(verbs: &[&'static str], short: &[&str]) -> Group {
    let resource = Resource::new("rockets", "Rocket")
        .verbs(verbs.iter().copied())
        .short_names(short.iter().copied());
    Group::new("acme.test").version(Version::new("v1").resource(resource))
}

#[test]
fn clusters_that_are_alike_have_no_differences() {
    let (one, two) = (
        server(),
        EmbeddedServer::builder()
            .legacy_only(true)
            .start_in_thread()
            .unwrap(),
    );
    let home = Home::new();
    let config = configured(&home, &[("one", &one), ("two", &two)]);
    assert_eq!(home.run(&["diff", "one", "two", &config]).ok(), "");
    // Each has its own directory, and with what is there nobody is asked.
    one.clear_log();
    two.clear_log();
    home.run(&["diff", "one", "two", &config, "--cached"]).ok();
    assert_eq!((one.counters().total, two.counters().total), (0, 0));
}

#[test]
fn differences_are_printed_and_are_the_exit_code() {
    let (one, two) = (server(), server());
    one.control().set_group(widgets(&["get", "list"], &["ro"]));
    two.control()
        .set_group(widgets(&["get", "watch"], &["ro", "rkt"]));
    let only = Group::new("only.test")
        .version(Version::new("v2").resource(Resource::new("planes", "Plane")));
    two.control().set_group(only);
    let home = Home::new();
    let config = configured(&home, &[("one", &one), ("two", &two)]);
    let run = home.run(&["diff", "one", "two", &config]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr, "");
    assert_eq!(
        run.stdout,
        "--- one\n+++ two\n\
         ~ acme.test/v1 rockets Rocket: verbs -list +watch, short names +rkt\n\
         + only.test/v2\n\
         + only.test/v2 planes Plane\n"
    );
    let run = home.run(&["diff", "two", "one", &config, "-o", "name"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(
        run.stdout,
        "~ acme.test/v1 rockets Rocket\n- only.test/v2\n- only.test/v2 planes Plane\n"
    );
}

#[test]
fn trouble_has_a_message() {
    let one = server();
    let home = Home::new();
    let config = configured(&home, &[("one", &one)]);
    let run = home.run(&["diff", "one", "nowhere", &config]);
    let message = run.failed();
    assert!(
        message.contains("nowhere: error: context \"nowhere\" does not exist"),
        "{run:?}"
    );
    let run = home.run(&["diff", "one", "one", "--embedded"]);
    assert!(
        run.failed().contains("neither --server nor --embedded"),
        "{run:?}"
    );
    assert_eq!(home.run(&["diff", "one", &config]).code, Some(1));
}
