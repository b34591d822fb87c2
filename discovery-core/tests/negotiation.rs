//! The formats that a request accepts and a response has, checked against a kube-apiserver 1.36.

use discovery_core::{Accept, Format};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// The formats that these `Accept` lines allow.
fn accepted(lines: &[&str]) -> Vec<Format> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(ACCEPT, line.parse().unwrap());
    }
    let accept = Accept::from_headers(&headers);
    assert_eq!(accept.allows_aggregated(), accept.aggregated().is_some());
    let formats = [Format::Legacy, Format::V2Beta1, Format::V2];
    let allowed = formats.into_iter().filter(|format| accept.allows(*format));
    allowed.collect()
}

const LEGACY: &[Format] = &[Format::Legacy];
const NOTHING: &[Format] = &[];

#[test]
fn a_request_accepts_the_formats_that_it_names() {
    let v9 = V2.replace("v=v2", "v=v9");
    let proto = V2.replace("json", "vnd.kubernetes.protobuf");
    let list = |parts: &[&str]| parts.join(",");
    for (line, expected) in [
        // The server answered these in legacy form,
        ("application/json".to_owned(), LEGACY),
        (String::new(), LEGACY),
        (list(&[&v9, "application/json"]), LEGACY),
        (Accept::LEGACY.into(), LEGACY),
        ("*/*".into(), LEGACY),
        ("application/*".into(), LEGACY),
        ("text/html, */*;q=0.8".into(), LEGACY),
        // these in aggregated form, without regard to order and quality,
        (V2.into(), &[Format::V2]),
        (Accept::KUBECTL.into(), &[Format::Legacy, Format::V2]),
        (
            list(&["application/json", V2]),
            &[Format::Legacy, Format::V2],
        ),
        (
            format!("{V2};q=0.1,application/json"),
            &[Format::Legacy, Format::V2],
        ),
        (
            Accept::WITH_V2BETA1.into(),
            &[Format::Legacy, Format::V2Beta1, Format::V2],
        ),
        // and these with 406, or in forms that are no JSON.
        (V2BETA1.into(), &[Format::V2Beta1]),
        (v9, NOTHING),
        (proto, NOTHING),
        ("application/vnd.kubernetes.protobuf".into(), NOTHING),
        ("application/yaml".into(), NOTHING),
        ("application/cbor".into(), NOTHING),
        ("text/html".into(), NOTHING),
        // Some other representation that happens to be JSON.
        (
            "application/json;as=Table;g=meta.k8s.io;v=v1".into(),
            NOTHING,
        ),
        (
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
                .into(),
            LEGACY,
        ),
        // Case, spaces, quotes, stray commas.
        (" Application/JSON ; charset=utf-8 ".into(), LEGACY),
        (
            r#"application/json; AS="APIGroupDiscoveryList"; V=v2; G=apidiscovery.k8s.io"#.into(),
            &[Format::V2],
        ),
        (",,application/json,".into(), LEGACY),
        (V2.replace("as=", "as=x"), NOTHING),
        (V2.to_ascii_lowercase(), NOTHING),
    ] {
        assert_eq!(accepted(&[&line]), expected, "{line}");
    }
    assert_eq!(accepted(&[]), LEGACY, "no Accept");
    assert_eq!(
        accepted(&[V2, "application/json"]),
        &[Format::Legacy, Format::V2],
        "two lines"
    );
    assert_eq!(
        accepted(&["text/html", V2BETA1]),
        &[Format::V2Beta1],
        "two lines"
    );
}

#[test]
fn a_parameter_that_changes_the_meaning_asks_for_more_than_the_formats() {
    struct Case {
        accept: String,
        asks_for_more: bool,
    }
    let more = |accept: String| Case {
        accept,
        asks_for_more: true,
    };
    let known = |accept: &str| Case {
        accept: accept.into(),
        asks_for_more: false,
    };
    for case in [
        // kube-apiserver 1.36 leaves out the groups of its peers.
        more(format!("{V2};profile=nopeer")),
        more(format!("{V2};Profile=nopeer,application/json")),
        more(format!("{V2};profile=\"no,peer\"")),
        more(format!("application/json, {V2BETA1};profile=unknown")),
        more("application/json;profile=nopeer".into()),
        more("application/json;stream=watch".into()),
        more("*/*;profile=nopeer".into()),
        more("application/json;charset=latin1".into()),
        known(V2),
        known(Accept::KUBECTL),
        known(Accept::WITH_V2BETA1),
        known(Accept::LEGACY),
        known("application/json;charset=UTF-8;q=0.5"),
        known("text/html;level=1, application/json"),
        known("application/json;as=Table;g=meta.k8s.io;v=v1, application/json"),
    ] {
        let accept = Accept::parse(&case.accept.parse().unwrap());
        assert_eq!(
            accept.asks_for_more(),
            case.asks_for_more,
            "{}",
            case.accept
        );
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "application/json".parse().unwrap());
        headers.append(ACCEPT, case.accept.parse().unwrap());
        let accept = Accept::from_headers(&headers);
        assert_eq!(accept.asks_for_more(), case.asks_for_more, "on two lines");
    }
}

