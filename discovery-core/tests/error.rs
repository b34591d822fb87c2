//! Failures, and the texts that kubectl 1.37.1 prints for the same answers.

use std::error::Error as _;

use bytes::Bytes;
use discovery_core::Error;
use discovery_core::kube::plan::ask;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::Full;

fn answer(code: u16, content_type: &str, body: &str) -> Response<Bytes> {
    let response = Response::builder()
        .status(code)
        .header(CONTENT_TYPE, content_type);
    response.body(body.to_owned().into()).unwrap()
}

fn object(code: u16, reason: &str, message: &str) -> Response<Bytes> {
    let body = format!(
        r#"{{"kind":"Status","status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    );
    answer(code, "application/json", &body)
}

#[test]
fn kubectls_texts() {
    const TEXT: &str = "text/plain; charset=utf-8";
    const JSON: &str = "application/json";
    for (answer, for_groups, for_lists) in [
        (object(403, "Forbidden", "not you"), "unknown", "not you"),
        (answer(403, TEXT, "nope nope\n"), "nope nope", "nope nope"),
        (
            object(401, "Unauthorized", "Unauthorized"),
            "the server has asked for the client to provide credentials",
            "Unauthorized",
        ),
        (
            object(503, "ServiceUnavailable", "foo bar"),
            "the server is currently unable to handle the request",
            "foo bar",
        ),
        (
            answer(503, TEXT, "plain"),
            "the server is currently unable to handle the request",
            "the server is currently unable to handle the request",
        ),
        (
            object(500, "InternalError", "boom"),
            r#"an error on the server ("unknown") has prevented the request from succeeding"#,
            "boom",
        ),
        (
            object(500, "Odd", "boom"),
            r#"an error on the server ("unknown") has prevented the request from succeeding"#,
            "boom",
        ),
        (
            answer(500, TEXT, ""),
            r#"an error on the server ("") has prevented the request from succeeding"#,
            r#"an error on the server ("") has prevented the request from succeeding"#,
        ),
        (
            answer(502, TEXT, " bad \n"),
            r#"an error on the server ("bad") has prevented the request from succeeding"#,
            r#"an error on the server ("bad") has prevented the request from succeeding"#,
        ),
        (
            object(404, "NotFound", "gone away"),
            "the server could not find the requested resource",
            "gone away",
        ),
        (
            answer(429, TEXT, "slow"),
            "the server has received too many requests and has asked us to try again later",
            "the server has received too many requests and has asked us to try again later",
        ),
        (answer(406, TEXT, "na"), "na", "na"),
        (
            answer(406, JSON, "na"),
            "the server was unable to respond with a content type that the client supports",
            "the server was unable to respond with a content type that the client supports",
        ),
        (
            answer(418, TEXT, "tea"),
            "the server responded with the status code 418 but did not return more information",
            "the server responded with the status code 418 but did not return more information",
        ),
        (
            answer(301, TEXT, "x"),
            "the server responded with the status code 301 but did not return more information",
            "the server responded with the status code 301 but did not return more information",
        ),
        (
            answer(405, JSON, "x"),
            "the server does not allow this method on the requested resource",
            "the server does not allow this method on the requested resource",
        ),
        (
            answer(409, JSON, "x"),
            "the server reported a conflict",
            "the server reported a conflict",
        ),
        (
            answer(422, JSON, "x"),
            "the server rejected our request due to an error in our request",
            "the server rejected our request due to an error in our request",
        ),
        (
            answer(504, JSON, "x"),
            "the server was unable to return a response in the time allotted, but may still be processing the request",
            "the server was unable to return a response in the time allotted, but may still be processing the request",
        ),
    ] {
        let groups = Error::groups_status("http://h/apis", &answer);
        let list = Error::status("http://h/apis/a/v1", &answer);
        assert_eq!(
            (groups.to_string().as_str(), list.to_string().as_str()),
            (for_groups, for_lists),
            "{answer:?}"
        );
        assert_eq!(
            (groups.url(), groups.code()),
            (Some("http://h/apis"), Some(answer.status()))
        );
        // The source has the cause that kubectl does not show for the groups.
        assert_eq!(groups.source().unwrap().to_string(), list.to_string());
        assert!(list.source().is_none());
    }
}

#[test]
fn reasons() {
    for (answer, reason, not_found, transient) in [
        (object(404, "NotFound", "x"), "NotFound", true, false),
        (answer(404, "text/plain", ""), "NotFound", true, false),
        // By the reason, where it is one of Kubernetes' own; then by the code.
        (object(404, "Odd", "x"), "Odd", true, false),
        (object(404, "Forbidden", "x"), "Forbidden", false, false),
        (object(410, "Gone", "x"), "Gone", false, false),
        (
            object(429, "TooManyRequests", "x"),
            "TooManyRequests",
            false,
            true,
        ),
        (answer(500, "text/plain", ""), "InternalError", false, true),
        (answer(418, "text/plain", ""), "", false, false),
        (
            answer(503, "application/json", r#"{"kind":"Status","reason":7}"#),
            "ServiceUnavailable",
            false,
            true,
        ),
        (
            answer(
                503,
                "application/json",
                r#"{"kind":"Pod","reason":"NotFound"}"#,
            ),
            "ServiceUnavailable",
            false,
            true,
        ),
        (
            answer(
                403,
                "application/json",
                r#"{"kind":"Status","reason":null,"message":null}"#,
            ),
            "Forbidden",
            false,
            false,
        ),
    ] {
        let failure = Error::status("u", &answer);
        assert_eq!(
            (
                failure.reason(),
                failure.is_not_found(),
                failure.is_transient()
            ),
            (Some(reason), not_found, transient),
            "{answer:?}"
        );
        assert!(!failure.is_transport() && !failure.is_stale() && !failure.is_empty_list());
    }
}

#[test]
fn long_and_broken_texts() {
    let long = answer(500, "text/plain", &"é".repeat(100_000));
    assert!(Error::status("u", &long).to_string().len() < 5000);
    let mut broken = answer(403, "text/plain", "");
    *broken.body_mut() = Bytes::from_static(b"no \xff way");
    assert_eq!(Error::status("u", &broken).to_string(), "no \u{fffd} way");
}

#[test]
fn other_failures() {
    let transport = Error::transport("http://h/apis", "refused");
    assert_eq!(transport.to_string(), "no answer from http://h/apis");
    assert_eq!(transport.source().unwrap().to_string(), "refused");
    assert!(transport.is_transport() && transport.is_transient() && transport.code().is_none());
    assert!(Error::cut_short("u", "x").is_transient());
    assert!(!Error::too_large("u", 3).is_transient());
    let stale = Error::stale("a/v1".parse().unwrap());
    assert!(stale.is_stale() && stale.url().is_none() && !stale.is_transient());
    let copy = transport.clone();
    assert_eq!(copy.to_string(), transport.to_string());
}

/// The URL in a message has no user-info, which is a secret.
#[tokio::test]
async fn urls_in_messages() {
    let service = |answer: Response<Bytes>| {
        tower::service_fn(move |_: Request<()>| {
            let answer = answer.clone().map(Full::new);
            async move { Ok::<_, std::io::Error>(answer) }
        })
    };
    let large = answer(200, "text/plain", "12345");
    for (uri, shown) in [
        (
            "https://user:pass@h:6443/version?timeout=32s",
            "https://h:6443/version?timeout=32s",
        ),
        ("http://h", "http://h/"),
        ("/version", "/version"),
    ] {
        let request = Request::get(uri).body(()).unwrap();
        let failure = ask(service(large.clone()), request, 4).await.unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("the answer from {shown} has more than 4 bytes")
        );
        let request = Request::get(uri).body(()).unwrap();
        let answer = ask(service(answer(404, "text/plain", "")), request, 4)
            .await
            .unwrap();
        assert_eq!(Error::answered(&answer, "elsewhere").url(), Some(shown));
    }
    let failing = tower::service_fn(|_: Request<()>| async {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("x"))
    });
    let request = Request::get("https://user:pass@h/apis").body(()).unwrap();
    let failure = ask(failing, request, 4).await.unwrap_err();
    assert!(failure.is_transport() && !format!("{failure} {failure:?}").contains("pass"));
}
