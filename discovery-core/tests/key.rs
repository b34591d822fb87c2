//! Keys and names, checked against files that kubectl wrote.

use discovery_core::http::uri::{self, Origin, Redacted, RedactedError, server_directory};
use http::uri::{Authority, Scheme};
use http::{Method, Uri};

#[test]
fn keys() {
    let table = [
        // The URLs that kubectl sends stay as they are.
        (
            Method::GET,
            "https://127.0.0.1:16443/api?timeout=32s",
            "https://127.0.0.1:16443/api?timeout=32s",
        ),
        (Method::HEAD, "https://h/apis", "HEAD https://h/apis"),
        (Method::POST, "https://h/apis", "POST https://h/apis"),
        (Method::GET, "https://h", "https://h/"),
        (Method::GET, "https://h?a=1", "https://h/?a=1"),
        // The scheme in lower case; host, user and port as given.
        (
            Method::GET,
            "HTTPS://User:Pw@Host:443/A",
            "https://User:Pw@Host:443/A",
        ),
        (
            Method::GET,
            "http://[::1]:6443/api",
            "http://[::1]:6443/api",
        ),
        // Paths.
        (Method::GET, "http://h//", "http://h/"),
        (Method::GET, "http://h/.", "http://h/"),
        (Method::GET, "http://h/..", "http://h/"),
        (Method::GET, "http://h/../../a", "http://h/a"),
        (Method::GET, "http://h/a/../b", "http://h/b"),
        (Method::GET, "http://h/a//b/./c", "http://h/a/b/c"),
        (Method::GET, "http://h/a/b/..", "http://h/a/"),
        (Method::GET, "http://h/apis/", "http://h/apis/"),
        (Method::GET, "http://h/a/...", "http://h/a/..."),
        (Method::GET, "http://h/a%2F..%2e/b", "http://h/a%2F..%2e/b"),
        // Queries.
        (Method::GET, "http://h/?b=1&a=2", "http://h/?a=2&b=1"),
        (
            Method::GET,
            "http://h/?a=2&b=1&a=1",
            "http://h/?a=2&a=1&b=1",
        ),
        (Method::GET, "http://h/?b&a", "http://h/?a&b"),
        (
            Method::GET,
            "http://h/?a=%26&a-b=1",
            "http://h/?a=%26&a-b=1",
        ),
        (Method::GET, "http://h/?", "http://h/?"),
    ];
    for (method, uri, expected) in table {
        let parsed: Uri = uri.parse().unwrap();
        assert_eq!(
            uri::cache_key(&method, &parsed, None).as_deref(),
            Some(expected),
            "{uri}"
        );
    }
}

/// Authorities that `http::Uri` parses, though they have no port that could be connected to.
const INVALID_PORTS: [&str; 12] = [
    "127.0.0.1:644333",
    "127.0.0.1:6443x",
    "127.0.0.1:99999",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:+1",
    "127.0.0.1:x",
    "host:0x50",
    "me:secret@host:99999",
    "[::1]:99999",
    "[::1]:x",
    "[::1]443",
];

#[test]
fn a_port_is_a_number_from_0_to_65535_or_the_scheme_s_own() {
    struct Row {
        uri: &'static str,
        port: Option<u16>,
    }
    for Row { uri, port } in [
        Row {
            uri: "https://h",
            port: Some(443),
        },
        Row {
            uri: "https://h:/",
            port: Some(443),
        },
        Row {
            uri: "http://h:/",
            port: Some(80),
        },
        Row {
            uri: "HTTP://[::1]/",
            port: Some(80),
        },
        Row {
            uri: "https://[::1]:6443/",
            port: Some(6443),
        },
        Row {
            uri: "https://me:secret@h/",
            port: Some(443),
        },
        Row {
            uri: "https://me:1@h:2/",
            port: Some(2),
        },
        Row {
            uri: "https://h:0/",
            port: Some(0),
        },
        Row {
            uri: "https://h:65535/",
            port: Some(65535),
        },
        Row {
            uri: "https://h:00443/",
            port: Some(443),
        },
        Row {
            uri: "ftp://h/",
            port: None,
        },
        Row {
            uri: "ftp://h:21/",
            port: Some(21),
        },
        Row {
            uri: "h:1",
            port: Some(1),
        },
        Row {
            uri: "/api",
            port: None,
        },
    ] {
        assert_eq!(uri::port(&uri.parse().unwrap()), Ok(port), "{uri}");
    }
}

#[test]
fn a_port_that_is_none_is_refused_and_the_password_is_not_told() {
    for authority in INVALID_PORTS {
        for scheme in ["http", "https", "ftp"] {
            let Ok(uri) = format!("{scheme}://{authority}/api").parse::<Uri>() else {
                // `http` may become stricter; there is nothing left to refuse then.
                continue;
            };
            let error = uri::port(&uri).unwrap_err();
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("secret") && !text.contains("host"), "{text}");
            }
        }
    }
    // At least these are parsed today, or the test above would prove nothing.
    for uri in ["https://h:644333/", "https://h:6443x/", "https://h:-1/"] {
        assert!(uri.parse::<Uri>().is_ok(), "{uri}");
    }
}

