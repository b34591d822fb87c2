//! Documents and negotiation.

use embedded_apiserver::EmbeddedServer;

use super::client::{KUBECTL, V2, V2BETA1, accept, get, sha256};

/// Media types that kubectl of other times, and other clients, ask for.
const KUBECTL_1_32: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                            application/json;g=apidiscovery.k8s.io;v=v2beta1;\
                            as=APIGroupDiscoveryList,application/json";
const V9: &str = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Aggregated,
    Legacy,
    /// 406 of the negotiation.
    Refused,
    /// 406 of `/api`'s framework; the negotiation's on `/apis`.
    Unnamed,
}

#[tokio::test]
async fn negotiation_as_recorded() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    use Expect::{Aggregated, Legacy, Refused, Unnamed};
    for (asked, expect) in [
        ("", Legacy),
        ("*/*", Legacy),
        ("application/json", Legacy),
        ("application/json, */*", Legacy),
        (V2, Aggregated),
        (KUBECTL, Aggregated),
        (KUBECTL_1_32, Aggregated),
        (V2BETA1, Refused),
        (V9, Refused),
        (&format!("{V9},application/json"), Legacy),
        (&format!("{V2};profile=nopeer"), Aggregated),
        (&format!("application/json,{V2}"), Aggregated),
        (&format!("{V2};q=0.1,application/json"), Aggregated),
        ("application/cbor", Unnamed),
        ("text/html", Unnamed),
    ] {
        for path in ["/api", "/apis"] {
            let reply = accept(&server, path, asked).await;
            let got = (reply.status.as_u16(), reply.header("content-type"));
            let wanted = match expect {
                Aggregated => (200, V2.to_owned()),
                Legacy => (200, "application/json".to_owned()),
                Refused | Unnamed => (406, "application/json".to_owned()),
            };
            assert_eq!(got, wanted, "{path} {asked}");
            match expect {
                Aggregated => {
                    assert_eq!(reply.json()["apiVersion"], "apidiscovery.k8s.io/v2");
                    assert_eq!(reply.header("cache-control"), "public");
                    assert_eq!(reply.header("vary"), "Accept");
                    assert_eq!(reply.etag().len(), 130);
                }
                Legacy => {
                    assert_eq!(reply.header("cache-control"), "no-cache, private");
                    assert!(!reply.has("vary") && !reply.has("etag"), "{path} {asked}");
                }
                Refused => assert_eq!(reply.body.len(), 262, "{path} {asked}"),
                Unnamed => {
                    let length = if path == "/api" { 284 } else { 262 };
                    assert_eq!(reply.body.len(), length, "{path} {asked}");
                }
            }
            assert!(!reply.has("last-modified") && !reply.has("expires"));
            assert_eq!(reply.header("audit-id").len(), 36);
        }
    }
}

#[tokio::test]
async fn slash_forms() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    assert_eq!(
        accept(&server, "/api/", KUBECTL)
            .await
            .header("content-type"),
        V2
    );
    let legacy = accept(&server, "/apis/", KUBECTL).await;
    assert_eq!(legacy.header("content-type"), "application/json");
    assert_eq!(legacy.json()["kind"], "APIGroupList");
}

