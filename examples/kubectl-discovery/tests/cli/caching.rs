//! The places of cached answers, their lifetime, and the report of `--stats`.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use crate::program::{Home, server};

#[test]
fn a_second_run_sends_nothing_or_asks_whether_it_is_the_same() {
    let (home, server) = (Home::new(), server());
    let first = home.ask(&server, &["api-resources"]).ok();
    assert_eq!(server.counters().total, 2);
    server.clear_log();
    assert_eq!(
        home.ask(&server, &["api-resources", "--cached"]).ok(),
        first
    );
    assert_eq!(server.counters().total, 0);
    assert_eq!(home.ask(&server, &["api-resources"]).ok(), first);
    let counters = server.counters();
    assert_eq!((counters.total, counters.not_modified), (2, 2));
}

const NOTHING_WRITTEN: &str =
    "files written: 0 of discovery (0 bytes), 0 of the HTTP cache (0 bytes)\n";

#[test]
fn stats_tell_the_layers() {
    let (home, server) = (Home::new(), server());
    let stats = |arguments: &[&str]| {
        let run = home.ask(&server, &[&["--stats"], arguments].concat());
        assert_eq!(run.code, Some(0));
        run.stderr
    };
    let cold = stats(&["api-resources"]);
    assert!(
        cold.starts_with("requests sent: 2, answered 304: 0\n"),
        "{cold}"
    );
    assert!(cold.contains(" bytes), 2 of the HTTP cache ("), "{cold}");
    let warm = stats(&["api-resources", "--cached"]);
    assert!(
        warm.starts_with("requests sent: 0, answered 304: 0\n"),
        "{warm}"
    );
    assert!(warm.contains(NOTHING_WRITTEN), "{warm}");
    let checked = stats(&["api-resources"]);
    assert!(
        checked.starts_with("requests sent: 2, answered 304: 2\n"),
        "{checked}"
    );
    assert!(checked.contains(NOTHING_WRITTEN), "{checked}");
}

#[test]
fn the_directory_is_that_of_the_flag_then_the_variable_then_the_home() {
    let (home, server) = (Home::new(), server());
    home.ask(&server, &["api-versions"]).ok();
    assert!(home.cache().join("discovery").is_dir() && home.cache().join("http").is_dir());

    let (by_variable, by_flag) = (home.path().join("variable"), home.path().join("flag"));
    let home = home.variable("KUBECACHEDIR", &by_variable);
    home.ask(&server, &["api-versions", "--cache-dir="]).ok();
    assert!(by_variable.join("discovery").is_dir());
    home.ask(
        &server,
        &["api-versions", "--cache-dir", by_flag.to_str().unwrap()],
    )
    .ok();
    assert!(by_flag.join("discovery").is_dir());
}

#[test]
fn offline_the_caches_answer_however_old_they_are() {
    let (home, server) = (Home::new(), server());
    let run = home.ask(&server, &["api-versions", "--offline"]);
    assert!(
        run.failed()
            .ends_with("offline: the caches don't know it, and nothing is sent"),
        "{run:?}"
    );
    let known = home.ask(&server, &["api-versions"]).ok();
    let explained = home.ask(&server, &["explain", "pods"]).ok();
    let openapi = home.ask(&server, &["openapi", "apps/v1"]).ok();
    server.control().clear_log();
    let old = [
        "api-resources",
        "--cached",
        "--offline",
        "--cache-ttl=0s",
        "-o",
        "name",
    ];
    assert!(home.ask(&server, &old).ok().contains("deployments.apps"));
    // Other than without it, where api-versions always asks the server.
    assert_eq!(
        home.ask(&server, &["api-versions", "--offline"]).ok(),
        known
    );
    // The HTTP cache's entries are told as they were recorded.
    let offline = |arguments: &[&str]| {
        let arguments = [arguments, &["--offline"]].concat();
        home.ask(&server, &arguments)
    };
    assert_eq!(offline(&["explain", "pods"]).ok(), explained);
    assert_eq!(offline(&["openapi", "apps/v1"]).ok(), openapi);
    let unknown = offline(&["openapi", "batch/v1"]);
    assert!(
        unknown
            .failed()
            .contains("offline: the caches don't know it"),
        "{unknown:?}"
    );
    assert_eq!(server.counters().total, 0);
}

