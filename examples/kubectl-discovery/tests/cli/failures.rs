//! Servers that fail: kubectl's last line on stderr, and its exit code.

use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::StatusCode;

use crate::program::{Home, server};
use crate::refused::Refused;

const COMMANDS: [&[&str]; 4] = [
    &["api-resources"],
    &["api-versions"],
    &["version"],
    &["get", "--raw", "/version"],
];

fn legacy() -> EmbeddedServer {
    EmbeddedServer::builder()
        .legacy_only(true)
        .start_in_thread()
        .unwrap()
}

#[test]
fn nobody_listens() {
    let nobody = Refused::new();
    let free = nobody.addr();
    // The user name is not shown.
    let url = format!("http://me@{free}");
    let home = Home::new();
    let refused = format!(
        "The connection to the server {free} was refused - did you specify the right host or port?"
    );
    for command in COMMANDS {
        let run = home.run(&[&["-s", url.as_str()], command].concat());
        if command == ["api-versions"] {
            assert_eq!(
                run.failed(),
                format!(
                    "error: couldn't get available api versions from server: Get \"{url}/api?\
                     timeout=32s\": dial tcp {free}: connect: connection refused"
                )
            );
        } else {
            assert_eq!(run.failed(), refused);
        }
        // The version of the program is known in any case.
        assert_eq!(!run.stdout.is_empty(), command == ["version"]);
    }
    assert!(!home.cache().exists());
}

#[test]
fn lists_that_fail_are_named_and_the_others_printed() {
    let (home, server) = (Home::new(), legacy());
    let control = server.control();
    control.fail_group_version("apps/v1", StatusCode::SERVICE_UNAVAILABLE, None);
    control.set_fault(
        "/apis/batch/v1",
        Fault::Answer(Canned::text(StatusCode::FORBIDDEN, "no")),
    );
    let message = "error: unable to retrieve the complete list of server APIs: \
        apps/v1: the server is currently unable to handle the request, batch/v1: no";
    let run = home.ask(&server, &["api-resources", "-o", "name"]);
    assert_eq!(run.failed(), message);
    assert!(run.stdout.contains("pods\n") && !run.stdout.contains("deployments"));
    // The lists that came are known by now; only the others are asked for again, behind the groups, and the one that may
    // have passed twice.
    server.clear_log();
    let run = home.ask(&server, &["api-resources", "--cached"]);
    assert_eq!(run.failed(), message);
    assert_eq!(server.counters().total, 5);
    // The versions need no lists.
    home.ask(&server, &["api-versions"]).ok();
    control.clear_faults();
    home.ask(&server, &["api-resources", "--cached"]).ok();
}

#[test]
fn stale_versions_are_no_failure() {
    let (home, server) = (Home::new(), server());
    assert!(server.control().set_stale("apps/v1", true));
    let names = home.ask(&server, &["api-resources", "-o", "name"]).ok();
    assert!(names.contains("pods\n") && !names.contains("deployments"));
}

#[test]
fn a_refusal_of_the_server_is_printed() {
    let (home, server) = (Home::new(), server());
    let control = server.control();
    for path in ["/api", "/apis", "/version"] {
        let down = Canned::text(StatusCode::SERVICE_UNAVAILABLE, "down");
        control.set_fault(path, Fault::Answer(down));
    }
    let text = "the server is currently unable to handle the request";
    for command in COMMANDS {
        let run = home.ask(&server, command);
        if command == ["api-versions"] {
            let message = "couldn't get available api versions from server";
            assert_eq!(run.failed(), format!("error: {message}: {text}"));
        } else {
            assert_eq!(
                run.failed(),
                format!("Error from server (ServiceUnavailable): {text}")
            );
        }
    }
    let missing = home.ask(&server, &["get", "--raw", "/nope"]);
    let text = "the server could not find the requested resource";
    assert_eq!(
        missing.failed(),
        format!("Error from server (NotFound): {text}")
    );
    assert_eq!(missing.stdout, "");
    let no_path = home.ask(&server, &["get", "--raw", "nope"]);
    assert!(
        no_path
            .failed()
            .starts_with("error: --raw must be a valid URL path: ")
    );
}

#[test]
fn a_wrong_token() {
    let server = EmbeddedServer::builder()
        .token("right")
        .tls(true)
        .start_in_thread()
        .unwrap();
    let home = Home::new();
    let file = home.path().join("config");
    std::fs::write(&file, server.kubeconfig().replace("right", "wrong")).unwrap();
    let ask =
        |command: &[&str]| home.run(&[&["--kubeconfig", file.to_str().unwrap()], command].concat());
    let run = ask(&["api-resources"]);
    assert_eq!(
        run.failed(),
        "error: You must be logged in to the server (the server has asked for the client to \
         provide credentials)"
    );
    let run = ask(&["get", "--raw", "/version"]);
    assert_eq!(
        run.failed(),
        "error: You must be logged in to the server (Unauthorized)"
    );
}

#[test]
fn broken_answers_name_the_url_and_leave_nothing() {
    let html = Canned::new("<html>log in</html>");
    for fault in [
        Fault::Answer(Canned::json("{\"kind\":")),
        Fault::Answer(Canned::json("{}")),
        Fault::Answer(html.content_type("text/html")),
        Fault::Cut,
        Fault::CutBody(10),
    ] {
        let (home, server) = (Home::new(), server());
        server.control().set_fault("/apis", fault.clone());
        for command in [&["api-resources"][..], &["api-versions"]] {
            let run = home.ask(&server, command);
            let message = run.failed();
            assert!(
                matches!(fault, Fault::Cut) || message.contains(&server.url()),
                "{message}"
            );
            assert_eq!(run.stdout, "");
        }
        assert!(!home.cache().join("discovery").exists(), "{fault:?}");
    }
}

#[test]
fn a_server_that_hangs() {
    let (home, server) = (Home::new(), server());
    let control = server.control();
    control.set_fault("/apis", Fault::Stall(5));
    let held = control.hold("/version");
    for command in [
        &["version"][..],
        &["api-resources"],
        &["get", "--raw", "/version"],
    ] {
        let run = home.ask(&server, &[&["--request-timeout=200ms"], command].concat());
        assert!(
            run.failed().contains("context deadline exceeded"),
            "{run:?}"
        );
    }
    held.release();
}
