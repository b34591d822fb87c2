//! The typed client over a mocked server.

use std::convert::Infallible;

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_core::engine::{GroupsOnly, Refresh, WantParsed};
use discovery_core::testing::ScriptedService;
use discovery_core::{Accept, Error};
use http::header::ACCEPT;
use http::{Response, StatusCode};
use http_body_util::Full;

type Body = Full<Bytes>;
type Server = ScriptedService<Body, Infallible>;
type Client = DiscoveryClient<Server, Body>;

/// A server that answers these paths, and 404 for others.
fn server(answers: &[(&'static str, u16, &'static str)]) -> (Client, Server) {
    let server = Server::default();
    let response = |status: u16, body| {
        let response = Response::builder().status(status);
        response.body(Body::from(body)).unwrap()
    };
    for &(path, status, body) in answers {
        server.respond_at(path, move |_| response(status, body));
    }
    server.fallback(move |_| Ok(response(404, "")));
    (DiscoveryClient::new(server.clone()), server)
}

const CORE: (&str, u16, &str) = ("/api", 200, r#"{"kind":"APIVersions","versions":["v1"]}"#);
const NO_GROUPS: (&str, u16, &str) = ("/apis", 200, r#"{"kind":"APIGroupList","groups":[]}"#);
const V1: (&str, u16, &str) = (
    "/api/v1",
    200,
    r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[
        {"name":"nodes","kind":"Node","namespaced":false,"verbs":["get"]},
        {"name":"pods","kind":"Pod","namespaced":true,"verbs":["get"]},
        {"name":"pods/log","kind":"Pod","namespaced":true,"verbs":["get"]}]}"#,
);

fn uris(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let uris = requests.iter().map(|request| request.uri().to_string());
    uris.collect()
}

#[tokio::test]
async fn groups_ask_for_no_lists() {
    let (client, server) = server(&[CORE, NO_GROUPS, V1]);
    let groups = client.groups().await.unwrap();
    assert_eq!(groups.groups[0].versions()[0].group_version, "v1");
    assert_eq!(uris(&server), ["/api", "/apis"]);
    let asked = server.requests();
    assert_eq!(asked[0].headers()[ACCEPT], Accept::KUBECTL);
    for request in &asked {
        assert!(request.extensions().get::<WantParsed>().is_some());
        assert!(request.extensions().get::<GroupsOnly>().is_some());
    }
}

#[tokio::test]
async fn preferred_resources_can_be_limited_to_namespaced_ones() {
    let (client, _) = server(&[CORE, NO_GROUPS, V1]);
    let names = |preferred: discovery_client::Preferred| -> Vec<String> {
        preferred
            .resources
            .iter()
            .map(|one| one.name.to_string())
            .collect()
    };
    assert_eq!(
        names(client.preferred_resources().await.unwrap()),
        ["nodes", "pods"]
    );
    assert_eq!(
        names(client.preferred_namespaced_resources().await.unwrap()),
        ["pods"]
    );
}

#[tokio::test]
async fn what_failed_comes_with_what_was_found() {
    let groups = r#"{"kind":"APIGroupList","groups":[{"name":"g","versions":[
        {"groupVersion":"g/v1","version":"v1"}]}]}"#;
    let (client, server) = server(&[
        CORE,
        ("/apis", 200, groups),
        V1,
        ("/apis/g/v1", 503, "down"),
    ]);
    let mut seen = Vec::new();
    let discovered = client
        .discover_with(|progress| seen.push(progress))
        .await
        .unwrap();
    assert!(discovered.snapshot.resources("v1").is_some());
    for request in server.requests() {
        assert!(request.extensions().get::<GroupsOnly>().is_none());
    }
    let failed: Vec<_> = discovered
        .failed
        .iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    assert_eq!(
        failed,
        ["g/v1: the server is currently unable to handle the request"]
    );
    // The list in trouble was asked for twice.
    let last = seen.last().map(|last| (last.done, last.outstanding));
    assert_eq!(last, Some((5, 0)));
}

#[tokio::test]
async fn only_missing_lists_are_fetched() {
    let (client, server) = server(&[CORE, NO_GROUPS, V1]);
    let mut known = discovery_core::Snapshot::default();
    known.merge(&client.discover().await.unwrap().snapshot);
    server.take_requests();
    assert!(
        client
            .complete(&known)
            .await
            .unwrap()
            .snapshot
            .is_complete()
    );
    assert_eq!(uris(&server), [] as [String; 0]);
}

