//! Servers that end a body too early, or not at all.

use std::io::{Read, Write};
use std::time::Duration;

use crate::origin::{After, Answer, Asked, Origin, whole};
use crate::program::{Got, Proxy, to_the_end};

/// The two framings of a body.
const FRAMINGS: [&str; 2] = ["transfer-encoding: chunked", "content-length: 5000"];

/// 1,000 bytes of a storable body that is longer. `/other` has a whole one.
fn part_of(framing: &'static str, after: After) -> impl Fn(&Asked) -> Answer + Send + Sync {
    move |asked| {
        if asked.head.starts_with("GET /other ") {
            return whole("cache-control: no-store\r\n", "another body");
        }
        let part = "x".repeat(1000);
        let part = if framing.contains("chunked") {
            format!("3e8\r\n{part}\r\n")
        } else {
            part
        };
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\ncache-control: max-age=60\r\n\r\n");
        Answer {
            bytes: format!("{head}{part}").into(),
            after,
        }
    }
}

#[track_caller]
fn assert_cut(got: &Got, what: &str) {
    assert!(!got.is_whole, "{what}: {got:?}");
    assert!(!got.body.contains("another"), "{what}: {got:?}");
    assert_eq!(got.rest, "", "{what}");
    // hyper may close the connection before it has written the head; nobody takes that for a response.
    assert!(matches!(got.status, Some(200) | None), "{what}: {got:?}");
}

#[test]
fn a_cut_body_does_not_arrive_as_whole() {
    for framing in FRAMINGS {
        let origin = Origin::new(part_of(framing, After::Close));
        let proxy = Proxy::new(&origin.url(), &[]);
        for round in 1..=3 {
            assert_cut(&proxy.get("/cut"), framing);
            // Nor is it stored.
            assert_eq!(origin.asked().len(), round, "{framing}");
        }
    }
}

#[test]
fn a_cut_body_does_not_arrive_as_whole_at_two_clients_at_once() {
    for framing in FRAMINGS {
        let origin = Origin::new(part_of(framing, After::Close));
        let proxy = Proxy::new(&origin.url(), &[]);
        for round in 0..20 {
            let path = format!("/cut/{round}");
            let clients = [proxy.send(&path), proxy.send(&path)];
            for client in clients {
                assert_cut(&to_the_end(client), framing);
            }
        }
    }
}

/// The bytes of the next response must not become the rest of the body.
#[test]
fn a_cut_body_ends_a_connection_that_would_be_kept() {
    for framing in FRAMINGS {
        let origin = Origin::new(part_of(framing, After::Close));
        let proxy = Proxy::new(&origin.url(), &[]);
        for _ in 0..3 {
            let mut stream = proxy.connect();
            let next = "GET /other HTTP/1.1\r\nhost: proxy\r\n\r\n";
            let requests = format!("GET /cut HTTP/1.1\r\nhost: proxy\r\n\r\n{next}");
            stream.write_all(requests.as_bytes()).unwrap();
            assert_cut(&to_the_end(stream), framing);
        }
        assert_eq!(proxy.get("/other").body, "another body");
    }
}

#[test]
fn a_stalled_body_is_cut_off_for_all_its_readers() {
    for framing in FRAMINGS {
        let origin = Origin::new(part_of(framing, After::Stall));
        let proxy = Proxy::new(&origin.url(), &["--read-timeout", "0.2"]);
        let first = proxy.send("/stalled");
        origin.next();
        let second = proxy.send("/stalled");
        for client in [first, second] {
            assert_cut(&to_the_end(client), framing);
        }
        // The server is fine otherwise.
        assert_eq!(proxy.get("/other").body, "another body");
    }
}

#[test]
fn a_head_that_does_not_come_is_a_504() {
    let origin = Origin::new(|_| Answer {
        bytes: Vec::new(),
        after: After::Stall,
    });
    let proxy = Proxy::new(&origin.url(), &["--read-timeout", "0.2"]);
    let got = proxy.get("/");
    assert_eq!(
        (got.status, got.body.as_str()),
        (Some(504), "the server took too long\n")
    );
}

#[test]
fn without_a_limit_a_stalled_body_is_waited_for() {
    let origin = Origin::new(part_of(FRAMINGS[1], After::Stall));
    let proxy = Proxy::new(&origin.url(), &["--read-timeout", "0"]);
    let mut stream = proxy.send("/stalled");
    origin.next();
    let limit = Duration::from_millis(500);
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut bytes = Vec::new();
    // The time of the client is over, and the connection is still there.
    let error = stream.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert!(bytes.ends_with(b"xxx"));
}
