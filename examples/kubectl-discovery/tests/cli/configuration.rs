//! The server that is asked, and the configuration for it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use embedded_apiserver::EmbeddedServer;

use crate::program::{Home, server};

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
fn an_address_without_scheme_is_plain_http_whatever_is_set_for_tls() {
    let (home, server) = (Home::new(), server());
    let with_tls = EmbeddedServer::builder().tls(true).token("secret");
    let config = with_tls.start_in_thread().unwrap().kubeconfig();
    let line = config
        .lines()
        .find(|line| line.contains("server:"))
        .unwrap();
    let own = format!(
        "    server: {}\n    insecure-skip-tls-verify: true",
        server.addr()
    );
    let file = home.path().join("config");
    std::fs::write(&file, config.replace(line, &own)).unwrap();
    home.run(&["--kubeconfig", file.to_str().unwrap(), "version"])
        .ok();
    assert!(server.log().iter().all(|entry| !entry.authorization));
}

/// `http::Uri` parses such addresses, and clients then go to the default port of the host.
#[test]
fn an_address_with_an_invalid_port_is_refused_in_kubectl_s_words() {
    struct Row {
        address: &'static str,
        message: &'static str,
    }
    let home = Home::new();
    for Row { address, message } in [
        Row {
            address: "https://127.0.0.1:6443x",
            message: "error: host must be a URL or a host:port pair: \"https://127.0.0.1:6443x\"",
        },
        Row {
            address: "https://127.0.0.1:-1",
            message: "error: host must be a URL or a host:port pair: \"https://127.0.0.1:-1\"",
        },
        Row {
            address: "https://me:s3cr3t@127.0.0.1:6443x/k8s",
            message: "error: host must be a URL or a host:port pair: \"https://127.0.0.1:6443x/k8s\"",
        },
        Row {
            address: "https://127.0.0.1:644333",
            message: "Unable to connect to the server: dial tcp: address 644333: invalid port",
        },
        Row {
            address: "127.0.0.1:99999",
            message: "Unable to connect to the server: dial tcp: address 99999: invalid port",
        },
        Row {
            address: "127.0.0.1:6443x",
            message: "Unable to connect to the server: invalid port \":6443x\" after host",
        },
        // A slash in a password makes the beginning of it a port.
        Row {
            address: "https://me:12345678/s3cr3t@h",
            message: "error: host must be a URL or a host:port pair: \"https://h\"",
        },
    ] {
        for command in [
            &["api-resources", "--cached"][..],
            &["version"],
            &["get", "--raw=/"],
        ] {
            let run = home.run(&[&["--server", address], command].concat());
            assert_eq!(run.failed(), message);
            assert!(!run.stderr.contains("s3cr3t") && !run.stderr.contains("12345678"));
        }
    }
    let run = home.run(&["--server", "http://127.0.0.1:", "version"]);
    assert_eq!(
        run.failed(),
        "The connection to the server 127.0.0.1: was refused - did you specify the right host or port?"
    );
}

#[test]
fn a_proxy_with_an_invalid_port_is_not_asked() {
    let (home, server) = (Home::new(), server());
    let file = home.path().join("config");
    let config = server.kubeconfig();
    for (proxy, message) in [
        (
            "http://me:s3cr3t@127.0.0.1:6443x",
            "error: invalid 'proxy-url' \"http://127.0.0.1:6443x\" for cluster \"embedded\": \
             could not parse: http://127.0.0.1:6443x",
        ),
        (
            "http://me:s3cr3t@127.0.0.1:644333",
            "Unable to connect to the server: proxyconnect tcp: dial tcp: address 644333: invalid port",
        ),
        (
            "socks5://me:s3cr3t@127.0.0.1:99999",
            "Unable to connect to the server: proxyconnect tcp: dial tcp: address 99999: invalid port",
        ),
    ] {
        let cluster = format!("  cluster:\n    proxy-url: {proxy:?}\n");
        std::fs::write(&file, config.replace("  cluster:\n", &cluster)).unwrap();
        let run = home.run(&["--kubeconfig", file.to_str().unwrap(), "version"]);
        assert_eq!(run.failed(), message);
        assert!(!run.stderr.contains("s3cr3t"), "{run:?}");
    }
    assert_eq!(server.counters().total, 0);
    let home = home.variable("HTTPS_PROXY", "http://me:s3cr3t@127.0.0.1:6443x");
    let run = home.run(&["--server", "https://kube.invalid", "version"]);
    let message = "proxyconnect tcp: invalid port \":6443x\" after host";
    assert!(run.failed().ends_with(message), "{run:?}");
    assert!(!run.stderr.contains("s3cr3t"), "{run:?}");
}

#[test]
fn unusable_configurations_are_refused() {
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

/// The zone of an IPv6 address is for this machine, and no part of what the server sees (RFC 6874).
#[test]
fn an_address_with_a_zone() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        _ = writeln!(std::io::stderr(), "not tested: there is no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let host = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        let mut host = None;
        while let Some(Ok(line)) = lines
            .next()
            .filter(|line| !matches!(line.as_deref(), Ok("")))
        {
            host = line
                .to_lowercase()
                .strip_prefix("host: ")
                .map(str::to_owned)
                .or(host);
        }
        client
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
        host
    });
    let home = Home::new();
    let address = format!("http://[::1%25lo]:{port}");
    let output = home.run(&["-s", &address, "get", "--raw=/version"]).ok();
    assert_eq!(output, "{}");
    assert_eq!(host.join().unwrap(), Some(format!("[::1]:{port}")));
}

/// A proxy sees it as the DNS has it.
#[test]
fn a_host_outside_ascii() {
    for (address, expected) in [
        ("http://bücher.test:6443", "xn--bcher-kva.test:6443"),
        ("http://BÜCHER.test", "xn--bcher-kva.test"),
        ("http://me:s3cr3t@日本.test:80/k8s", "xn--wgv71a.test"),
        ("faß.test", "xn--fa-hia.test"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let host = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            let mut host = None;
            while let Some(Ok(line)) = lines
                .next()
                .filter(|line| !matches!(line.as_deref(), Ok("")))
            {
                let line = line.to_lowercase();
                host = line.strip_prefix("host: ").map(str::to_owned).or(host);
            }
            client
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .unwrap();
            host
        });
        let home = Home::new();
        let raw = [
            "-s",
            address,
            "--proxy-url",
            &proxy,
            "get",
            "--raw=/version",
        ];
        let output = home.run(&raw).ok();
        assert_eq!(output, "{}", "{address}");
        let host = host.join().unwrap().unwrap();
        assert_eq!(host.trim_end_matches(":80"), expected, "{address}");
    }
    let run = Home::new().run(&["-s", "https://me:s3cr3t@xn--zz.ü.test", "version"]);
    assert!(
        run.failed()
            .contains("host must be a URL or a host:port pair"),
        "{run:?}"
    );
    assert!(!run.stderr.contains("s3cr3t"), "{run:?}");
}