#[test]
fn files_expire() {
    let (home, server) = (Home::new(), server());
    home.ask(&server, &["api-resources"]).ok();
    let host = server.addr().to_string().replace(':', "_");
    let file = home
        .cache()
        .join("discovery")
        .join(host)
        .join("servergroups.json");
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_modified(an_hour_ago)
        .unwrap();
    let sent = |arguments: &[&str]| {
        server.clear_log();
        home.ask(
            &server,
            &[&["api-resources", "--cached"], arguments].concat(),
        )
        .ok();
        server.counters().total
    };
    assert_eq!(sent(&[]), 0);
    assert_eq!(sent(&["--cache-ttl=2h"]), 0);
    assert_eq!(sent(&["--cache-ttl=30m"]), 2);
}

#[test]
fn without_an_http_cache_no_response_is_stored() {
    let (home, server) = (Home::new(), server());
    for _ in 0..2 {
        home.ask(&server, &["--http-cache=false", "api-resources"])
            .ok();
    }
    let counters = server.counters();
    assert_eq!((counters.total, counters.not_modified), (4, 0));
    assert!(!home.cache().join("http").exists());
    // The version is asked for each time, and not kept either.
    home.ask(&server, &["--http-cache=false", "version"]).ok();
    assert!(!home.cache().join("http").exists());
}

#[test]
fn raw_answers_are_not_kept() {
    let (home, server) = (Home::new(), server());
    home.ask(
        &server,
        &["get", "--raw", "/api/v1/namespaces/default/secrets/demo"],
    );
    home.ask(&server, &["get", "--raw", "/version"]).ok();
    assert!(!home.cache().exists());
}

#[test]
fn flags_of_the_embedded_server_stand_anywhere() {
    let home = Home::new();
    // The flags for it stand anywhere, too.
    let first = home
        .run(&["--embedded", "api-resources", "--crds=3", "-o", "name"])
        .ok();
    let stock = home
        .run(&["--embedded", "api-resources", "-o", "name"])
        .ok();
    assert_eq!(first.lines().count(), stock.lines().count() + 3);
    let groups = home
        .run(&["--groups=3", "api-resources", "-o", "name", "--embedded"])
        .ok();
    assert_eq!(groups.lines().count(), stock.lines().count() + 3);
}

#[test]
fn the_embedded_server_is_the_same_one_in_the_next_run() {
    // The default port may be taken by another test.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let port = format!("--embedded-port={}", free.unwrap().port());
    let home = Home::new();
    let first = home.run(&["--embedded", &port, "api-resources"]).ok();
    let arguments = ["--embedded", &port, "--stats", "api-resources", "--cached"];
    let second = home.run(&arguments);
    assert_eq!((second.code, second.stdout), (Some(0), first));
    assert!(
        second.stderr.starts_with("requests sent: 0, "),
        "{}",
        second.stderr
    );
}

/// Somebody else may have put the files there.
#[cfg(unix)]
#[test]
fn a_directory_that_all_may_write_to_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (home, server) = (Home::new(), server());
    home.ask(&server, &["api-resources"]).ok();
    let host = server.addr().to_string().replace(':', "_");
    for dir in [
        home.cache().join("discovery").join(host),
        home.cache().join("http"),
    ] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let sent = |arguments: &[&str]| {
        server.clear_log();
        let arguments = [&["api-resources", "--cached", "-v=1"], arguments].concat();
        let run = home.ask(&server, &arguments);
        (
            server.counters().total,
            run.stderr.matches("is not trusted").count(),
        )
    };
    assert_eq!(sent(&[]), (2, 2), "one warning for each of the two caches");
    assert_eq!(sent(&["--trust-cache-dir"]), (0, 0));
}
