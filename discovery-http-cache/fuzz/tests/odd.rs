//! Inputs that no generator comes by: conflicting and absurd headers. None may lead to a panic, or to
//! a reuse that is not safe.

use discovery_core::store::{Op, Store, Value};
use discovery_http_cache_fuzz::{Ask, Reply};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

fn answer<'a>(headers: &[(&'static str, &str)]) -> Response<&'a str> {
    let mut response = Response::new("hello");
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        response.headers_mut().append(*name, value);
    }
    response
}

fn twice(ask: &Ask, answer: &Response<&str>) -> Reply {
    let first = ask.get(&HeaderMap::new(), answer);
    assert!(first.asked);
    assert_eq!(first.body, answer.body().as_bytes());
    ask.get(&HeaderMap::new(), answer)
}

/// Is asked again, and gets what the server sends.
fn is_not_reused(headers: &[(&'static str, &str)]) {
    let answer = answer(headers);
    for kubectl in [false, true] {
        let ask = Ask::new(|layer| if kubectl { layer.kubectl() } else { layer });
        let second = twice(&ask, &answer);
        assert!(second.asked, "{kubectl}: {headers:?}");
        assert_eq!(second.body, answer.body().as_bytes());
    }
}

#[test]
fn thousands_of_vary_fields() {
    let names: Vec<String> = (0..5000).map(|n| format!("x-{n}")).collect();
    is_not_reused(&[("cache-control", "max-age=60"), ("vary", &names.join(", "))]);
    // Each on a line of its own.
    let mut response = answer(&[("cache-control", "max-age=60")]);
    for name in &names {
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::try_from(name).unwrap());
    }
    assert!(twice(&Ask::new(|layer| layer), &response).asked);
    // The same one again and again is one.
    let same = vec!["accept"; 5000].join(",");
    let response = answer(&[("cache-control", "max-age=60"), ("vary", &same)]);
    let ask = Ask::new(|layer| layer);
    assert!(twice(&ask, &response).asked || ask.stored().len() == 1);
}

#[test]
fn a_megabyte_of_cache_control() {
    let long = "x".repeat(1 << 20);
    is_not_reused(&[("cache-control", &format!("{long}, no-store"))]);
    is_not_reused(&[("cache-control", &format!("max-age=60, no-cache, {long}"))]);
    is_not_reused(&[(
        "cache-control",
        &format!("max-age=60, x=\"{long}, no-store"),
    )]);
    is_not_reused(&[
        ("cache-control", &",".repeat(1 << 20)),
        ("cache-control", "no-store"),
    ]);
    is_not_reused(&[("cache-control", &"max-age=0,".repeat(100_000))]);
}

#[test]
fn thousands_of_headers() {
    let mut response = answer(&[("cache-control", "max-age=60")]);
    for n in 0..20_000 {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        response
            .headers_mut()
            .append(name, HeaderValue::from_static("1"));
    }
    let second = twice(&Ask::new(|layer| layer), &response);
    assert_eq!(second.body, b"hello");
}

#[test]
fn ages_and_lifetimes_that_overflow() {
    let most = u64::MAX.to_string();
    let more = "9".repeat(1000);
    for age in [&most, &more] {
        for max_age in ["60", &most, &more] {
            let cc = format!("max-age={max_age}");
            is_not_reused(&[("cache-control", &cc), ("age", age)]);
        }
        for date in [
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Sat, 21 Nov 2026 23:10:16 GMT",
        ] {
            let cc = format!("max-age={more}");
            is_not_reused(&[("cache-control", &cc), ("age", age), ("date", date)]);
        }
    }
}

/// A response that will have been sent in the year 9999 is not fresh until then.
#[test]
fn dates_far_ahead() {
    for date in [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Wed, 21 Nov 2126 23:10:00 GMT",
    ] {
        let response = answer(&[("cache-control", "max-age=60"), ("date", date)]);
        for kubectl in [false, true] {
            let ask = Ask::new(|layer| if kubectl { layer.kubectl() } else { layer });
            assert!(ask.get(&HeaderMap::new(), &response).asked);
            ask.wait(60);
            assert!(ask.get(&HeaderMap::new(), &response).asked, "{date}");
        }
    }
}

/// A header value can't have one, but what is stored can.
#[test]
fn a_nul_in_a_stored_etag() {
    assert!(HeaderValue::from_bytes(b"\"a\0b\"").is_err());
    let fresh =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nDate: Sat, 21 Nov 2026 23:10:00 GMT\r\n";
    for (line, reused) in [("Etag: \"ab\"\r\n", true), ("Etag: \"a\0b\"\r\n", false)] {
        let ask = Ask::new(|layer| layer);
        let value = Value::new("", format!("{fresh}{line}Content-Length: 5\r\n\r\nstale"));
        put(&ask, value);
        let reply = ask.get(&HeaderMap::new(), &answer(&[]));
        assert_eq!(!reply.asked, reused, "{line:?}");
    }
}

#[test]
fn another_program_s_bytes() {
    let ok =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nDate: Sat, 21 Nov 2026 23:10:00 GMT\r\n";
    let long = format!(
        "{ok}X: {}\r\nContent-Length: 5\r\n\r\nhello",
        "x".repeat(1 << 20)
    );
    for bytes in [
        String::new(),
        "\0".repeat(1000),
        "{\"kind\":\"APIGroupList\"}".to_owned(),
        ok.to_owned(),
        long,
        format!("{ok}Content-Length: 6\r\n\r\nhello"),
        format!("{ok}Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello"),
        format!("{ok}Content-Length: -5\r\n\r\nhello"),
        format!("{ok}Content-Length: 99999999999999999999\r\n\r\nhello"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        format!("{ok}X\0: y\r\n\r\n"),
        format!("{ok}Vary: *\r\nContent-Length: 5\r\n\r\nhello"),
        ok.replace("200 OK", "206 Partial Content") + "Content-Length: 5\r\n\r\nhello",
        ok.replace("200 OK", "304 Not Modified") + "\r\n",
        ok.replace("200 OK", "100 Continue") + "\r\n",
    ] {
        let ask = Ask::new(|layer| layer);
        put(&ask, Value::new("", bytes.clone()));
        let reply = ask.get(&HeaderMap::new(), &answer(&[]));
        assert!(reply.asked, "{}", &bytes[..bytes.len().min(200)]);
        assert_eq!(reply.body, b"hello");
    }
}

fn put(ask: &Ask, value: Value) {
    assert!(matches!(
        ask.store().put("https://h:6443/apis", value),
        Op::Ready(Ok(()))
    ));
}

#[test]
fn a_304_without_an_entry() {
    let mut response = answer(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = "";
    let ask = Ask::new(|layer| layer);
    let second = twice(&ask, &response);
    assert!(second.asked);
    assert_eq!(second.status, StatusCode::NOT_MODIFIED);
    assert_eq!(ask.stored().len(), 0);
}

#[test]
fn two_content_lengths() {
    is_not_reused(&[
        ("cache-control", "max-age=60"),
        ("content-length", "5"),
        ("content-length", "6"),
    ]);
    is_not_reused(&[("cache-control", "max-age=60"), ("content-length", "4")]);
    is_not_reused(&[("cache-control", "max-age=60"), ("content-length", "6")]);
    is_not_reused(&[("cache-control", "max-age=60"), ("content-length", "5, 6")]);
    is_not_reused(&[("cache-control", "max-age=60"), ("content-length", "-5")]);
}