#[test]
fn a_uri_with_an_invalid_port_has_no_key_and_no_origin() {
    for authority in INVALID_PORTS {
        let Ok(uri) = format!("https://{authority}/api").parse::<Uri>() else {
            continue;
        };
        assert_eq!(uri::cache_key(&Method::GET, &uri, None), None, "{uri}");
        let invalid = Origin::from_uri(&uri).unwrap();
        let relative = Uri::from_static("/api");
        assert_eq!(
            uri::cache_key(&Method::GET, &relative, Some(&invalid)),
            None
        );
        assert!(!invalid.is_of(&uri), "{uri}");
        let host = uri.host().unwrap();
        let default: Uri = format!("https://{host}/").parse().unwrap();
        assert!(!invalid.is_of(&default), "{uri}");
        assert!(!Origin::from_uri(&default).unwrap().is_of(&uri), "{uri}");
    }
    let origin = Origin::from_uri(&Uri::from_static("https://h/")).unwrap();
    assert!(origin.is_of(&Uri::from_static("https://h:/")));
}

#[test]
fn relative_uris_need_an_origin() {
    let origin = Origin::new(Scheme::HTTPS, Authority::from_static("h:6443"));
    for (uri, expected) in [
        ("/api?x=1", Some("https://h:6443/api?x=1")),
        ("/", Some("https://h:6443/")),
        ("h:1", None),
    ] {
        let uri: Uri = uri.parse().unwrap();
        assert_eq!(uri::cache_key(&Method::GET, &uri, None), None);
        assert_eq!(
            uri::cache_key(&Method::GET, &uri, Some(&origin)).as_deref(),
            expected
        );
    }
    let absolute = Uri::from_static("http://other/api");
    assert_eq!(
        uri::cache_key(&Method::GET, &absolute, Some(&origin)).unwrap(),
        "http://other/api"
    );
}

#[test]
fn file_names_are_kubectls() {
    // The names of the files in a cache that kubectl 1.37 and 1.32 wrote.
    let table = [
        (
            "https://127.0.0.1:16443/api?timeout=32s",
            "d0fd1292b06285945976ec352089fc14f605e5d309050163f55e18af8322b332",
        ),
        (
            "https://127.0.0.1:16443/apis?timeout=32s",
            "8cb8f17096685259fea6ec659541b905fe5641e4b36e68ef3b56a66b58cea04e",
        ),
        (
            "https://127.0.0.1:16443/openapi/v3?timeout=32s",
            "22b32ab3977824c6563ad46b17e917e3025793b26923b45003b10ffe4bd395c3",
        ),
        (
            "https://127.0.0.1:16443/version?timeout=5s",
            "5ca997c6b1259d5bad9a8276486ce414c0e71401d86fe3e24cd8adcb9becfe20",
        ),
    ];
    for (key, name) in table {
        assert_eq!(uri::file_name(key), name, "{key}");
        assert_eq!(
            uri::cache_key(&Method::GET, &key.parse().unwrap(), None).as_deref(),
            Some(key)
        );
    }
    // The query of a hashed document comes unsorted.
    let uri = Uri::from_static(
        "https://127.0.0.1:16443/openapi/v3/apis/apps/v1?timeout=32s&hash=9C480966E6DB37553A96AA4296738F3D11598F2717445E9EF23BDCCBD72D072FA6EBAC08F0FB3F01EC1136E92B926167AD5D04859AC787413CFEB6379A1E676A",
    );
    assert_eq!(
        uri::file_name(&uri::cache_key(&Method::GET, &uri, None).unwrap()),
        "c4ca13841080003af5d6770e2c97ab313629217db3bd972cf9bfd28576af29db",
    );
}

#[test]
fn server_directories_are_kubectls() {
    let table = [
        ("https://10.0.0.1:6443", "10.0.0.1_6443"),
        ("http://10.0.0.1:6443", "10.0.0.1_6443"),
        ("https://127.0.0.1:16443", "127.0.0.1_16443"),
        ("https://[::1]:6443", "___1__6443"),
        ("u:p@h:1", "u_p_h_1"),
        ("HTTP://H", "HTTP_/H"),
        ("https://h/", "h"),
        ("https://h/k8s/clusters/c-1", "h/k8s/clusters/c_1"),
        ("https://h/a//b/./c/", "h/a/b/c"),
        // Query and scheme are seen to only where there is a path.
        ("http://h:1?a=b#c", "h_1_a_b_c"),
        ("http://h:1/?a=b#c", "h_1/_a_b_c"),
        ("HTTP://h:1/x", "h_1/x"),
        ("HTTP://h:1/x?a=b", "h_1/x"),
        ("HTTP://h:1/", "HTTP_/h_1"),
        ("https://h/p#/../b", "h/b"),
        ("https://h/a/../b", "h/b"),
        ("https://h/ü", "h/_C3_BC"),
        ("https://h/ä", "h/_C3_A4"),
        ("https://h/%zz", "h/_zz"),
        ("https://me:s!c@h/x", "me_s_21c_h/x"),
        ("https://h:1/(x)", "h_1/(x)"),
        ("https://hé:1", "h__1"),
        ("http://https://h", "h"),
        ("https://https://h", "https_/h"),
        ("localhost", "localhost"),
        ("https://h/...", "h/..."),
    ];
    for (server, directory) in table {
        assert_eq!(server_directory(server).unwrap(), directory, "{server}");
    }
}

