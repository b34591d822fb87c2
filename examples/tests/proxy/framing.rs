//! The framing of forwarded messages, and the connections that they go over.

use std::io::Write;

use crate::origin::{After, Answer, Origin, whole};
use crate::program::{Proxy, to_the_end};

/// RFC 9112 §6.3: the length beside a transfer coding is removed before the message is forwarded.
#[test]
fn a_length_beside_chunked_does_not_cut_the_body() {
    let origin = Origin::new(|_| Answer {
        bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\
            cache-control: max-age=60\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"
            .to_vec(),
        after: After::Close,
    });
    let proxy = Proxy::new(&origin.url(), &[]);
    for _ in 0..2 {
        let got = proxy.get("/");
        assert!(got.is_whole, "{got:?}");
        assert_eq!((got.status, got.body.as_str()), (Some(200), "whole"));
    }
    assert_eq!(origin.asked().len(), 1);
}

#[test]
fn fields_of_a_connection_are_not_forwarded() {
    let origin = Origin::new(|_| {
        whole(
            "connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: 1\r\n",
            "ok",
        )
    });
    let proxy = Proxy::new(&origin.url(), &[]);
    let mut stream = proxy.connect();
    let request = "GET / HTTP/1.1\r\nhost: proxy\r\nconnection: close, x-own\r\nx-own: 1\r\n\
        te: trailers\r\nproxy-authorization: Basic Og==\r\nx-other: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let got = to_the_end(stream);
    assert!(got.fields.contains("x-end: 1\r\n"), "{got:?}");
    assert!(
        !got.fields.contains("x-hop") && !got.fields.contains("keep-alive"),
        "{got:?}"
    );
    let head = origin.asked()[0].head.to_ascii_lowercase();
    assert!(head.contains("x-other: 1\r\n"), "{head}");
    for name in [
        "x-own",
        "te:",
        "proxy-authorization",
        "connection",
        "host: proxy",
    ] {
        assert!(!head.contains(name), "{name}: {head}");
    }
    let host = origin.url().replace("http://", "host: ");
    assert!(head.contains(&format!("{host}\r\n")), "{head}");
}

#[test]
fn a_connection_to_the_server_is_used_again() {
    let origin = Origin::new(|asked| {
        whole(
            "cache-control: no-store\r\n",
            asked.head.split(' ').nth(1).unwrap(),
        )
    });
    let proxy = Proxy::new(&origin.url(), &[]);
    for path in ["/one", "/two", "/three"] {
        assert_eq!(proxy.get(path).body, path);
    }
    assert_eq!(origin.asked().len(), 3);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_request_body_is_forwarded_whatever_the_method() {
    struct Row {
        method: &'static str,
        framing: &'static str,
        body: &'static str,
    }
    let origin = Origin::new(|asked| {
        let body = String::from_utf8(asked.body.clone()).unwrap();
        whole("cache-control: max-age=60\r\n", &body)
    });
    let proxy = Proxy::new(&origin.url(), &[]);
    let chunked = "transfer-encoding: chunked";
    for (
        number,
        Row {
            method,
            framing,
            body,
        },
    ) in [
        Row {
            method: "GET",
            framing: chunked,
            body: "3\r\none\r\n0\r\n\r\n",
        },
        // Another body is another request, though the URL is the same.
        Row {
            method: "GET",
            framing: chunked,
            body: "3\r\ntwo\r\n0\r\n\r\n",
        },
        Row {
            method: "GET",
            framing: "content-length: 5",
            body: "three",
        },
        Row {
            method: "POST",
            framing: chunked,
            body: "4\r\nfour\r\n0\r\n\r\n",
        },
        Row {
            method: "QUERY",
            framing: chunked,
            body: "4\r\nfive\r\n0\r\n\r\n",
        },
        Row {
            method: "DELETE",
            framing: "content-length: 3",
            body: "six",
        },
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = proxy.connect();
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n{framing}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let got = to_the_end(stream);
        let expected = ["one", "two", "three", "four", "five", "six"][number];
        assert!(got.is_whole, "{got:?}");
        assert_eq!(got.body, expected, "{method} {framing}");
    }
    // And a request without a body stays one.
    assert_eq!(proxy.get("/empty").body, "");
    let head = origin.asked().pop().unwrap().head.to_ascii_lowercase();
    assert!(
        !head.contains("transfer-encoding") && !head.contains("content-length"),
        "{head}"
    );
}
