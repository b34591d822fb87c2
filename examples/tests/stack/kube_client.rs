//! kube-rs with cached discovery, and bare beside it.

use std::time::Duration;

use discovery_client::kube::{CachedClient, KubeService, layer};
use discovery_client::mapper::DeferredMapper;
use discovery_client::{DiscoveryClient, Handles};
use embedded_apiserver::{
    Builder, CONFIG_MAP_MARKER, Canned, EmbeddedServer, Fault, SECRET_MARKER,
};
use futures_util::TryStreamExt;
use http::{Request, StatusCode, Version};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, ListParams};
use kube::client::{Body, ClientBuilder};
use kube::discovery::{self, ApiResource};
use kube::{Client, Discovery};
use tokio::time::timeout;

use super::{
    kube_config::config,
    rig::{Order, Rig, Wire},
};

async fn rig(server: Builder) -> Rig {
    Rig::new(Wire::Tls, Order::LongLived, server).await
}

fn bare(rig: &Rig) -> Client {
    let mut config = config(&rig.server);
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// A new program's client, which is told when something changes by nobody.
fn cached(rig: &Rig) -> (Client, Handles) {
    let cached = CachedClient::new(config(&rig.server), rig.root.path()).expect("an address");
    cached.live(false).build().expect("a client")
}

/// The names of the resources of each group version.
fn names(discovery: &Discovery) -> Vec<String> {
    let mut names = Vec::new();
    for group in discovery.groups() {
        for version in group.versions() {
            let resources = group.versioned_resources(version).into_iter();
            names.extend(
                resources
                    .map(|(resource, _)| format!("{}/{}", resource.api_version, resource.plural)),
            );
        }
    }
    names.sort();
    names
}

async fn aggregated(client: &Client) -> Discovery {
    let discovery = Discovery::new(client.clone()).run_aggregated();
    discovery.await.expect("discovery")
}

#[tokio::test]
async fn discovery_survives_a_restart() {
    let rig = rig(EmbeddedServer::builder().crds(10)).await;
    let expected = names(&aggregated(&bare(&rig)).await);
    rig.control.clear_log();
    for run in 0..3 {
        let (client, handles) = cached(&rig);
        let aggregated = aggregated(&client).await;
        assert_eq!(names(&aggregated), expected);
        let legacy = Discovery::new(client.clone())
            .run()
            .await
            .expect("discovery");
        assert_eq!(names(&legacy), expected);
        let kind = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
        let pinned = discovery::pinned_kind(&client, &kind);
        assert_eq!(pinned.await.expect("it is there").0.plural, "deployments");
        let entries = rig.taken();
        if run == 0 {
            // Over one connection of HTTP/2, which kube's own transport is not.
            assert_eq!(entries.len(), 2);
            assert!(entries.iter().all(|entry| entry.version == Version::HTTP_2));
        } else {
            assert_eq!(entries.len(), 0);
        }
        assert!(handles.memory.stats().hits > 0);
    }
    assert_eq!(super::rig::strangers(&rig.entries()), [""; 0]);
}

#[tokio::test]
async fn nothing_but_discovery_is_kept() {
    let rig = rig(EmbeddedServer::builder()).await;
    let (client, _) = cached(&rig);
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    assert_eq!(
        secrets
            .list(&ListParams::default())
            .await
            .expect("secrets")
            .items
            .len(),
        2
    );
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    assert!(maps.get("settings").await.is_ok());
    assert!(maps.get("nothing").await.is_err());
    // Any discovery fills the directory.
    aggregated(&client).await;
    for marker in [SECRET_MARKER, CONFIG_MAP_MARKER] {
        assert_eq!(rig.tree().contains(marker.as_bytes()), None);
    }
    // Objects go through kube's transport.
    let objects = rig.taken();
    let objects = objects
        .iter()
        .filter(|entry| entry.path.starts_with("/api/v1/"));
    assert!(
        objects.clone().count() == 3
            && objects
                .clone()
                .all(|entry| entry.version == Version::HTTP_11)
    );

    // A watch goes on and is not held back.
    let watch = maps
        .watch(&kube::api::WatchParams::default(), "0")
        .await
        .expect("a watch");
    let mut watch = std::pin::pin!(watch);
    let first = timeout(Duration::from_secs(20), watch.try_next())
        .await
        .expect("at once");
    assert!(matches!(first, Ok(Some(kube::api::WatchEvent::Added(_)))));
}

/// Bare kube-rs, and kube-rs through the caches: the README has these as a table.
#[tokio::test]
async fn servers_that_bare_kube_rs_has_trouble_with() {
    // A legacy server: an empty cluster.
    let rig1 = rig(EmbeddedServer::builder().crds(5).legacy_only(true)).await;
    let all = names(&Discovery::new(bare(&rig1)).run().await.expect("discovery"));
    let legacy = Discovery::new(bare(&rig1)).run_aggregated().await;
    assert!(legacy.is_err() || legacy.is_ok_and(|found| names(&found).is_empty()));
    rig1.control.clear_log();
    let (client, _) = cached(&rig1);
    let found = aggregated(&client).await;
    assert_eq!(names(&found), all);
    let lists = rig1.taken().len();
    assert!(lists > 20, "each list once: {lists}");

    // kcp: one endpoint in each form. Groups are missing.
    let rig2 = rig(EmbeddedServer::builder().crds(5)).await;
    let all = names(&aggregated(&bare(&rig2)).await);
    rig2.control.set_legacy_path("/apis", true);
    let bare_found = Discovery::new(bare(&rig2)).run_aggregated().await;
    assert!(bare_found.is_err() || bare_found.is_ok_and(|found| names(&found).len() < all.len()));
    let (client, _) = cached(&rig2);
    let found = aggregated(&client).await;
    assert_eq!(names(&found), all);

    // A dead APIService: `run` fails, after minutes with kube's repeats.
    let rig3 = rig(EmbeddedServer::builder().crds(5)).await;
    let all = names(&aggregated(&bare(&rig3)).await);
    rig3.control.set_stale("g00.example.test/v1", true);
    assert!(Discovery::new(bare(&rig3)).run().await.is_err());
    rig3.control.clear_log();
    let (client, _) = cached(&rig3);
    let alive: Vec<_> = all
        .iter()
        .filter(|name| !name.starts_with("g00.example.test/v1/"))
        .cloned()
        .collect();
    for _ in 0..2 {
        let found = Discovery::new(client.clone())
            .run()
            .await
            .expect("discovery");
        assert_eq!(names(&found), alive);
        let found = aggregated(&client).await;
        assert_eq!(names(&found), alive);
    }
    assert_eq!(rig3.take_paths(), ["/api", "/apis"]);
}

#[tokio::test]
async fn what_is_new_is_seen_when_it_is_asked_for() {
    let rig = rig(EmbeddedServer::builder().crds(1)).await;
    let (client, handles) = cached(&rig);
    let count = async || names(&aggregated(&client).await).len();
    let before = count().await;
    rig.control.set_crds(2);
    assert_eq!(count().await, before);
    handles.memory.invalidate();
    let after = count().await;
    assert!(after > before);

    // A request that wants no cache refreshes for all.
    rig.control.set_crds(3);
    assert_eq!(count().await, after);
    let request = Request::get("/apis").header("cache-control", "no-cache");
    let answer = client
        .send(request.body(Body::empty()).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(count().await > after);
}

#[tokio::test]
async fn a_program_that_runs_sees_what_comes_by_itself() {
    let rig = rig(EmbeddedServer::builder().crds(1)).await;
    let cached = CachedClient::new(config(&rig.server), rig.root.path()).expect("an address");
    let (client, _) = cached.build().expect("a client");
    // Nothing is sent before something is asked for.
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    assert!(maps.list(&ListParams::default()).await.is_ok());
    assert_eq!(rig.take_paths().len(), 1);
    let count = async || names(&aggregated(&client).await).len();
    let before = count().await;
    // Both watches are there, and see it.
    let watches =
        |path: &str| path.contains("customresourcedefinitions") || path.contains("apiservices");
    rig.until(|_| {
        rig.control
            .log()
            .iter()
            .filter(|entry| watches(&entry.path))
            .count()
            == 2
    })
    .await;
    rig.control.set_crds(6);
    let seen = async {
        while count().await <= before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), seen)
        .await
        .expect("it is seen");
    // It ends with the client.
    drop((client, maps));
    rig.until(|counters| counters.in_flight == 0).await;

    // Another run knows what this one has learnt, and finds that it is the same.
    rig.control.clear_log();
    let cached = CachedClient::new(config(&rig.server), rig.root.path()).expect("an address");
    let (client, _) = cached.build().expect("a client");
    assert!(names(&aggregated(&client).await).len() > before);
    let is_groups = |path: &str| path == "/api" || path == "/apis";
    let answers = || {
        let log = rig.control.log().into_iter();
        let groups = log.filter(|entry| is_groups(&entry.path));
        groups.filter_map(|entry| entry.status).collect::<Vec<_>>()
    };
    rig.until(|_| answers().len() >= 2).await;
    assert!(
        answers()
            .iter()
            .all(|status| *status == StatusCode::NOT_MODIFIED)
    );
}

#[tokio::test]
async fn a_layer_for_a_builder_of_ones_own() {
    for wire in [Wire::Plain, Wire::Tls] {
        let server = EmbeddedServer::builder()
            .crds(5)
            .base_path("/k8s/clusters/c-1");
        let rig = Rig::new(wire, Order::LongLived, server).await;
        let expected = names(&aggregated(&bare(&rig)).await);
        rig.control.clear_log();
        for requests in [2, 0] {
            let config = config(&rig.server);
            let cached = layer(&config, rig.root.path()).expect("an address");
            let builder = ClientBuilder::try_from(config).expect("a client");
            let client = builder.with_layer(&cached).build();
            let found = aggregated(&client).await;
            assert_eq!(names(&found), expected, "{wire:?}");
            assert_eq!(rig.taken().len(), requests, "{wire:?}");
            let secrets = Api::<Secret>::default_namespaced(client);
            assert!(secrets.list(&ListParams::default()).await.is_ok());
            rig.control.clear_log();
            assert_eq!(cached.handles().disk.stats().sent, requests as u64);
        }
        assert_eq!(rig.tree().contains(SECRET_MARKER.as_bytes()), None);
    }
}

#[tokio::test]
async fn two_clusters_share_a_directory() {
    let one = rig(EmbeddedServer::builder().crds(1)).await;
    let other = EmbeddedServer::builder()
        .crds(9)
        .start()
        .await
        .expect("a server");
    for _ in 0..2 {
        for (server, crds) in [(&one.server, 1), (&other, 9)] {
            let cached = CachedClient::new(config(server), one.root.path()).expect("an address");
            let (client, _) = cached.live(false).build().expect("a client");
            let found = aggregated(&client).await;
            let widgets = names(&found)
                .into_iter()
                .filter(|name| name.contains("example.test/v1/widget"));
            assert_eq!(widgets.count(), crds);
        }
    }
}

#[tokio::test]
async fn mappings_are_kubes_resources() {
    let rig = rig(EmbeddedServer::builder()).await;
    let (client, _) = cached(&rig);
    let mapper = DeferredMapper::new(DiscoveryClient::new(KubeService::new(client.clone())));
    let mapping = mapper.resolve("cm").await.expect("config maps");
    let resource = ApiResource::from(&*mapping);
    assert_eq!(resource, ApiResource::erase::<ConfigMap>(&()));
    let maps = Api::<DynamicObject>::default_namespaced_with(client, &resource);
    assert_eq!(
        maps.list(&ListParams::default())
            .await
            .expect("config maps")
            .items
            .len(),
        2
    );
    let known = mapper.mapper().await.expect("a mapper");
    assert_eq!(known.mapping_for(&resource).expect("config maps"), mapping);
    let kind = kube::core::GroupVersionKind::from(&*mapping);
    assert_eq!(known.mapping_of(&kind).expect("config maps"), mapping);
    let capabilities = discovery::ApiCapabilities::from(&*mapping);
    assert!(capabilities.supports_operation("list"));
    assert_eq!(capabilities.scope, discovery::Scope::Namespaced);
}

/// The token of a file counts more than one beside it, and may end in a line break; kube's own loader does neither.
#[tokio::test]
async fn the_token_of_a_file() {
    let rig = rig(EmbeddedServer::builder()).await;
    let file = rig.root.path().join("token");
    std::fs::write(&file, format!("{}\n", super::rig::TOKEN)).expect("a file");
    let mut config = config(&rig.server);
    config.auth_info.token = Some("not-this-one".to_owned().into());
    config.auth_info.token_file = Some(file.display().to_string());
    let cache = rig.root.path().join("cache");
    let cached = CachedClient::new(config, &cache)
        .expect("an address")
        .live(false);
    let (client, _) = cached.build().expect("a client");
    assert!(
        Discovery::new(client.clone())
            .run_aggregated()
            .await
            .is_ok()
    );
    assert!(
        Api::<Secret>::default_namespaced(client)
            .list(&ListParams::default())
            .await
            .is_ok()
    );
    assert_eq!(
        super::tree::Tree::of(&cache).contains(super::rig::TOKEN.as_bytes()),
        None
    );
}

/// Errors are the caller's at once, whatever kube repeats, and nothing is kept of them.
#[tokio::test]
async fn a_refusal_is_told_and_not_kept() {
    for status in [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::SERVICE_UNAVAILABLE,
    ] {
        let rig = rig(EmbeddedServer::builder()).await;
        for path in ["/api", "/apis"] {
            rig.control
                .set_fault(path, Fault::Answer(Canned::status(status)));
        }
        let (client, _) = cached(&rig);
        let error = Discovery::new(client.clone())
            .run_aggregated()
            .await
            .err()
            .expect("an error");
        assert!(
            matches!(&error, kube::Error::Api(told) if told.code == status.as_u16()),
            "{error:?}"
        );
        // kube asks for `/apis` too after `/api` was refused.
        let asked = rig.take_paths();
        assert!(asked.len() <= 3, "{status}: {asked:?}");
        rig.control.clear_faults();
        assert!(Discovery::new(client).run_aggregated().await.is_ok());
    }
}

/// A network that loses a connection tells nobody: the client has to find out itself.
#[tokio::test]
async fn a_connection_that_is_lost_is_not_used_for_ever() {
    let rig = rig(EmbeddedServer::builder().crds(1)).await;
    let (lose, lost) = tokio::sync::watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let network = listener.local_addr().expect("it is bound");
    let server = rig.server.addr();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut lost = lost.clone();
            lost.mark_unchanged();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(server)
                    .await
                    .expect("a server");
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = lost.changed() => std::future::pending().await,
                }
            });
        }
    });
    let mut config = config(&rig.server);
    config.cluster_url = format!("https://{network}").parse().expect("a URL");
    let cached = CachedClient::new(config, rig.root.path()).expect("an address");
    let (client, handles) = cached.live(false).build().expect("a client");
    aggregated(&client).await;

    lose.send_replace(true);
    handles.memory.invalidate();
    tokio::time::pause();
    // The first is in vain; the second may be on another connection already.
    for _ in 0..2 {
        drop(Discovery::new(client.clone()).run_aggregated().await);
    }
    tokio::time::resume();
    timeout(Duration::from_secs(20), aggregated(&client))
        .await
        .expect("over another connection");
}
