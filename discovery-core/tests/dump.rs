//! The response dump, checked against what kubectl wrote.

use bytes::Bytes;
use discovery_core::http::dump::{self, Encoder, Framing, Head, Reason, Uncompressed};
use discovery_core::store::{MapStore, Store, Value};
use http::{Method, Response, StatusCode, Version, response};

/// An entry of kubectl 1.32: HTTP/2, length known.
const VERSION: &str = "HTTP/2.0 200 OK\r\nContent-Length: 379\r\nAudit-Id: b8e02e2b-ae42-49d5-963c-65a3aa399554\r\nCache-Control: no-cache, private\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 23:10:19 GMT\r\nX-Kubernetes-Pf-Flowschema-Uid: 9da2fd6b-b7d5-4857-831c-38538f34dd89\r\nX-Kubernetes-Pf-Prioritylevel-Uid: 0c1c5fe8-c772-4279-b761-822996e564e2\r\n\r\n";
const VERSION_BODY: &str = "{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"36\",\n  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"35\",\n  \"gitVersion\": \"v1.36.2\",\n  \"gitCommit\": \"98b35193b2ac7a23a673325f5e9b830ecd5ba406\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"2026-07-05T00:00:00Z\",\n  \"goVersion\": \"go1.26.6\",\n  \"compiler\": \"gc\",\n  \"platform\": \"linux/amd64\"\n}";

/// Of kubectl 1.37: HTTP/2, length unknown (the body is shortened).
const API: &str = "HTTP/2.0 200 OK\r\nConnection: close\r\nAudit-Id: fd3ea7a5-9163-4d9b-8c13-7bc2c2c2c535\r\nCache-Control: public\r\nContent-Type: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\nDate: Sat, 21 Nov 2026 23:09:51 GMT\r\nEtag: \"4D7E1BED90B364BC86049DD9E636494980AEF65B7F8CFAA267616FA062B514A8A3CC2C2851CC9337B8D28B4C80960E2353DE5E0B152E87CC223E02EA3C5C37AC\"\r\nVary: Accept\r\nX-Kubernetes-Pf-Flowschema-Uid: 9da2fd6b-b7d5-4857-831c-38538f34dd89\r\nX-Kubernetes-Pf-Prioritylevel-Uid: 0c1c5fe8-c772-4279-b761-822996e564e2\r\nX-Varied-Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json\r\n\r\n{\"kind\":\"APIGroupDiscoveryList\"}\n";

/// Of kubectl 1.37: decompressed by the transport, two Vary lines (the body is shortened).
const APIS: &str = "HTTP/2.0 200 OK\r\nAudit-Id: af048dca-a8d8-45c0-918a-fbcbe3bd1d53\r\nCache-Control: public\r\nContent-Type: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\nDate: Sat, 21 Nov 2026 23:09:51 GMT\r\nEtag: \"749B1930479DCE174F0EDD4182FF28825FE8E2868A84D50367EF11183CD72BA00CC432BC6A32F24BDF2D81ED0B58F91BD747DE5AE067537A6AA4B1612D80FE1A\"\r\nVary: Accept\r\nVary: Accept-Encoding\r\nX-Kubernetes-Pf-Flowschema-Uid: 9da2fd6b-b7d5-4857-831c-38538f34dd89\r\nX-Kubernetes-Pf-Prioritylevel-Uid: 0c1c5fe8-c772-4279-b761-822996e564e2\r\nX-Varied-Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json\r\n\r\n{\"kind\":\"APIGroupDiscoveryList\"}\n";

fn value(bytes: impl Into<Bytes>) -> Value {
    Value::new("", bytes.into())
}

fn parts(build: impl FnOnce(response::Builder) -> response::Builder) -> response::Parts {
    build(Response::builder()).body(()).unwrap().into_parts().0
}

fn encoded(
    method: &Method,
    parts: &response::Parts,
    framing: Framing,
    body: &'static str,
) -> String {
    let value = dump::encode(method, parts, framing, body.into());
    String::from_utf8(value.into_bytes().to_vec()).unwrap()
}

#[test]
fn kubectls_entries_come_back_to_the_byte() {
    let version = format!("{VERSION}{VERSION_BODY}");
    for (entry, framing) in [
        (version.as_str(), Framing::Length),
        (API, Framing::Close),
        (APIS, Framing::Bare),
    ] {
        let value = value(entry.to_owned());
        let head = Head::decode(&Method::GET, &value).unwrap();
        assert_eq!(head.framing(), framing);
        let body = head.body(value.clone()).unwrap();
        assert!(entry.ends_with(std::str::from_utf8(&body).unwrap()));
        // The same bytes, not a copy.
        assert!(value.body.as_ptr_range().contains(&body.as_ptr()));
        assert_eq!(
            dump::encode(&Method::GET, head.parts(), head.framing(), body),
            value
        );

        let response = dump::decode(&Method::GET, &value).unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(
            response.extensions().get::<Uncompressed>().is_some(),
            framing == Framing::Bare
        );
    }
    let apis = dump::decode(&Method::GET, &value(APIS)).unwrap();
    let vary: Vec<_> = apis.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept", "Accept-Encoding"]);
}

