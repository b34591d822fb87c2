//! Under which key, and for whom.

use discovery_core::key::Origin;
use discovery_core::store::MapStore;
use discovery_disk::record::{DiskStoreLayer, Mode};
use http::{Request, Uri};

use crate::tools::*;

#[test]
fn relative_uris_need_an_origin() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let relative = || Request::get("/api").body(()).unwrap();
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
            let request = Request::get("https://host:6443x/api").body(()).unwrap();
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

/// What one user may see is not for others, unless that is said.
#[test]
fn requests_with_credentials_take_no_part() {
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
