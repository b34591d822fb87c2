//! The way to the server and back: proxies, redirects, limits.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::{HeaderValue, StatusCode, header};

use crate::program::{Home, server};

/// Answers one request as a proxy, and tells its head.
fn proxy() -> (SocketAddr, JoinHandle<Vec<String>>) {
    answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes".into())
}

/// Answers one request with these bytes, and tells its head.
fn answering(answer: String) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let head = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer.as_bytes()).unwrap();
        head
    });
    (address, thread)
}

/// A kubeconfig with a proxy.
fn through(home: &Home, server: &EmbeddedServer, proxy: &str) -> String {
    let line = format!("server: {}", server.url());
    let config = server.kubeconfig();
    let config = config.replace(&line, &format!("{line}\n    proxy-url: {proxy}"));
    let file = home.path().join("config");
    std::fs::write(&file, config).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn plain_http_through_a_proxy_needs_no_tunnel() {
    let (home, server) = (Home::new(), server());
    let (address, thread) = proxy();
    let file = through(&home, &server, &format!("http://me:p%40ss@{address}"));
    let asked = home.run(&["--kubeconfig", &file, "get", "--raw", "/version"]);
    assert_eq!(asked.ok(), "yes");
    let head = thread.join().unwrap();
    assert_eq!(head[0], format!("GET {}/version HTTP/1.1", server.url()));
    assert!(
        head.contains(&format!("host: {}", server.addr())),
        "{head:?}"
    );
    // base64 of `me:p@ss`
    let auth = "proxy-authorization: Basic bWU6cEBzcw==".to_owned();
    assert!(head.contains(&auth), "{head:?}");
    assert_eq!(server.counters().total, 0);
}

#[test]
fn heads_that_go_reads() {
    let home = Home::new();
    for fields in [
        "X-Folded: one\r\n  two\r\n".to_owned(),
        "X-Spaced : one\r\n".to_owned(),
        (0..2_000).map(|n| format!("X-{n}: {n}\r\n")).collect(),
        format!("X-Long: {}\r\n", "x".repeat(1 << 20)),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 3\r\n\r\nyes");
        let (address, thread) = answering(answer);
        let run = home.run(&["-s", &address.to_string(), "get", "--raw", "/version"]);
        assert_eq!(run.ok(), "yes");
        thread.join().unwrap();
    }
}

#[test]
fn a_proxy_that_is_not_understood() {
    let (home, server) = (Home::new(), server());
    let file = through(&home, &server, "ftp://me:s3cr3t@p:1");
    for command in [&["version"][..], &["api-resources"], &["api-versions"]] {
        let run = home.run(&[&["--kubeconfig", &file], command].concat());
        let message = "error: invalid 'proxy-url' \"ftp://p:1\" for cluster \"embedded\": \
            unsupported scheme \"ftp\", must be http, https, or socks5";
        assert_eq!((run.failed(), run.stdout.as_str()), (message, ""));
    }
    assert_eq!(server.counters().total, 0);
}

fn redirect(to: &str) -> Fault {
    let answer = Canned::new("").code(StatusCode::FOUND);
    let to = HeaderValue::from_str(to).unwrap();
    Fault::Answer(answer.header(header::LOCATION, to))
}

#[test]
fn redirects_are_followed() {
    let with_tls = || EmbeddedServer::builder().tls(true).token("secret");
    let first = with_tls().start_in_thread().unwrap();
    let identity = first.identity().unwrap().clone();
    let second = EmbeddedServer::builder().identity(identity);
    let second = second.start_in_thread().unwrap();
    let (home, control) = (Home::new(), first.control());
    let file = home.path().join("config");
    first.write_kubeconfig(&file).unwrap();
    let file = file.to_str().unwrap();
    for path in ["/api", "/apis"] {
        control.set_fault(path, redirect(&format!("{}{path}", second.url())));
    }
    control.set_fault("/here", redirect("/version"));
    let names = home
        .run(&["--kubeconfig", file, "api-resources", "-o", "name"])
        .ok();
    assert!(names.contains("pods\n"));
    assert_eq!(second.counters().total, 2);
    // The other server does not get to know who asks; the same one does.
    assert!(second.log().iter().all(|entry| !entry.authorization));
    home.run(&["--kubeconfig", file, "get", "--raw", "/here"])
        .ok();
    assert!(first.log().iter().all(|entry| entry.authorization));
    // The answer of the other server is not kept as the answer of this one.
    assert!(!home.cache().join("http").exists());
    // Down to plain HTTP is no way to go.
    let plain = server();
    control.set_fault("/down", redirect(&plain.url()));
    let run = home.run(&["--kubeconfig", file, "get", "--raw", "/down"]);
    let named = format!("redirects to \"{}\", which is not followed", plain.url());
    assert!(run.failed().contains(&named), "{run:?}");
    assert_eq!(plain.counters().total, 0);
}

#[test]
fn a_redirect_leads_from_http_to_https_without_credentials() {
    let (plain, secure) = (server(), EmbeddedServer::builder().tls(true));
    let secure = secure.start_in_thread().unwrap();
    let home = Home::new();
    let authority = home.path().join("ca.pem");
    std::fs::write(&authority, secure.ca_pem().unwrap()).unwrap();
    let home = home.variable("SSL_CERT_FILE", authority);
    let control = plain.control();
    control.set_fault("/version", redirect(&format!("{}/version", secure.url())));
    let address = plain.url().replace("http://", "http://me:s3cr3t@");
    home.run(&["-s", &address, "--as=somebody", "version"]).ok();
    assert!(plain.log().iter().all(|entry| entry.authorization));
    let log = secure.log();
    assert_eq!(log.len(), 1);
    assert!(!log[0].authorization && log[0].header("impersonate-user").is_none());
}

#[test]
fn redirects_without_end() {
    let (home, server) = (Home::new(), server());
    server.control().set_fault("/version", redirect("/version"));
    let run = home.ask(&server, &["version"]);
    let message = "Unable to connect to the server: stopped after 10 redirects";
    assert_eq!(run.failed(), message);
    assert_eq!(server.counters().total, 10);
}

#[test]
fn the_longest_timeout_is_sent_as_go_writes_it() {
    let (home, server) = (Home::new(), server());
    for timeout in ["9223372036", "9223372036854775807ns"] {
        home.ask(&server, &["version", "--request-timeout", timeout])
            .ok();
    }
    let timeouts = server.log().into_iter().map(|entry| entry.target);
    let timeouts: Vec<_> = timeouts.collect();
    let longest = "/version?timeout=2562047h47m16";
    assert_eq!(
        timeouts,
        [format!("{longest}s"), format!("{longest}.854775807s")]
    );
}