#[test]
fn any_split_will_do() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let table = [
        (API, "{\"kind\":\"APIGroupDiscoveryList\"}\n"),
        (chunked, "abc"),
    ];
    for (entry, body) in table {
        let head = Head::decode(&Method::GET, &value(entry)).unwrap();
        for split in 0..=entry.len() {
            let value = Value::new(&entry[..split], &entry[split..]);
            assert_eq!(
                dump::decode(&Method::GET, &value).unwrap().body(),
                body,
                "{split}"
            );
            assert!(head.begins(&value));
            assert_eq!(head.body(value.clone()).unwrap(), body);
        }
        let other = Value::new("", entry.replace("200", "203"));
        assert!(!head.begins(&other));
        assert!(!head.begins(&value(&entry[..20])));
    }
}

#[test]
fn encoding() {
    let h2 = parts(|b| b.version(Version::HTTP_2));
    let h1 = parts(|b| b);
    let odd = parts(|b| b.version(Version::HTTP_2).status(299));
    let none = parts(|b| b.status(204));
    let long = parts(|b| b.header("content-length", "9"));
    let table = [
        (
            Method::GET,
            &h2,
            Framing::Length,
            "abc",
            "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            Method::GET,
            &h2,
            Framing::Length,
            "",
            "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            Method::GET,
            &h2,
            Framing::Close,
            "abc",
            "HTTP/2.0 200 OK\r\nConnection: close\r\n\r\nabc",
        ),
        (
            Method::GET,
            &h2,
            Framing::Bare,
            "abc",
            "HTTP/2.0 200 OK\r\n\r\nabc",
        ),
        (
            Method::GET,
            &odd,
            Framing::Bare,
            "",
            "HTTP/2.0 299 \r\n\r\n",
        ),
        (
            Method::GET,
            &none,
            Framing::Length,
            "",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            Method::GET,
            &h1,
            Framing::Chunked,
            "0123456789abcdefX",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefX\r\n0\r\n\r\n",
        ),
        (
            Method::GET,
            &h1,
            Framing::Chunked,
            "",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            Method::HEAD,
            &h1,
            Framing::Chunked,
            "abc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            Method::HEAD,
            &long,
            Framing::Length,
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        ),
        (
            Method::HEAD,
            &h1,
            Framing::Length,
            "",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        ),
    ];
    for (method, parts, framing, body, expected) in table {
        assert_eq!(encoded(&method, parts, framing, body), expected);
        let again = dump::decode(&method, &value(expected)).unwrap();
        assert_eq!(again.body(), if method == Method::HEAD { "" } else { body });
        assert_eq!(again.status(), parts.status);
    }
}

#[test]
fn headers_are_sorted_and_named_as_go_does() {
    let parts = parts(|b| {
        b.version(Version::HTTP_11)
            .header("www-authenticate", "x")
            .header("x_b", "1")
            .header("xa", "2")
            .header("vary", " A ")
            .header("ETag", "\"e\"")
            .header("vary", "B")
            .header("content-length", "77")
            .header("transfer-encoding", "chunked")
            .header("trailer", "t")
            .header("connection", "foo, Close")
            .header("x-1-a--b", "")
    });
    assert_eq!(
        encoded(&Method::GET, &parts, Framing::Length, "abc"),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\nEtag: \"e\"\r\nVary: A\r\nVary: B\r\n\
         Www-Authenticate: x\r\nX-1-A--B: \r\nX_b: 1\r\nXa: 2\r\n\r\nabc",
    );
}

#[test]
fn reasons() {
    let table: [(&str, Option<&[u8]>); 5] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
        (
            "HTTP/1.1 200 200\r\nContent-Length: 0\r\n\r\n",
            Some(b"200"),
        ),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Some(b"")),
        (
            "HTTP/2.0 416 Requested Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n",
            None,
        ),
        (
            "HTTP/1.0 200 \u{e4} b\r\nContent-Length: 0\r\n\r\n",
            Some("\u{e4} b".as_bytes()),
        ),
    ];
    for (entry, reason) in table {
        let value = value(entry);
        let head = Head::decode(&Method::GET, &value).unwrap();
        assert_eq!(head.parts().extensions.get().map(Reason::as_bytes), reason);
        assert_eq!(
            dump::encode(&Method::GET, head.parts(), head.framing(), Bytes::new()),
            value
        );
    }
    assert!(Reason::new("a\r\nb").is_none());
}

