//! Under which key, and for whom.

use bytes::Bytes;
use discovery_core::http::uri::Origin;
use discovery_core::store::MapStore;
use discovery_disk::record::{DiskStoreLayer, Mode};
use http::{Request, StatusCode, Uri};
use http_body_util::{Empty, Full};

use crate::tools::*;

#[test]
fn relative_uris_need_an_origin() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let relative = || Request::get("/api").body(Empty::<Bytes>::new()).unwrap();
    for _ in 0..2 {
        let (response, asked) = send(&layer, relative(), || full("one of many servers"));
        assert_eq!((asked, text(response).as_str()), (1, "one of many servers"));
    }
    assert!(store.is_empty());

    let origin = Origin::from_uri(&Uri::from_static("https://host:6443")).unwrap();
    let layer = layer.origin(origin);
    text(send(&layer, relative(), || full("this server")).0);
    let (response, asked) = send(&layer, get("/api"), || full("never"));
    assert_eq!((asked, text(response).as_str()), (0, "this server"));
}

#[test]
fn a_request_to_an_invalid_port_is_not_recorded() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let chosen = layer
        .clone()
        .key(|request| request.uri.host().map(Into::into));
    for layer in [layer, chosen] {
        for _ in 0..2 {
            let request = Request::get("https://host:6443x/api")
                .body(Empty::<Bytes>::new())
                .unwrap();
            let (response, asked) = send(&layer, request, || full("who knows whose"));
            assert_eq!((asked, text(response).as_str()), (1, "who knows whose"));
        }
    }
    assert!(store.is_empty());
}

#[test]
fn keys_can_be_chosen() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone()).key(|request| {
        let accept = request.headers.get("accept")?.to_str().ok()?;
        Some(format!("{accept} {}", request.uri.path()))
    });
    let accepting = |accept: &str| {
        let mut request = get("/api");
        request
            .headers_mut()
            .insert("accept", accept.parse().unwrap());
        request
    };
    text(send(&layer, accepting("json"), || full("{}")).0);
    text(send(&layer, accepting("yaml"), || full("---")).0);
    assert_eq!(store.all_keys(), ["json /api", "yaml /api"]);
    let (response, asked) = send(&layer, accepting("json"), || full("never"));
    assert_eq!((asked, text(response).as_str()), (0, "{}"));
    let (_, asked) = send(&layer, get("/api"), || full("no key"));
    assert_eq!(asked, 1);
}

/// One user may see more than others, who are not answered with it unless that is allowed.
#[test]
fn requests_with_credentials_take_no_part_unless_allowed() {
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("cookie", "session=1"),
        ("proxy-authorization", "Basic Og=="),
        ("impersonate-user", "jane"),
        ("impersonate-extra-scopes", "all"),
    ] {
        let store = MapStore::new();
        let layer = DiskStoreLayer::new(store.clone());
        let request = || {
            let mut request = get("/");
            request.headers_mut().insert(name, value.parse().unwrap());
            request
        };
        for mode in [Mode::ReadThrough, Mode::Record] {
            let (response, asked) = send(&layer.clone().mode(mode), request(), || full("mine"));
            assert_eq!((asked, text(response).as_str()), (1, "mine"));
            assert!(store.is_empty(), "{name}");
        }
        // Nor are they answered with what others got, but where nobody else answers.
        text(send(&layer, get("/"), || full("everybody's")).0);
        let (response, asked) = send(&layer, request(), || full("mine"));
        assert_eq!((asked, text(response).as_str()), (1, "mine"));
        let replay = layer.clone().mode(Mode::Replay);
        let (response, asked) = send(&replay, request(), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, "everybody's"));

        let allowed = layer.credentials(true).mode(Mode::Record);
        text(send(&allowed, request(), || full("mine")).0);
        assert!(stored(&store, "/").unwrap().ends_with("mine"), "{name}");
    }
}