#[tokio::test]
async fn documents_are_those_of_a_real_server_to_the_byte() {
    let server = EmbeddedServer::builder().crds(300).start().await.unwrap();

    let api = get(&server, "/api", &[]).await;
    assert_eq!(
        api.text(),
        format!(
            "{{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":\
             [{{\"clientCIDR\":\"0.0.0.0/0\",\"serverAddress\":\"{}\"}}]}}\n",
            server.addr()
        )
    );
    let group = get(&server, "/apis/apps", &[]).await;
    assert_eq!(
        group.text(),
        "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",\"name\":\"apps\",\"versions\":\
         [{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":\
         {\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}\n"
    );
    let services = get(&server, "/apis/apiregistration.k8s.io/v1", &[]).await;
    assert_eq!(
        services.text(),
        "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\
         \"apiregistration.k8s.io/v1\",\"resources\":[{\"name\":\"apiservices\",\"singularName\":\
         \"apiservice\",\"namespaced\":false,\"kind\":\"APIService\",\"verbs\":[\"create\",\
         \"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\"update\",\"watch\"],\
         \"categories\":[\"api-extensions\"],\"storageVersionHash\":\"InPBPD7+PqM=\"},{\"name\":\
         \"apiservices/status\",\"singularName\":\"\",\"namespaced\":false,\"kind\":\
         \"APIService\",\"verbs\":[\"get\",\"patch\",\"update\"]}]}\n"
    );

    // SHA-256 of what the real server sent.
    for (path, asked, agent, length, sum) in [
        (
            "/api",
            KUBECTL,
            "",
            7052,
            "ccbec4f3cd03eb53e85fc793d1b529d3e6c3f4a14fc7144b25ed17d05b498309",
        ),
        (
            "/api",
            KUBECTL,
            "curl/8",
            19163,
            "40622fc2c3bb41bd5acf35697cb7c4da84515978476450b820d3daf382e8f61c",
        ),
        (
            "/api/v1",
            "",
            "",
            6488,
            "308e3caea9809ab7d1758ce0af1aeca288378ad3d97fe29cc0789369bae0bc98",
        ),
        (
            "/apis/apps/v1",
            "",
            "",
            2254,
            "a0bdfad68d502386768d1607e184d89315da6bfa946a65eb5280b9b84e15da2c",
        ),
        (
            "/apis/apiextensions.k8s.io/v1",
            "",
            "",
            561,
            "78031cfd4f9352b3281670836b9ba992e7e693cb5c1e167dd2cd46e52911d25c",
        ),
    ] {
        let reply = get(&server, path, &[("accept", asked), ("user-agent", agent)]).await;
        assert_eq!(
            (reply.body.len(), sha256(&reply.body).as_str()),
            (length, sum),
            "{path}"
        );
    }

    // The 60 custom groups, from the first one's brace to the end.
    let apis = accept(&server, "/apis", V2).await;
    let start = apis.text().find("{\"metadata\":{\"name\":\"g00.").unwrap();
    assert_eq!(apis.body.len() - start, 156_288);
    assert_eq!(
        sha256(&apis.body[start..]),
        "0af61762175fceb7051eaaee7e81eb05a411e996d61edf68394757b07034a37e"
    );
}

/// These sums are of documents that were found equal, as JSON, to those of a stock 1.36.
#[tokio::test]
async fn the_stock_groups() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let aggregated = accept(&server, "/apis", V2).await;
    assert_eq!(
        sha256(&aggregated.body),
        "6c858c412dfed79e2c78c984b8df7d05381cdd81c8f511126c4c967b9bad965f"
    );
    let legacy = get(&server, "/apis", &[]).await;
    assert_eq!(
        sha256(&legacy.body),
        "b1edde172c03c4cc80ae0d2b9c6ce81573c88fa143383bb6ac2c52ef17f72bad"
    );

    let (mut all, mut versions) = (Vec::new(), 0);
    let legacy = legacy.json();
    let groups = legacy["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 22);
    for group in groups {
        let path = format!("/apis/{}", group["name"].as_str().unwrap());
        all.extend_from_slice(&get(&server, &path, &[]).await.body);
        for version in group["versions"].as_array().unwrap() {
            let path = format!("/apis/{}", version["groupVersion"].as_str().unwrap());
            all.extend_from_slice(&get(&server, &path, &[]).await.body);
            versions += 1;
        }
    }
    assert_eq!(versions, 35);
    assert_eq!(
        sha256(&all),
        "8f685a24c93fd9420db5ab3834c0d8b84f8ba33cdf7896e6d538c2cb4f74d6d2"
    );
}

#[tokio::test]
async fn custom_resources_in_legacy_documents() {
    let server = EmbeddedServer::builder().crds(300).start().await.unwrap();
    let list = get(&server, "/apis/g00.example.test/v1", &[]).await;
    // The length of the recorded document, whose order was another.
    assert_eq!(list.body.len(), 2729);
    assert!(list.text().contains(
        "{\"name\":\"widget120s\",\"singularName\":\"widget120\",\"namespaced\":false,\"kind\":\
         \"Widget120\",\"verbs\":[\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\
         \"create\",\"update\",\"watch\"],\"shortNames\":[\"w120\"],\"categories\":[\"all\",\
         \"widgets\"],\"storageVersionHash\":\"tRFZEoUTrkA=\"},{\"name\":\"widget120s/status\",\
         \"singularName\":\"\",\"namespaced\":false,\"kind\":\"Widget120\",\"verbs\":[\"get\",\
         \"patch\",\"update\"]},{\"name\":\"widget120s/scale\",\"singularName\":\"\",\
         \"namespaced\":false,\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\",\
         \"verbs\":[\"get\",\"patch\",\"update\"]}"
    ));
    let group = get(&server, "/apis/g00.example.test", &[]).await;
    assert_eq!(group.body.len(), 268);

    let order = |reply: &super::client::Reply| {
        let resources = reply.json()["resources"].as_array().unwrap().clone();
        resources
            .iter()
            .map(|r| r["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut sorted = order(&list);
    sorted.sort();
    assert_ne!(order(&list), sorted);
    let again = EmbeddedServer::builder()
        .crds(300)
        .seed(7)
        .start()
        .await
        .unwrap();
    let again = get(&again, "/apis/g00.example.test/v1", &[]).await;
    assert_ne!(order(&again), order(&list));
    assert_eq!(again.body.len(), list.body.len());
}

#[tokio::test]
async fn many_groups() {
    let server = EmbeddedServer::builder()
        .custom_groups(2000)
        .start()
        .await
        .unwrap();
    let reply = accept(&server, "/apis", V2).await;
    let items = reply.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 22 + 2000);
    assert_eq!(items[22]["metadata"]["name"], "g0000.example.test");
    assert_eq!(items[2021]["metadata"]["name"], "g1999.example.test");
    let one = get(&server, "/apis/g1999.example.test/v1", &[]).await;
    assert_eq!(one.json()["resources"][0]["name"], "widget1999s");

    let server = EmbeddedServer::builder().crds(12).start().await.unwrap();
    let groups = get(&server, "/apis", &[]).await.json()["groups"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(groups, 22 + 3);
}

#[tokio::test]
async fn lengths_are_told_as_go_tells_them() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let short = get(&server, "/apis/apps", &[]).await;
    assert_eq!(short.header("content-length"), "168");
    let long = get(&server, "/apis/apps/v1", &[]).await;
    assert!(!long.has("content-length"));
    assert_eq!(long.header("transfer-encoding"), "chunked");
}

#[tokio::test]
async fn version() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let reply = get(&server, "/version", &[]).await;
    assert_eq!(reply.header("content-length"), "379");
    assert_eq!(reply.json()["gitVersion"], "v1.36.2");
    assert!(reply.text().starts_with("{\n  \"major\": \"1\",\n"));
}
