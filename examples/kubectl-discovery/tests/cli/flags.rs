//! The command line: what is refused, and what is understood as Go understands it.

use embedded_apiserver::{Canned, Fault};
use http::{HeaderValue, header};

use crate::program::{Home, server};

#[test]
fn wrong_flags_are_refused() {
    let home = Home::new();
    for (arguments, message) in [
        (
            &["api-resources", "--bogus"][..],
            "unexpected argument '--bogus'",
        ),
        (&["api-resources", "pods"], "unexpected argument 'pods'"),
        (
            &["api-resources", "-o", "xml"],
            "invalid value 'xml' for '--output",
        ),
        (
            &["api-resources", "--sort-by=age"],
            "invalid value 'age' for '--sort-by",
        ),
        (
            &["api-resources", "--namespaced=maybe"],
            "invalid value 'maybe' for '--namespaced",
        ),
        (
            &["api-resources", "--verbs=a\"b"],
            "invalid value 'a\"b' for '--verbs",
        ),
        (
            &["api-versions", "--cached"],
            "unexpected argument '--cached'",
        ),
        (
            &["version", "-o", "wide"],
            "invalid value 'wide' for '--output",
        ),
        (
            &["api-versions", "--profile=zz"],
            "invalid value 'zz' for '--profile",
        ),
        (
            &["api-versions", "--log-flush-frequency=x"],
            "invalid value 'x' for '--log-flush-frequency",
        ),
        (&["get"], "required arguments were not provided"),
        (&["describe"], "unrecognized subcommand 'describe'"),
        (
            &["--cache-ttl=6", "api-versions"],
            "invalid value '6' for '--cache-ttl",
        ),
        (
            &["--request-timeout=soon", "api-versions"],
            "invalid value 'soon' for '--request-timeout",
        ),
        (&["--crds=5", "api-versions"], "--embedded"),
        (&["api-versions", "--groups=5"], "--embedded"),
        (&["--embedded-port=5", "api-versions"], "--embedded"),
        (
            &["--embedded", "--server=h", "api-versions"],
            "cannot be used with",
        ),
        (
            &["--embedded", "api-versions", "-s", "h"],
            "cannot be used with",
        ),
        (
            &["--embedded", "--crds=5", "api-versions", "--groups=5"],
            "cannot be used with",
        ),
        (
            &["--request-timeout=18446744073709551615", "api-versions"],
            "must be a single integer in seconds",
        ),
        (
            &["--cache-ttl=94522879700260684295381835.99h", "api-versions"],
            "too long a duration",
        ),
        (&["-v=much", "api-versions"], "invalid value 'much'"),
    ] {
        let run = home.run(arguments);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(1), ""),
            "{arguments:?}"
        );
        assert!(
            run.stderr.contains(message),
            "{arguments:?}: {}",
            run.stderr
        );
    }
}

/// As kubectl does.
#[test]
fn without_a_command_there_is_help() {
    let home = Home::new();
    for arguments in [&[][..], &["--context=x"], &["cache"]] {
        let help = home.run(arguments).ok();
        assert!(help.contains("Usage: kubectl-discovery"), "{help}");
    }
}

#[test]
fn an_empty_timeout_is_none() {
    let (home, server) = (Home::new(), server());
    let names = |arguments: &[&str]| home.ask(&server, arguments).ok();
    assert_eq!(
        names(&["api-resources", "--request-timeout="]),
        names(&["api-resources"])
    );
}

#[test]
fn global_flags_stand_anywhere_and_the_last_one_counts() {
    let (home, server) = (Home::new(), server());
    let url = server.url();
    let before = home.run(&["-s", &url, "api-resources", "-o=name"]).ok();
    let arguments = [
        "api-resources",
        "-o",
        "wide",
        "-s",
        "http://h:1",
        "-oname",
        "-s",
        &url,
    ];
    assert_eq!(home.run(&arguments).ok(), before);
    // Booleans are Go's, and lists add up.
    let words = [
        "api-resources",
        "--cached=1",
        "--no-headers=F",
        "--no-headers=true",
        "-s",
        &url,
    ];
    assert_eq!(
        home.run(&words).ok().lines().count(),
        before.lines().count()
    );
    let lists = [
        "api-resources",
        "--verbs=get",
        "--verbs",
        "create,\"impersonate\"",
        "-s",
        &url,
    ];
    assert_eq!(home.run(&lists).ok().lines().count(), 1);
    // An empty value counts as not given.
    let empty = [
        "api-resources",
        "--output=",
        "--sort-by=",
        "--verbs=",
        "--server",
        &url,
    ];
    assert!(home.run(&empty).ok().starts_with("NAME  "));
}

#[test]
fn help_and_version_ask_no_one() {
    let home = Home::new();
    assert!(home.run(&["--help"]).ok().contains("api-resources"));
    assert!(
        home.run(&["api-resources", "--help"])
            .ok()
            .contains("--sort-by")
    );
    assert!(
        home.run(&["--version"])
            .ok()
            .starts_with("kubectl-discovery ")
    );
    let client = home.run(&["version", "--client"]).ok();
    assert!(client.starts_with("Client Version: v") && client.lines().count() == 1);
}

#[test]
fn warnings_are_shown_once_and_may_be_errors() {
    let (home, server) = (Home::new(), server());
    let warnings = HeaderValue::from_static(
        "299 - \"first \\\"thing\\\"\", 299 kube \"second\", 199 - \"other\"",
    );
    for path in ["/version", "/healthz"] {
        let answer = Canned::json("{\"gitVersion\": \"v1.37.0\"}");
        let answer = answer.header(header::WARNING, warnings.clone());
        server.control().set_fault(path, Fault::Answer(answer));
    }
    let shown = "Warning: first \"thing\"\nWarning: second\n";
    let run = home.ask(
        &server,
        &["get", "--raw=/healthz", "--match-server-version"],
    );
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), shown));
    let run = home.ask(&server, &["version", "--warnings-as-errors"]);
    assert_eq!(run.failed(), "error: 2 warnings received");
    assert!(
        run.stderr.starts_with(shown) && run.stdout.contains("v1.37.0"),
        "{run:?}"
    );
    home.ask(&server, &["api-versions", "--warnings-as-errors"])
        .ok();
}

#[test]
fn the_server_s_version_may_have_to_match() {
    let (home, server) = (Home::new(), server());
    let flag = "--match-server-version";
    let message = "error: server version (v1.36.2) differs from client version (v1.37)";
    for command in [&["api-versions"][..], &["explain", "pods"], &["version"]] {
        let run = home.ask(&server, &[command, &[flag]].concat());
        assert_eq!(run.failed(), message);
        assert_eq!(run.stdout, "");
    }
    home.ask(&server, &["api-versions", "--match-server-version=false"])
        .ok();
    for version in ["v1.37.0", "v1.37.9+k3s1", "v1.370.0", "1.37", ""] {
        let answer = Canned::json(format!("{{\"gitVersion\": {version:?}}}"));
        server
            .control()
            .set_fault("/version", Fault::Answer(answer));
        let run = home.ask(&server, &["api-versions", flag]);
        assert_eq!(
            run.code == Some(0),
            version.starts_with("v1.37."),
            "{version}"
        );
    }
}
