//! The few objects there are.

use embedded_apiserver::{CONFIG_MAP_MARKER, CONFIG_MAPS, EmbeddedServer, SECRET_MARKER, SECRETS};
use http::StatusCode;

use super::client::{begin, frame, get, send, until};

#[tokio::test]
async fn secrets_and_config_maps_are_served() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    let secret = get(
        &server,
        &format!("/api/v1/namespaces/default/secrets/{}", SECRETS[0]),
        &[],
    )
    .await;
    assert_eq!(secret.json()["data"]["password"], SECRET_MARKER);
    assert_eq!(secret.header("cache-control"), "no-cache, private");
    let secrets = get(&server, "/api/v1/namespaces/default/secrets", &[]).await;
    assert_eq!(secrets.json()["kind"], "SecretList");
    assert_eq!(
        secrets.json()["items"].as_array().unwrap().len(),
        SECRETS.len()
    );
    let maps = get(&server, "/api/v1/configmaps", &[]).await;
    assert_eq!(
        maps.text().matches(CONFIG_MAP_MARKER).count(),
        CONFIG_MAPS.len()
    );
    assert!(!maps.text().contains(SECRET_MARKER));

    let missing = get(&server, "/api/v1/namespaces/default/secrets/nope", &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(
        missing.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"secrets \\\"nope\\\" not found\",\"reason\":\"NotFound\",\"details\":\
         {\"name\":\"nope\",\"kind\":\"secrets\"},\"code\":404}\n"
    );
    let empty = get(&server, "/apis/g00.example.test/v1/widget000s", &[]).await;
    assert_eq!(
        empty.text(),
        "{\"kind\":\"Widget000List\",\"apiVersion\":\"g00.example.test/v1\",\"metadata\":\
         {\"resourceVersion\":\"1000\"},\"items\":[]}\n"
    );
    assert_eq!(
        get(&server, "/api/v1/nopes", &[]).await.text(),
        "404 page not found\n"
    );
    let created = send(&server, "POST", "/api/v1/namespaces/default/secrets", &[])
        .await
        .unwrap();
    assert_eq!(created.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_watch_stays_open() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let path = "/api/v1/namespaces/default/configmaps?watch=true";
    let mut response = begin(server.addr(), "GET", path, &[]).await.unwrap();
    let events = String::from_utf8(frame(&mut response).await.to_vec()).unwrap();
    assert!(events.starts_with("{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\""));
    assert_eq!(events.lines().count(), CONFIG_MAPS.len());
    assert_eq!(server.counters().in_flight, 1);
    drop(response);
    until(&server.control(), |counters| counters.in_flight == 0).await;
}

#[tokio::test]
async fn a_watch_of_the_definitions_tells_of_changes() {
    let server = EmbeddedServer::builder().crds(1).start().await.unwrap();
    let control = server.control();
    let collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let list = get(&server, collection, &[]).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        list["items"][0]["metadata"]["name"],
        "widget000s.g00.example.test"
    );

    let path = format!("{collection}?watch=1");
    let mut definitions = begin(server.addr(), "GET", &path, &[]).await.unwrap();
    let path = "/apis/apiregistration.k8s.io/v1/apiservices?watch=1";
    let mut services = begin(server.addr(), "GET", path, &[]).await.unwrap();
    let first = frame(&mut definitions).await;
    assert!(
        first.starts_with(b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"CustomResourceDefinition\"")
    );
    let first = String::from_utf8(frame(&mut services).await.to_vec()).unwrap();
    assert!(first.contains("\"name\":\"v1.apps\""));
    assert!(first.contains("\"name\":\"v1.\""));

    let summary = |events: &[u8]| -> Vec<String> {
        let events = std::str::from_utf8(events).unwrap().lines();
        let events = events.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let told = |event: serde_json::Value| {
            let name = event["object"]["metadata"]["name"]
                .as_str()
                .unwrap()
                .to_owned();
            format!("{} {name}", event["type"].as_str().unwrap())
        };
        events.map(told).collect()
    };
    control.set_crds(2);
    assert_eq!(
        summary(&frame(&mut definitions).await),
        ["ADDED widget001s.g00.example.test"]
    );
    control.edit_group_version("g00.example.test/v1", |version| {
        version.resources[0].short_names.push("wi".into());
    });
    assert_eq!(
        summary(&frame(&mut definitions).await),
        ["MODIFIED widget000s.g00.example.test"]
    );
    control.remove_group("g00.example.test");
    let gone = [
        "DELETED widget000s.g00.example.test",
        "DELETED widget001s.g00.example.test",
    ];
    assert_eq!(summary(&frame(&mut definitions).await), gone);
    // The other collection has changed once: that the group has gone.
    let gone = [
        "DELETED v1.g00.example.test",
        "DELETED v1beta1.g00.example.test",
    ];
    assert_eq!(summary(&frame(&mut services).await), gone);

    control.end_watches();
    until(&control, |counters| counters.in_flight == 0).await;
}