#[test]
fn a_response_with_a_profile_has_no_format() {
    for content_type in [
        format!("{V2};profile=nopeer"),
        format!("{V2};unknown=1"),
        format!("{V2BETA1};PROFILE=nopeer"),
        "application/json;profile=nopeer".to_owned(),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(Format::from_headers(&headers), None, "{content_type}");
    }
    // Legacy answers of any server keep counting.
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "application/json; odata=x".parse().unwrap());
    assert_eq!(Format::from_headers(&headers), Some(Format::Legacy));
}

#[test]
fn an_accept_that_is_no_text_allows_nothing() {
    let mut headers = HeaderMap::new();
    headers.insert(
        ACCEPT,
        http::HeaderValue::from_bytes(b"application/json\xff").unwrap(),
    );
    assert!(!Accept::from_headers(&headers).allows(Format::Legacy));
}

#[test]
fn the_best_aggregated_format_is_the_most_recent_one() {
    let best = |text: &str| Accept::parse(&text.parse().unwrap()).aggregated();
    assert_eq!(best(Accept::WITH_V2BETA1), Some(Format::V2));
    assert_eq!(best(&format!("{V2BETA1},{V2}")), Some(Format::V2));
    assert_eq!(best(V2BETA1), Some(Format::V2Beta1));
    assert_eq!(best("*/*"), None);
}

#[test]
fn a_response_has_the_format_that_its_content_type_names() {
    let v2 = |more: &str| format!("{V2}{more}");
    for (content_type, format) in [
        (V2.to_owned(), Format::V2),
        (V2BETA1.into(), Format::V2Beta1),
        ("application/json".into(), Format::Legacy),
        (
            r#"Application/JSON; AS=APIGroupDiscoveryList; v="v2"; G=apidiscovery.k8s.io"#.into(),
            Format::V2,
        ),
        (v2(";charset=utf-8"), Format::V2),
        (v2(";"), Format::V2),
        // kubectl takes a repeat, and refuses a contradiction.
        (v2(";v=v2"), Format::V2),
        (v2(";v=v2beta1"), Format::Legacy),
        (v2(";G=x"), Format::Legacy),
        (V2.replace("v=v2", "v=v3"), Format::Legacy),
        (V2.replace("v=v2;", ""), Format::Legacy),
        (
            V2.replace("json", "vnd.kubernetes.protobuf"),
            Format::Legacy,
        ),
        (V2.replace("APIGroup", "apigroup"), Format::Legacy),
        ("text/plain; charset=utf-8".into(), Format::Legacy),
        (String::new(), Format::Legacy),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(
            Format::from_headers(&headers),
            Some(format),
            "{content_type}"
        );
    }
    assert_eq!(
        Format::from_headers(&HeaderMap::new()),
        Some(Format::Legacy)
    );
}

#[test]
fn every_form_says_what_it_is() {
    for format in [Format::Legacy, Format::V2Beta1, Format::V2] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, format.content_type().parse().unwrap());
        assert_eq!(Format::from_headers(&headers), Some(format));
        assert!(Accept::parse(&format.content_type().parse().unwrap()).allows(format));
        assert_eq!(format.is_aggregated(), format != Format::Legacy);
    }
    assert_eq!(Format::V2.api_version(), "apidiscovery.k8s.io/v2");
    assert_eq!(Format::V2Beta1.api_version(), "apidiscovery.k8s.io/v2beta1");
}

#[test]
fn what_kubectl_sends() {
    assert_eq!(Accept::KUBECTL, format!("{V2},application/json"));
    assert_eq!(
        Accept::WITH_V2BETA1,
        format!("{V2},{V2BETA1},application/json")
    );
    assert_eq!(Accept::LEGACY, "application/json, */*");
}
