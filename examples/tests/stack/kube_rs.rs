//! kube-rs' own discovery, unchanged, through the discovery layers.

use std::collections::BTreeSet;

use discovery_disk::DiskDiscoveryLayer;
use discovery_memory::MemoryDiscoveryLayer;
use embedded_apiserver::EmbeddedServer;
use kube::{Client, Discovery, client::ClientBuilder};
use tower::buffer::BufferLayer;

use super::{
    kube_config::config,
    rig::{Order, Rig, Wire},
};

fn uncached(rig: &Rig) -> Client {
    ClientBuilder::try_from(config(&rig.server))
        .expect("a client")
        .build()
}

/// A client with kubectl's files outside of all that kube-rs does itself.
fn with_files(rig: &Rig) -> Client {
    let files = DiskDiscoveryLayer::new(rig.root.path().join(rig.server_dir()));
    ClientBuilder::try_from(config(&rig.server))
        .expect("a client")
        .with_layer(&BufferLayer::new(64))
        .with_layer(&files)
        .build()
}

fn with_memory(rig: &Rig, layer: &MemoryDiscoveryLayer) -> Client {
    ClientBuilder::try_from(config(&rig.server))
        .expect("a client")
        .with_layer(&BufferLayer::new(64))
        .with_layer(layer)
        .build()
}

/// Names, kinds, verbs, scopes and subresources of everything that was discovered, a line each.
fn lines(discovery: &Discovery) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for group in discovery.groups() {
        lines.insert(format!(
            "{} prefers {:?}",
            group.name(),
            group.preferred_version()
        ));
        for version in group.versions() {
            for (resource, capabilities) in group.versioned_resources(version) {
                lines.insert(format!("{resource:?} {capabilities:?}"));
            }
        }
    }
    lines
}

async fn legacy(client: Client) -> BTreeSet<String> {
    lines(&Discovery::new(client).run().await.expect("discovery"))
}

async fn aggregated(client: Client) -> BTreeSet<String> {
    lines(
        &Discovery::new(client)
            .run_aggregated()
            .await
            .expect("discovery"),
    )
}

const WIRES: [Wire; 2] = [Wire::Plain, Wire::Tls];

#[tokio::test]
async fn files_of_an_aggregated_server() {
    for wire in WIRES {
        let rig = Rig::new(wire, Order::Kubectl, EmbeddedServer::builder().crds(25)).await;
        let expected = (
            legacy(uncached(&rig)).await,
            aggregated(uncached(&rig)).await,
        );
        assert!(expected.0.len() > 50 && expected.1.len() > 50);

        // Each time as a new program; either way fills everything.
        for first in ["run", "run_aggregated"] {
            rig.clean();
            rig.control.clear_log();
            for turn in 0..3 {
                if first == "run" || turn > 0 {
                    assert_eq!(
                        legacy(with_files(&rig)).await,
                        expected.0,
                        "{wire:?} {first} {turn}"
                    );
                    assert_eq!(rig.control.counters().total, 2, "{wire:?} {first} {turn}");
                }
                assert_eq!(
                    aggregated(with_files(&rig)).await,
                    expected.1,
                    "{wire:?} {first} {turn}"
                );
                assert_eq!(rig.control.counters().total, 2, "{wire:?} {first} {turn}");
            }
        }
        // They are the files of the stack, too.
        rig.control.clear_log();
        assert!(rig.program().discover().await.snapshot.is_complete());
        assert_eq!(rig.taken().len(), 0);
    }
}

#[tokio::test]
async fn files_of_a_legacy_server() {
    for wire in WIRES {
        let server = EmbeddedServer::builder().crds(25).legacy_only(true);
        let rig = Rig::new(wire, Order::Kubectl, server).await;
        rig.control.clear_log();
        let expected = legacy(uncached(&rig)).await;
        let asked = rig.take_paths();
        assert_eq!(legacy(with_files(&rig)).await, expected, "{wire:?}");
        assert_eq!(rig.take_paths(), asked, "no request more than without");
        for _ in 0..2 {
            assert_eq!(legacy(with_files(&rig)).await, expected, "{wire:?}");
            assert_eq!(rig.taken().len(), 0, "{wire:?}");
        }
        // From the files there is an aggregated answer, which the server does not have.
        let all = aggregated(with_files(&rig)).await;
        assert!(all.len() > 50);
        assert_eq!(rig.taken().len(), 0, "{wire:?}");
    }
}

#[tokio::test]
async fn memory() {
    for wire in WIRES {
        for old in [false, true] {
            let server = EmbeddedServer::builder().crds(25).legacy_only(old);
            let rig = Rig::new(wire, Order::Kubectl, server).await;
            let expected = legacy(uncached(&rig)).await;
            let layer = MemoryDiscoveryLayer::new();
            assert_eq!(
                legacy(with_memory(&rig, &layer)).await,
                expected,
                "{wire:?} {old}"
            );
            rig.control.clear_log();
            // Clients of one layer share what it knows.
            let client = with_memory(&rig, &layer);
            assert_eq!(legacy(client.clone()).await, expected, "{wire:?} {old}");
            assert_eq!(rig.taken().len(), 0, "{wire:?} {old}");

            let expected = aggregated(uncached(&rig)).await;
            rig.control.clear_log();
            if !old {
                assert_eq!(aggregated(client).await, expected, "{wire:?}");
                assert_eq!(rig.taken().len(), 0, "{wire:?}");
            }

            layer.handle().invalidate();
            rig.control.clear_log();
            legacy(with_memory(&rig, &layer)).await;
            assert!(rig.taken().len() >= 2);
        }
    }
}

#[tokio::test]
async fn a_server_below_a_path() {
    let server = EmbeddedServer::builder().base_path("/k8s/clusters/c-1");
    let rig = Rig::plain(server).await;
    let expected = (
        legacy(uncached(&rig)).await,
        aggregated(uncached(&rig)).await,
    );
    rig.control.clear_log();
    // kube-rs adds the path below the layer.
    assert_eq!(aggregated(with_files(&rig)).await, expected.1);
    assert_eq!(legacy(with_files(&rig)).await, expected.0);
    assert_eq!(
        rig.take_paths(),
        ["/k8s/clusters/c-1/api", "/k8s/clusters/c-1/apis"]
    );
    rig.program().run().await;
    assert_eq!(rig.taken().len(), 0);
}

#[tokio::test]
async fn other_requests_pass() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let client = with_files(&rig);
    assert_eq!(
        client.apiserver_version().await.expect("a version").major,
        "1"
    );
    let missing = client.list_api_group_resources("acme.test/v1").await;
    assert!(missing.is_err());
    let log = rig.taken();
    assert!(log.iter().any(|entry| entry.path == "/version"));
}
