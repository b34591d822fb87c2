//! Stale versions, empty ones, and groups that have nothing else.

use bytes::Bytes;
use discovery_client::{DiscoveryClient, request_defaults::RequestDefaultsLayer};
use embedded_apiserver::{Canned, EmbeddedServer, Fault, Group, Resource, Version};
use http::StatusCode;
use http_body_util::Full;
use tower_layer::Layer;

use super::rig::{EVERY, Order, Rig, Wire, failed, transport};

fn acme(versions: impl IntoIterator<Item = Version>) -> Group {
    versions
        .into_iter()
        .fold(Group::new("acme.test"), Group::version)
}

fn full(name: &str) -> Version {
    Version::new(name).resource(Resource::new("anvils", "Anvil"))
}

#[tokio::test]
async fn a_stale_version() {
    for (wire, order) in EVERY {
        let server = EmbeddedServer::builder().group(acme([full("v2").stale(), full("v1")]));
        let rig = Rig::new(wire, order, server).await;
        let program = rig.program();
        // As from kubectl's stack: nobody is told, because a file could not tell it either.
        let found = program.discover().await;
        assert!(found.failed.is_empty(), "{:?}", found.failed);
        let groups = found.snapshot.groups().expect("groups");
        let group = groups.groups.iter().find(|group| group.name == "acme.test");
        let group = group.expect("the group is there");
        assert_eq!(group.preferred_version.group_version, "acme.test/v1");
        assert_eq!(group.versions().len(), 1);
        assert!(
            !rig.files()
                .files
                .contains_key("acme.test/v2/serverresources.json")
        );
        assert_eq!(rig.taken().len(), 2);

        rig.program().run().await;
        assert_eq!(rig.taken().len(), 0);
    }
}

#[tokio::test]
async fn a_stale_version_without_files() {
    let server = EmbeddedServer::builder().group(acme([full("v2").stale(), full("v1")]));
    let rig = Rig::plain(server).await;
    let address: http::Uri = rig.server.url().parse().expect("a URL");
    let service = RequestDefaultsLayer::new(&address).layer(transport(&rig.server));
    let client: DiscoveryClient<_, Full<Bytes>> = DiscoveryClient::new(service);
    let found = client.discover().await.expect("the groups");
    assert_eq!(failed(&found), ["acme.test/v2"]);
    let failure = &found.failed["acme.test/v2"];
    assert!(failure.is_stale());
    assert_eq!(
        failure.to_string(),
        "stale GroupVersion discovery: acme.test/v2"
    );
}

#[tokio::test]
async fn a_group_whose_versions_are_all_stale() {
    for (wire, order) in EVERY {
        let server =
            EmbeddedServer::builder().group(acme([full("v2").stale(), full("v1").stale()]));
        let rig = Rig::new(wire, order, server).await;
        let found = rig.program().discover().await;
        assert!(found.failed.is_empty() && found.snapshot.is_complete());
        let servergroups =
            String::from_utf8(rig.files().file("servergroups.json").bytes.clone()).expect("text");
        let empty = r#"{"name":"acme.test","versions":null,"preferredVersion":{"groupVersion":"","version":""}}"#;
        assert!(servergroups.contains(empty), "{servergroups}");
        assert_eq!(rig.taken().len(), 2);

        // Such a group is in no answer: kube-rs fails everything on one.
        let program = rig.program();
        let (status, groups) = program.get("/apis").await;
        let groups = String::from_utf8(groups.to_vec()).expect("text");
        assert!(status.is_success() && !groups.contains("acme.test"));
        assert_eq!(rig.taken().len(), 0);
        let (status, _) = program.get("/apis/acme.test").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_empty_version_of_an_aggregated_server() {
    for (wire, order) in EVERY {
        let server = EmbeddedServer::builder().group(acme([Version::new("v1")]));
        let rig = Rig::new(wire, order, server).await;
        let program = rig.program();
        let found = program.discover().await;
        assert!(found.failed.is_empty());
        let list = found.snapshot.resources("acme.test/v1").expect("a list");
        assert!(list.resources.is_empty());
        assert!(
            !rig.files()
                .files
                .contains_key("acme.test/v1/serverresources.json")
        );
        assert_eq!(rig.taken().len(), 2);

        // No file tells that it is empty, so the next program asks, as kubectl, and is not alarmed.
        for _ in 0..2 {
            let found = rig.program().discover().await;
            assert!(found.failed.is_empty(), "{:?}", found.failed);
            assert_eq!(rig.take_paths(), ["/api", "/apis"], "{wire:?} {order:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_version_of_a_legacy_server() {
    for (wire, order) in EVERY {
        let server = EmbeddedServer::builder()
            .group(acme([Version::new("v1")]))
            .legacy_only(true);
        let rig = Rig::new(wire, order, server).await;
        let found = rig.program().discover().await;
        assert_eq!(failed(&found), ["acme.test/v1"]);
        let failure = &found.failed["acme.test/v1"];
        assert!(failure.is_empty_list());
        assert_eq!(
            failure.to_string(),
            "received empty response for: acme.test/v1"
        );
        assert!(
            !rig.files()
                .files
                .contains_key("acme.test/v1/serverresources.json")
        );
    }
}

#[tokio::test]
async fn a_dead_backend_of_a_legacy_server() {
    let server = EmbeddedServer::builder()
        .group(acme([full("v1").stale()]))
        .legacy_only(true);
    let rig = Rig::plain(server).await;
    let found = rig.program().discover().await;
    assert_eq!(failed(&found), ["acme.test/v1"]);
    assert_eq!(
        found.failed["acme.test/v1"].code(),
        Some(StatusCode::SERVICE_UNAVAILABLE)
    );
}

#[tokio::test]
async fn a_server_without_core_group_or_without_any() {
    for order in [Order::Kubectl, Order::LongLived] {
        let server = EmbeddedServer::builder().bare().group(acme([full("v1")]));
        let rig = Rig::new(Wire::Plain, order, server).await;
        let not_found = Canned::status(StatusCode::NOT_FOUND);
        rig.control.set_fault("/api", Fault::Answer(not_found));
        let found = rig.program().discover().await;
        let groups = found.snapshot.groups().expect("groups");
        assert_eq!(groups.groups.len(), 1);
        assert_eq!(rig.taken().len(), 2);
        rig.program().run().await;
        assert_eq!(rig.taken().len(), 0);
    }

    // Nothing at all is no answer that could be kept.
    let rig = Rig::plain(EmbeddedServer::builder().bare()).await;
    for _ in 0..2 {
        rig.program().run().await;
        assert_eq!(rig.taken().len(), 2);
    }
    assert_eq!(rig.files().names(), [""; 0]);
}
