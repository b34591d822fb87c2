//! Groups and resources that change while the server runs.

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};
use http::StatusCode;

use super::client::{KUBECTL, V2, accept, get};

fn rockets() -> Group {
    Group::new("acme.test").version(
        Version::new("v1").resource(
            Resource::new("rockets", "Rocket")
                .short_names(["rk"])
                .categories(["toys"])
                .with_scale(),
        ),
    )
}

#[tokio::test]
async fn groups_appear_and_vanish() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let stock = accept(&server, "/apis", V2).await.etag();
    control.set_group(rockets());
    let apis = accept(&server, "/apis", V2).await;
    assert!(apis.text().ends_with(
        ",{\"metadata\":{\"name\":\"acme.test\"},\"versions\":[{\"version\":\"v1\",\"resources\":\
         [{\"resource\":\"rockets\",\"responseKind\":{\"group\":\"acme.test\",\"version\":\"v1\",\
         \"kind\":\"Rocket\"},\"scope\":\"Namespaced\",\"singularResource\":\"rocket\",\"verbs\":\
         [\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\"create\",\"update\",\
         \"watch\"],\"shortNames\":[\"rk\"],\"categories\":[\"toys\"],\"subresources\":\
         [{\"subresource\":\"scale\",\"responseKind\":{\"group\":\"autoscaling\",\"version\":\
         \"v1\",\"kind\":\"Scale\"},\"verbs\":[\"get\",\"patch\",\"update\"]}]}],\
         \"freshness\":\"Current\"}]}]}\n"
    ));
    assert_eq!(
        get(&server, "/apis/acme.test/v1", &[]).await.status,
        StatusCode::OK
    );

    assert!(control.edit_group_version("acme.test/v1", |version| version.resources.clear()));
    let apis = accept(&server, "/apis", V2).await;
    assert!(apis.text().ends_with(
        ",{\"metadata\":{\"name\":\"acme.test\"},\"versions\":[{\"version\":\"v1\",\
         \"freshness\":\"Current\"}]}]}\n"
    ));
    let list = get(&server, "/apis/acme.test/v1", &[]).await;
    assert!(
        list.text()
            .ends_with("\"groupVersion\":\"acme.test/v1\",\"resources\":[]}\n")
    );

    assert!(control.remove_group("acme.test") && !control.remove_group("acme.test"));
    assert_eq!(
        get(&server, "/apis/acme.test/v1", &[]).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(accept(&server, "/apis", V2).await.etag(), stock);
}

#[tokio::test]
async fn a_change_may_look_at_the_rest() {
    let server = EmbeddedServer::builder()
        .group(rockets())
        .start()
        .await
        .unwrap();
    let control = server.control();
    let changed = control.edit_group_version("acme.test/v1", |version| {
        let groups = control.groups();
        let apps = groups.iter().find(|group| group.name == "apps").unwrap();
        version.resources.clone_from(&apps.versions[0].resources);
    });
    assert!(changed);
    let list = get(&server, "/apis/acme.test/v1", &[]).await;
    assert!(list.text().contains("\"deployments\""));
}

#[tokio::test]
async fn stale_versions() {
    let server = EmbeddedServer::builder()
        .group(rockets())
        .start()
        .await
        .unwrap();
    let control = server.control();
    assert!(control.set_stale("acme.test/v1", true) && !control.set_stale("acme.test/v2", true));
    let apis = accept(&server, "/apis", V2).await;
    assert!(apis.text().contains(
        "{\"metadata\":{\"name\":\"acme.test\"},\"versions\":[{\"version\":\"v1\",\
         \"freshness\":\"Stale\"}]}"
    ));
    // Legacy discovery lists it all the same.
    let legacy = get(&server, "/apis", &[]).await;
    assert!(
        legacy
            .text()
            .contains("{\"groupVersion\":\"acme.test/v1\",\"version\":\"v1\"}")
    );
    assert_eq!(
        get(&server, "/apis/acme.test", &[]).await.status,
        StatusCode::OK
    );
    for path in ["/apis/acme.test/v1", "/apis/acme.test/v1/rockets"] {
        let list = accept(&server, path, KUBECTL).await;
        assert_eq!(list.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(list.text(), "service unavailable\n");
        assert_eq!(list.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(list.header("content-length"), "20");
    }
    let openapi = get(&server, "/openapi/v3/apis/acme.test/v1", &[]).await;
    assert_eq!(openapi.status, StatusCode::NOT_FOUND);

    control.set_stale("acme.test/v1", false);
    assert_eq!(
        get(&server, "/apis/acme.test/v1", &[]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn names_that_nobody_should_trust() {
    let group =
        Group::new("../../etc").version(Version::new("v1").resource(Resource::new("a\0b", "<K>")));
    let server = EmbeddedServer::builder()
        .group(group)
        .start()
        .await
        .unwrap();
    let apis = accept(&server, "/apis", V2).await;
    assert!(apis.text().contains("\"resource\":\"a\\u0000b\""));
    assert!(apis.text().contains("\"kind\":\"\\u003cK\\u003e\""));
    let items = apis.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.last().unwrap()["metadata"]["name"], "../../etc");
}

#[tokio::test]
async fn a_group_listed_twice_and_a_bare_server() {
    let server = EmbeddedServer::builder()
        .bare()
        .group(rockets())
        .group(rockets())
        .start()
        .await
        .unwrap();
    let apis = accept(&server, "/apis", V2).await;
    assert_eq!(apis.json()["items"].as_array().unwrap().len(), 2);
    let api = accept(&server, "/api", V2).await;
    assert_eq!(api.json()["items"], serde_json::json!([]));
    let legacy = get(&server, "/api", &[]).await;
    assert_eq!(legacy.json()["versions"], serde_json::json!([]));
}