/// Two bodies under one URL must not get each other's answer.
#[test]
fn a_get_with_content_is_passed_on_and_not_recorded() {
    struct Row {
        field: Option<(&'static str, &'static str)>,
        content: &'static str,
    }
    let announced = |name, value| Row {
        field: Some((name, value)),
        content: "",
    };
    let unannounced = Row {
        field: None,
        content: "query",
    };
    for Row { field, content } in [
        unannounced,
        announced("content-length", "5"),
        announced("content-length", "x"),
        announced("transfer-encoding", "chunked"),
    ] {
        let store = MapStore::new();
        let layer = DiskStoreLayer::new(store.clone());
        let request = || {
            let mut request = Request::get("https://host:6443/")
                .body(Full::<Bytes>::from(content))
                .unwrap();
            if let Some((name, value)) = field {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        for mode in [Mode::ReadThrough, Mode::Record] {
            let (response, asked) = send(&layer.clone().mode(mode), request(), || full("own"));
            assert_eq!((asked, text(response).as_str()), (1, "own"), "{field:?}");
            assert!(store.is_empty(), "{field:?}");
        }
        text(send(&layer, get("/"), || full("another")).0);
        let (response, asked) = send(&layer, request(), || full("own"));
        assert_eq!((asked, text(response).as_str()), (1, "own"), "{field:?}");
        let replay = layer.mode(Mode::Replay);
        let (response, asked) = send(&replay, request(), || full("never"));
        assert_eq!((asked, response.status()), (0, StatusCode::GATEWAY_TIMEOUT));
    }
}

#[test]
fn a_content_length_of_zero_is_no_content() {
    let layer = DiskStoreLayer::new(MapStore::new());
    for asked in [1, 0] {
        let mut request = get("/");
        request.headers_mut().insert("content-length", 0.into());
        let (response, times) = send(&layer, request, || full("answer"));
        assert_eq!((times, text(response).as_str()), (asked, "answer"));
    }
}

#[test]
fn a_request_whose_host_differs_from_its_uri_is_passed_on_and_not_recorded() {
    struct Row {
        uri: &'static str,
        hosts: &'static [&'static str],
        takes_part: bool,
    }
    let row = |uri, hosts, takes_part| Row {
        uri,
        hosts,
        takes_part,
    };
    let absolute = "https://host:6443/";
    for Row {
        uri,
        hosts,
        takes_part,
    } in [
        row(absolute, &[], true),
        row(absolute, &["HOST:6443"], true),
        row(absolute, &["host"], false),
        row(absolute, &["other:6443"], false),
        row(absolute, &[""], false),
        row(absolute, &["host:6443", "host:6443"], false),
        row(absolute, &["user@host:6443"], false),
        row("/", &["host:6443"], true),
        row("/", &["other"], false),
    ] {
        let store = MapStore::new();
        let origin = Origin::from_uri(&Uri::from_static("https://host:6443")).unwrap();
        let layer = DiskStoreLayer::new(store.clone()).origin(origin);
        let mut request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        for host in hosts {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        let (response, asked) = send(&layer, request, || full("answer"));
        assert_eq!((asked, text(response).as_str()), (1, "answer"));
        assert_eq!(store.is_empty(), !takes_part, "{uri} {hosts:?}");
    }
}

/// kubectl takes empty segments out of a path before it sends the request, and this layer does not: another document may
/// be there.
#[test]
fn a_path_with_empty_segments_is_passed_on_and_not_recorded() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    for path in ["/a//b", "//a/b", "/a/b//"] {
        let (response, asked) = send(&layer, get(path), || full("empty segments"));
        assert_eq!((text(response).as_str(), asked), ("empty segments", 1));
    }
    let (response, asked) = send(&layer, get("/a/b"), || full("none"));
    assert_eq!((text(response).as_str(), asked), ("none", 1));
    assert_eq!(store.all_keys(), [key("/a/b")]);
    let (response, asked) = send(&layer, get("/a//b"), || full("empty segments"));
    assert_eq!((text(response).as_str(), asked), ("empty segments", 1));
    let (response, asked) = send(&layer.mode(Mode::Replay), get("/a//b"), || full("none"));
    assert_eq!((response.status().as_u16(), asked), (504, 0));
}
