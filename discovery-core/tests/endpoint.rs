//! Request paths as endpoints.

use discovery_core::Endpoint;

fn resources(text: &str) -> Option<Endpoint> {
    Some(Endpoint::Resources(text.parse().unwrap()))
}

#[test]
fn paths() {
    let document = |text: &str| Some(Endpoint::OpenApiV3Document(text.into()));
    let table = [
        ("/api", Some(Endpoint::Api)),
        ("/apis", Some(Endpoint::Apis)),
        ("/apis/apps", Some(Endpoint::Group("apps".into()))),
        ("/apis/v1", Some(Endpoint::Group("v1".into()))),
        ("/api/v1", resources("v1")),
        ("/apis/apps/v1", resources("apps/v1")),
        ("/apis/a.b/v1beta1", resources("a.b/v1beta1")),
        ("/version", Some(Endpoint::Version)),
        ("/openapi/v2", Some(Endpoint::OpenApiV2)),
        ("/openapi/v3", Some(Endpoint::OpenApiV3)),
        ("/openapi/v3/api/v1", document("api/v1")),
        ("/openapi/v3/.well-known/x", document(".well-known/x")),
        // A slash at the end: servers answer differently, `/apis/` in legacy form only.
        ("/api/", None),
        ("/apis/", None),
        ("/apis/apps/", None),
        ("/api/v1/", None),
        ("/apis/apps/v1/", None),
        ("/version/", None),
        ("/openapi/v2/", None),
        ("/openapi/v3/", None),
        ("/openapi/v3/api/v1/", None),
        // Objects, and what is below them.
        ("/api/v1/pods", None),
        ("/api/v1/namespaces/x/secrets/y", None),
        ("/apis/apps/v1/deployments", None),
        ("/api/v1/pods/x/exec", None),
        ("/version/x", None),
        ("/openapi", None),
        ("/openapi/v4", None),
        ("/openapi/v2/x", None),
        // Another path to the server than to us.
        ("", None),
        ("/", None),
        ("//api", None),
        ("/api//v1", None),
        ("/apis//v1", None),
        ("/apis/apps//v1", None),
        ("/./api", None),
        ("/apis/..", None),
        ("/apis/../api/v1", None),
        ("/apis/apps/..", None),
        ("/apis/.../v1", None),
        ("/api/%76%31", None),
        ("/apis/apps%2fv1", None),
        ("/apis/%2e%2e/v1", None),
        ("/openapi/v3/../../api/v1/secrets", None),
        ("/openapi/v3/api/../v1", None),
        ("/openapi/v3//api", None),
        ("/openapi/v3/./api", None),
        ("/openapi/v3/.../api", None),
        (
            "/openapi/v3/%2e%2e/%2e%2e/api/v1/namespaces/x/secrets/y",
            None,
        ),
        ("/openapi/v3/..%2f..%2fapi", None),
        ("/openapi/v3/api;x/v1", None),
        ("/openapi/v3/api\\..\\v1", None),
        // Case counts, and so does the beginning.
        ("/API", None),
        ("/Apis", None),
        ("/apiserver", None),
        ("/healthz", None),
        ("/prefix/api", None),
        ("api", None),
        ("*", None),
    ];
    for (path, endpoint) in table {
        assert_eq!(Endpoint::parse(path, ""), endpoint, "{path}");
    }
    assert_eq!(
        Endpoint::parse(&format!("/api/{}", "v".repeat(254)), ""),
        None
    );
}

#[test]
fn under_a_base_path() {
    let base = "/k8s/clusters/c-1";
    for (path, endpoint) in [
        ("/k8s/clusters/c-1/api", Some(Endpoint::Api)),
        ("/k8s/clusters/c-1/apis/apps/v1", resources("apps/v1")),
        ("/k8s/clusters/c-1", None),
        ("/k8s/clusters/c-1/", None),
        ("/k8s/clusters/c-1//api", None),
        ("/k8s/clusters/c-10/api", None),
        ("/k8s/clusters/c-1api", None),
        ("/api", None),
        ("/K8s/clusters/c-1/api", None),
        // A base path that is another's beginning.
        ("/k8s/clusters/c-1/k8s/clusters/c-1/api", None),
    ] {
        assert_eq!(Endpoint::parse(path, base), endpoint, "{path}");
    }
    assert_eq!(Endpoint::parse("/api/api", "/api"), Some(Endpoint::Api));
    assert_eq!(Endpoint::parse("/api", "/api"), None);
}

#[test]
fn every_endpoint_has_its_path_back() {
    for path in [
        "/api",
        "/apis",
        "/apis/apps",
        "/api/v1",
        "/apis/apps/v1",
        "/version",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/apps/v1",
    ] {
        let endpoint = Endpoint::parse(path, "").unwrap();
        assert_eq!(endpoint.path(), path);
        assert_eq!(endpoint.is_discovery(), path.starts_with("/api"), "{path}");
    }
}