#[test]
fn server_directories_stay_inside() {
    let long = format!("https://{}", "a".repeat(256));
    let table = [
        "",
        "https://",
        "https://.",
        "https://h?a=/../b",
        "..",
        "https://..",
        "https://../..",
        "https://h/../../../etc",
        "https://h/..",
        "https://h/a/../../b",
        "/etc/passwd",
        "https:///etc/passwd",
        "https://h/\0",
        "https://h?\0",
        &long,
    ];
    for server in table {
        let error = server_directory(server).unwrap_err().to_string();
        assert!(error.starts_with("the server address"), "{error}");
    }
}

#[test]
fn secrets_in_an_address_are_not_told() {
    let error = server_directory("https://me:pass/word@h/../../x").unwrap_err();
    let origin = uri::Origin::from_uri(&Uri::from_static("https://me:password@h:1/")).unwrap();
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{origin:?}"),
    ] {
        assert!(!text.contains("word") && text.contains('h'), "{text}");
    }
    for (text, bare) in [
        ("https://h", "https://h"),
        ("https://u@h", "https://h"),
        ("https://u:p@h:1/a@b", "https://b"),
        ("u:p@h", "h"),
        ("@", ""),
        ("", ""),
    ] {
        assert_eq!(uri::without_user_info(text), bare);
    }
}

#[test]
fn credentials_queries_and_variants_are_not_shown() {
    struct Row {
        text: &'static str,
        shown: &'static str,
    }
    let row = |text, shown| Row { text, shown };
    for Row { text, shown } in [
        row("https://h:1/a", "https://h:1/a"),
        row("https://u:p%40ss@h/x?token=SECRET&b=1", "https://h/x"),
        row("HEAD https://u@p@h", "HEAD https://h"),
        row("HEAD https://h/a?b@c", "HEAD https://h/a"),
        row("https://h?a=b", "https://h"),
        row("https://h/a#token=SECRET", "https://h/a"),
        row("/a@b?c", "/a@b"),
        row("u:p@h/x", "h/x"),
        row(
            "application/json https://u:p@h/x",
            "application/json https://h/x",
        ),
        // Key functions remove empty segments.
        row("https://h/to/https://u:p@i/x", "https://h/to/https://i/x"),
        row("https://h/to/https:/u:p@i/x", "https://h/to/https:/i/x"),
        row("https://[::1]/a", "https://[::1]/a"),
        row("https://[::1]:80/a", "https://[::1]:80/a"),
        row("https://u:pa?ss@h/x", "https://u"),
        row("https://h/a\nfamily\naccept: SECRET", "https://h/a"),
        row("https://h/a\u{85}SECRET", "https://h/a"),
        row("https://h/\u{202e}é", "https://h/\\u{202e}é"),
        row("plain key", "plain key"),
        row("", ""),
    ] {
        assert_eq!(Redacted::new(text).to_string(), shown, "{text:?}");
        assert_eq!(
            format!("{:?}", Redacted::new(text)),
            format!("Redacted({shown})")
        );
    }
}

#[test]
fn errors_are_shown_without_the_key_and_without_other_urls() {
    let key = "https://u:p@h/x?token=SECRET\naccept: SECRET";
    for (text, shown) in [
        (
            format!("can't put {key}"),
            "can't put https://h/x".to_owned(),
        ),
        (format!("{key}\n"), "https://h/x\\n".to_owned()),
        (
            "connect https://u:p@i/?q=SECRET\n failed".to_owned(),
            "connect https://i/\\n failed".to_owned(),
        ),
        ("\u{1b}[31mfull".to_owned(), "\\u{1b}[31mfull".to_owned()),
    ] {
        let error = std::io::Error::other(text);
        assert_eq!(RedactedError::new(&error, key).to_string(), shown);
    }
}

#[test]
fn an_errors_causes_are_shown_and_redacted() {
    #[derive(Debug)]
    struct Outer(&'static str, std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.1)
        }
    }
    let cause = || std::io::Error::other("no route to https://u:p@h/?q=SECRET");
    let error = Outer(
        "cannot open /x",
        std::io::Error::other(Outer("asked", cause())),
    );
    let shown = RedactedError::new(&error, "").to_string();
    assert_eq!(shown, "cannot open /x: asked: no route to https://h/");
    // An error that tells its cause itself.
    let error = Outer("failed: no route to https://u:p@h/?q=SECRET", cause());
    let shown = RedactedError::new(&error, "").to_string();
    assert_eq!(shown, "failed: no route to https://h/");
}
