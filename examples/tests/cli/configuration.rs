//! Which server is asked, and with what.

use discovery_examples::embedded::EmbeddedServer;

use crate::program::{Home, server};

#[test]
fn no_configuration_means_localhost() {
    // Whether anyone listens there or not: no other server is named.
    let run = Home::new().run(&["version"]);
    assert!(
        run.code == Some(0) || run.failed().contains("localhost:8080"),
        "{run:?}"
    );
}

#[test]
fn tls_and_a_token_from_a_kubeconfig() {
    let builder = EmbeddedServer::builder()
        .crds(400)
        .tls(true)
        .token("let-me-in");
    let server = builder.start_in_thread().unwrap();
    let home = Home::new();
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    server
        .write_kubeconfig(home.path().join(".kube/config"))
        .unwrap();
    let names = home.run(&["api-resources", "-o", "name"]).ok();
    assert!(names.lines().count() > 400);
    home.run(&["get", "--raw", "/version"]).ok();
    let log = server.log();
    assert!(
        log.iter()
            .all(|entry| entry.authorization && entry.version == http::Version::HTTP_2)
    );
    // A large answer came compressed.
    let apis = log.iter().find(|entry| entry.path == "/apis").unwrap();
    assert_eq!(apis.header("accept-encoding"), Some("gzip"));
    assert!(apis.body_bytes < 40_000, "{}", apis.body_bytes);
    let connections = server.counters().connections;
    assert_eq!(
        home.run(&["api-resources", "--cached", "-o", "name"]).ok(),
        names
    );
    assert_eq!(server.counters().connections, connections);
}

#[test]
fn the_flag_beats_the_variable_and_contexts_are_found() {
    let (home, one, two) = (Home::new(), server(), server());
    let (first, second) = (home.path().join("one"), home.path().join("two"));
    one.write_kubeconfig(&first).unwrap();
    let renamed = two.kubeconfig().replace("embedded", "second");
    std::fs::write(&second, renamed).unwrap();
    let paths = std::env::join_paths([home.path().join("missing"), first, second.clone()]).unwrap();
    let home = home.variable("KUBECONFIG", paths);
    let second = second.to_str().unwrap();
    let asked = |arguments: &[&str]| {
        home.run(&[arguments, &["version"]].concat()).ok();
        let counts = (one.counters().total, two.counters().total);
        one.clear_log();
        two.clear_log();
        counts
    };
    assert_eq!(asked(&[]), (1, 0));
    assert_eq!(asked(&["--context=second"]), (0, 1));
    assert_eq!(asked(&["--kubeconfig", second]), (0, 1));
    assert_eq!(
        asked(&["--kubeconfig", second, "--server", &one.url()]),
        (1, 0)
    );
    // An address without scheme is plain HTTP.
    assert_eq!(asked(&["-s", &two.addr().to_string()]), (0, 1));
}

#[test]
fn configurations_that_are_none() {
    let home = Home::new();
    let bad = home.path().join("bad");
    std::fs::write(&bad, "users: [{token: s3cr3t").unwrap();
    let bad = bad.to_str().unwrap();
    for (arguments, message) in [
        (
            ["--kubeconfig", "/nope"],
            "error: stat /nope: no such file or directory".to_owned(),
        ),
        (
            ["--context", "nope"],
            "error: context \"nope\" does not exist".to_owned(),
        ),
        (
            ["--server", "http://["],
            "error: host must be a URL or a host:port pair: \"http://[\"".to_owned(),
        ),
        (
            ["--server", "h:1/x"],
            "error: host must be a URL or a host:port pair: \"h:1/x\"".to_owned(),
        ),
        (
            ["--kubeconfig", bad],
            format!("error: error loading config file \"{bad}\": "),
        ),
    ] {
        let run = home.run(&[&arguments[..], &["api-versions"]].concat());
        assert!(run.failed().starts_with(&message), "{run:?}");
        assert!(!run.stderr.contains("s3cr3t"));
    }
}

#[test]
fn a_proxy_that_is_not_understood() {
    let (home, server) = (Home::new(), server());
    let line = format!("server: {}", server.url());
    let config = server
        .kubeconfig()
        .replace(&line, &format!("{line}\n    proxy-url: ftp://p:1"));
    let file = home.path().join("config");
    std::fs::write(&file, config).unwrap();
    let run = home.run(&["--kubeconfig", file.to_str().unwrap(), "version"]);
    assert!(
        run.failed()
            .contains("can't go through the proxy ftp://p:1/: "),
        "{run:?}"
    );
    assert_eq!(server.counters().total, 0);
}

/// A plugin that tells where it was run, and knows nothing.
#[cfg(unix)]
#[test]
fn plugins_run_only_when_a_request_is_sent() {
    use std::os::unix::fs::PermissionsExt;

    let (home, server) = (Home::new(), server());
    let (plugin, traces) = (home.path().join("plugin"), home.path().join("traces"));
    let credential = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    let script = format!(
        "#!/bin/sh\necho run >>'{}'\necho '{credential}'\n",
        traces.display()
    );
    std::fs::write(&plugin, script).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let exec = format!(
        "\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: {}\n      \
         interactiveMode: Never\n",
        plugin.display()
    );
    let config = server
        .kubeconfig()
        .replace("user: {}\n", &format!("user:{exec}"));
    let file = home.path().join("config");
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    home.run(&["--kubeconfig", file, "api-resources"]).ok();
    assert!(traces.exists());
    assert!(server.log().iter().all(|entry| entry.authorization));
    std::fs::remove_file(&traces).unwrap();
    home.run(&["--kubeconfig", file, "api-resources", "--cached"])
        .ok();
    assert!(!traces.exists());
}