#[tokio::test]
async fn one_list_is_fetched_or_its_error_told() {
    let (client, server) = server(&[
        V1,
        (
            "/apis/g/v1",
            403,
            r#"{"kind":"Status","reason":"Forbidden","message":"no"}"#,
        ),
    ]);
    assert_eq!(
        client
            .resources(&"v1".parse().unwrap())
            .await
            .unwrap()
            .resources
            .len(),
        3
    );
    assert_eq!(server.requests()[0].headers()[ACCEPT], Accept::LEGACY);

    let failure: Error = client
        .resources(&"g/v1".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.to_string().as_str(), failure.reason()),
        ("no", Some("Forbidden"))
    );
    let missing = client
        .resources(&"g/v2".parse().unwrap())
        .await
        .unwrap_err();
    assert!(missing.is_not_found());
}

#[tokio::test]
async fn the_version_is_parsed_or_its_error_told() {
    let (client, _) = server(&[("/version", 200, r#"{"major":"1","gitVersion":"v1.36.2"}"#)]);
    assert_eq!(
        client.server_version().await.unwrap().git_version,
        "v1.36.2"
    );
    let (client, _) = server(&[("/version", 200, "<html>")]);
    let failure = client.server_version().await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the answer from /version is not a discovery document"
    );
    let (client, _) = server(&[("/version", 500, "broken")]);
    assert_eq!(
        client.server_version().await.unwrap_err().code(),
        Some(StatusCode::INTERNAL_SERVER_ERROR)
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error() {
    let (client, _) = server(&[CORE, NO_GROUPS]);
    let failure = client.max_body_size(10).groups().await.unwrap_err();
    assert!(
        failure.to_string().ends_with("has more than 10 bytes"),
        "{failure}"
    );
}

#[tokio::test]
async fn invalidation_goes_with_later_requests_and_is_shared() {
    let (client, server) = server(&[CORE, NO_GROUPS]);
    let refresh = |index: usize| {
        server.requests()[index]
            .extensions()
            .get::<Refresh>()
            .copied()
    };
    client.groups().await.unwrap();
    assert_eq!(refresh(0), None);
    client.clone().invalidate();
    client.groups().await.unwrap();
    client.groups().await.unwrap();
    assert!(refresh(2).is_some());
    assert_eq!(refresh(2), refresh(4));
    client.invalidate();
    client.groups().await.unwrap();
    assert!(refresh(6) > refresh(4));
}

#[tokio::test]
async fn what_is_served_can_be_asked() {
    let (client, _) = server(&[CORE, NO_GROUPS, V1]);
    let (v1, v2) = ("v1".parse().unwrap(), "v2".parse().unwrap());
    assert!(client.supports_version(&v1).await.unwrap());
    assert!(!client.supports_version(&v2).await.unwrap());
    let is_served = async |group_version: &discovery_core::GroupVersion, name| {
        client
            .is_served(&group_version.with_resource(name))
            .await
            .unwrap()
    };
    assert!(is_served(&v1, "pods").await);
    assert!(!is_served(&v1, "things").await);
    assert!(!is_served(&v2, "pods").await);
}

#[tokio::test]
async fn variants_ask_in_other_words() {
    let (client, server) = server(&[CORE, NO_GROUPS, V1]);
    for (client, accept) in [
        (client.clone().legacy_only(), Accept::LEGACY),
        (client.clone().no_peers(), Accept::NO_PEER),
        (client, Accept::KUBECTL),
    ] {
        assert!(client.discover().await.unwrap().snapshot.is_complete());
        let asked = server.take_requests();
        assert_eq!(asked[0].headers()[ACCEPT], accept);
        assert_eq!(asked[1].headers()[ACCEPT], accept);
    }
}

/// The document without the groups of peers is one of its own: it passes the caches.
#[tokio::test]
async fn the_groups_without_those_of_peers_are_no_others() {
    const NO_PEER: &str =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer";
    let peers = |request: &http::Request<()>| {
        let is_merged = request.headers()[ACCEPT] == Accept::KUBECTL;
        let content_type = if is_merged {
            discovery_core::Format::V2.content_type()
        } else {
            NO_PEER
        };
        let group = |name: &str| {
            format!(r#"{{"metadata":{{"name":"{name}"}},"versions":[{{"version":"v1"}}]}}"#)
        };
        let groups = match (request.uri().path(), is_merged) {
            ("/api", _) => String::new(),
            (_, true) => [group("own"), group("peers")].join(","),
            (_, false) => group("own"),
        };
        let body = format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{groups}]}}"#);
        let response = Response::builder().header("content-type", content_type);
        Ok(response.body(Body::from(body)).unwrap())
    };
    let server = Server::default();
    server.fallback(move |request| peers(request));
    let layer = discovery_memory::MemoryDiscoveryLayer::new();
    let client = DiscoveryClient::<_, Body>::new(tower::Layer::layer(&layer, server.clone()));
    let lone = client.clone().no_peers();
    for _ in 0..2 {
        assert_eq!(client.groups().await.unwrap().groups.len(), 2);
        assert_eq!(lone.groups().await.unwrap().groups.len(), 1);
    }
    // Two for the merged ones, which are kept, and two each time for the others.
    assert_eq!(server.request_count(), 6);
}

#[tokio::test]
async fn documents_tell_where_they_come_from() {
    let (bare, _) = server(&[CORE, NO_GROUPS, V1]);
    assert!(bare.discover().await.unwrap().origin.is_none());
    let (_, server) = server(&[CORE, NO_GROUPS, V1]);
    let layer = discovery_memory::MemoryDiscoveryLayer::new();
    let client = DiscoveryClient::<_, Body>::new(tower::Layer::layer(&layer, server));
    for hit in [false, true] {
        let origin = client.discover().await.unwrap().origin.unwrap();
        assert_eq!(
            (origin.cache, origin.hit, origin.last_good),
            ("memory", hit, false)
        );
    }
}

/// Documents are as old as their file, or as the server's answer, through whatever caches they come.
#[tokio::test]
async fn documents_tell_how_old_they_are() {
    use std::time::{Duration, SystemTime};

    let root = tempfile::tempdir().unwrap();
    let (_, server) = server(&[CORE, NO_GROUPS, V1]);
    let disk = || discovery_disk::DiskDiscoveryLayer::new(root.path());
    let memory = discovery_memory::MemoryDiscoveryLayer::new;
    // The clock of a file system may be a little behind.
    let before = SystemTime::now() - Duration::from_secs(1);
    let first = tower::Layer::layer(&disk(), server.clone());
    let first = DiscoveryClient::<_, Body>::new(tower::Layer::layer(&memory(), first));
    for _ in 0..2 {
        let found = first.discover().await.unwrap();
        assert!((before..=SystemTime::now()).contains(&found.since().unwrap()));
    }

    // Another process finds files, of which one is older than the other.
    let hour = Duration::from_secs(3600);
    for (file, hours) in [("servergroups.json", 1), ("v1/serverresources.json", 2)] {
        let file = std::fs::File::options()
            .write(true)
            .open(root.path().join(file))
            .unwrap();
        file.set_modified(before - hours * hour).unwrap();
    }
    let second = tower::Layer::layer(&disk(), server.clone());
    let second = DiscoveryClient::<_, Body>::new(tower::Layer::layer(&memory(), second));
    server.take_requests();
    for _ in 0..2 {
        let found = second.discover().await.unwrap();
        let groups = found.snapshot.groups().unwrap();
        let list = second.resources(&"v1".parse().unwrap()).await.unwrap();
        assert_eq!(groups.since(), Some(before - hour));
        assert_eq!(list.since(), Some(before - 2 * hour));
        assert_eq!((groups.cache(), list.cache()), (Some("disk"), Some("disk")));
        assert_eq!(found.since(), list.since());
    }
    assert_eq!(server.request_count(), 0);
    second.invalidate();
    assert!(second.discover().await.unwrap().since() >= Some(before));
}

/// Where the server gives no answer, what was known before an invalidation or before it expired.
#[tokio::test]
async fn the_last_good_documents_are_told_if_that_is_wanted() {
    use std::time::{Duration, SystemTime};

    use discovery_core::sync::clock::ManualClock;
    use discovery_memory::MemoryDiscoveryLayer;

    for keeps in [true, false] {
        for expires in [true, false] {
            let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
            let layer = MemoryDiscoveryLayer::new().ttl(Duration::from_secs(60));
            let layer = layer.clock(clock.clone()).keep_last_good(keeps);
            let (_, server) = server(&[CORE, NO_GROUPS, V1]);
            let client =
                DiscoveryClient::<_, Body>::new(tower::Layer::layer(&layer, server.clone()));
            assert!(client.discover().await.unwrap().snapshot.is_complete());
            for path in ["/api", "/apis", "/api/v1"] {
                server.respond_at(path, |_| discovery_core::testing::fixtures::status(503));
            }
            for _ in 0..2 {
                if expires {
                    clock.advance(Duration::from_secs(61));
                } else {
                    client.invalidate();
                }
                match client.discover().await {
                    Ok(found) => {
                        assert!(keeps && found.origin.unwrap().last_good);
                        assert!(found.snapshot.is_complete() && found.failed.is_empty());
                    }
                    Err(error) => assert!(!keeps && error.is_transient()),
                }
            }
            // The server's own answers count as soon as there are any.
            server.respond_at("/api", |_| {
                discovery_core::testing::fixtures::document(
                    discovery_core::Format::Legacy,
                    r#"{"kind":"APIVersions","versions":[]}"#,
                )
            });
            server.respond_at("/apis", |_| {
                discovery_core::testing::fixtures::document(
                    discovery_core::Format::Legacy,
                    r#"{"kind":"APIGroupList","groups":[]}"#,
                )
            });
            let found = client.discover().await.unwrap();
            assert!(!found.origin.unwrap().last_good);
            assert_eq!(found.snapshot.group_versions().len(), 0);
        }
    }
}