#[test]
fn all_framings_are_read() {
    let table = [
        // Content-Length; what is too much is ignored.
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabcdef", "abc"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length:3\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
        ),
        // Chunks: upper case, zeros, extensions, trailers, bare line feeds, more than one.
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n003;x=y\r\nabc\r\n1 \r\nd\r\n0\r\nT: v\r\n\r\nx",
            "abcd",
        ),
        (
            "HTTP/2.0 200 OK\ntransfer-encoding: chunked\n\nA\n0123456789\n0\n\n",
            "0123456789",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
            "abc",
        ),
        // To the end.
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", "abc"),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            "abc",
        ),
        ("HTTP/1.1 200\r\n\r\n", ""),
        // Statuses without a body.
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\nabc", ""),
    ];
    for (entry, body) in table {
        let response = dump::decode(&Method::GET, &value(entry)).unwrap();
        assert_eq!(response.body(), body, "{entry}");
        assert!(!response.headers().contains_key("transfer-encoding"));
    }
}

#[test]
fn garbage_is_an_error() {
    let truncated = [
        "",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n",
    ];
    let malformed = [
        "\n\n",
        "\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2\u{e4} OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\na\r\n0\r\n\r\n",
    ];
    for entry in truncated {
        let error = dump::decode(&Method::GET, &value(entry)).unwrap_err();
        assert!(error.is_truncated(), "{entry}: {error}");
    }
    for entry in malformed {
        let error = dump::decode(&Method::GET, &value(entry)).unwrap_err();
        assert!(
            error.is_malformed() && !error.is_truncated(),
            "{entry}: {error}"
        );
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(50_000));
    for head in [many, "x".repeat(300_000)] {
        let middle = head.len() / 2;
        for split in [0, 5, middle, head.len()] {
            let value = Value::new(head[..split].to_owned(), "");
            assert!(dump::decode(&Method::GET, &value).is_err());
            let value = Value::new(head[..split].to_owned(), head[split..].to_owned());
            let error = dump::decode(&Method::GET, &value).unwrap_err();
            assert!(error.is_head_too_large(), "{error}");
        }
    }
}

#[test]
fn damage_never_panics() {
    // Every prefix of an entry, and every entry with one byte replaced.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVary: A\r\n\r\n3;a\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let length = "HTTP/2.0 200 OK\r\nContent-Length: 3\r\nEtag: \"a\"\r\n\r\nabc";
    for entry in [chunked, length, API] {
        for end in 0..entry.len() {
            let _ = dump::decode(&Method::GET, &value(&entry.as_bytes()[..end]));
            for byte in [
                0, b'\n', b'\r', b' ', b'0', b'9', b'f', b':', b';', 0x7f, 0xff,
            ] {
                let mut bytes = entry.as_bytes().to_vec();
                bytes[end] = byte;
                for method in [Method::GET, Method::HEAD] {
                    let _ = dump::decode(&method, &value(bytes.clone()));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_streamed_body_reads_like_a_whole_one() {
    let store = MapStore::new();
    for framing in [
        Framing::Chunked,
        Framing::Close,
        Framing::Bare,
        Framing::Length,
    ] {
        let head = dump::encode_head(&Method::GET, &parts(|b| b), framing, Some(6));
        let mut encoder = Encoder::new(store.create("key", head).await.unwrap(), framing);
        for chunk in ["abc", "", "de", "f"] {
            encoder = encoder.write(chunk.into()).await.unwrap();
        }
        encoder.finish().await.unwrap();
        let value = store.get("key").await.unwrap().unwrap();
        assert_eq!(dump::decode(&Method::GET, &value).unwrap().body(), "abcdef");
    }
}

/// The head that is kept may be changed: what the value says stays what it says.
#[test]
fn changed_parts() {
    for framing in [
        "Content-Length: 3",
        "Connection: close",
        "Transfer-Encoding: chunked",
    ] {
        let body = if framing.ends_with("chunked") {
            "3\r\nabc\r\n0\r\n\r\n"
        } else {
            "abc"
        };
        let value = Value::new("", format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"));
        let mut head = Head::decode(&Method::GET, &value).unwrap();
        let before = (head.framing(), head.as_bytes().to_vec());
        head.parts_mut().headers.clear();
        head.parts_mut().status = http::StatusCode::NO_CONTENT;
        assert_eq!((head.framing(), head.as_bytes().to_vec()), before);
        assert!(head.begins(&value));
        assert_eq!(head.body(value).unwrap(), "abc", "{framing}");
    }
}

/// The largest head, and one byte more, however a value is split.
#[test]
fn the_largest_head() {
    const MAX: usize = 256 * 1024;
    for more in [0, 1] {
        let start = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: ";
        let fill = "x".repeat(MAX + more - start.len() - 4);
        let bytes = Bytes::from(format!("{start}{fill}\r\n\r\nb"));
        for split in [0, 10, MAX - 1, MAX, MAX + 1] {
            let value = Value::new(bytes.slice(..split), bytes.slice(split..));
            let head = Head::decode(&Method::GET, &value);
            assert_eq!(head.is_ok(), more == 0, "{split}");
            if let Ok(head) = head {
                assert_eq!(head.as_bytes().len(), MAX);
                assert_eq!(head.body(value).unwrap(), "b");
            }
        }
    }
}
