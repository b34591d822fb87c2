//! What a name stands for: as in `kubectl get NAME`, by the requests that it sends.

use std::collections::HashSet;

use discovery_client::DiscoveryClient;
use discovery_client::mapper::{Mapping, RestMapper};
use discovery_core::Endpoint;
use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};

use super::rig::{Program, Rig, Wire};

/// The most names in one command.
const BATCH: usize = 60;

/// Two hundred resources whose names, short names, singular names and kinds are also those of others.
fn clashing() -> impl Iterator<Item = Group> {
    (0..20).map(|g| {
        let mut group = Group::new(format!("g{g:02}.clash.test"));
        for version in ["v1beta1", "v1", "v2alpha1"].iter().take(1 + g % 3) {
            let mut listed = Version::new(*version);
            for r in 0..10 {
                let n = (g * 7 + r * 3) % 25;
                let kind = format!("Thing{}", (n + g % 2) % 25);
                let resource = Resource::new(format!("thing{n}s"), kind)
                    .singular(format!("thing{}", (n + r % 2) % 25))
                    // Of some of these there is a resource.
                    .short_names([format!("t{n}"), format!("thing{}s", 20 + n)])
                    .categories(["clashing"]);
                listed = listed.resource(if r % 3 == 0 {
                    resource.cluster_scoped()
                } else {
                    resource
                });
            }
            group = group.version(listed);
        }
        group
    })
}

fn names(mapper: &RestMapper) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |mapping: &Mapping, name: &str| {
        let group_version = &mapping.group_version;
        let (group, version) = (group_version.group(), group_version.version());
        names.push(name.to_owned());
        if !group.is_empty() {
            names.push(format!("{name}.{group}"));
            names.push(format!("{name}.{version}.{group}"));
            let part = group.split_once('.').map_or(group, |(first, _)| first);
            names.push(format!("{name}.{part}"));
        }
    };
    for mapping in mapper.mappings() {
        add(mapping, &mapping.resource);
        add(mapping, &mapping.singular);
        add(mapping, &mapping.kind);
        for short in &mapping.short_names {
            add(mapping, short);
        }
    }
    for odd in [
        "PODS",
        "PO",
        "DEPLOYMENT.apps",
        "Thing1S.v1.g01.clash.test",
        "",
        "deploy.v9.apps",
        "deployments.v9.apps",
        "Deployment.v9.apps",
        "po ds",
        "pod.",
        ".v1",
        "pods.v1.",
        "pods.v1",
        "thing",
        "hings",
        "THING1S",
        "ä",
    ] {
        names.push(odd.to_owned());
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

#[test]
fn a_name_stands_for_what_kubectl_gets() {
    let mut server = EmbeddedServer::builder().crds(10);
    for group in clashing() {
        server = server.group(group);
    }
    let Some(rig) = Rig::new(Wire::Plain, server) else {
        return;
    };
    let root = rig.root(Program::Kubectl);
    rig.run(Program::Kubectl, &["api-resources"]).ok();
    let mapper = mapper(&rig);
    let names = names(&mapper);
    let (known, unknown): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| mapper.resolve(name).is_ok());
    assert!(known.len() > 1500, "{}", known.len());
    // Those that nothing is are few enough for a command each.
    let mut few: Vec<_> = unknown.iter().filter(|name| !name.is_empty()).collect();
    let step = few.len().div_ceil(20);
    few = few.into_iter().step_by(step.max(1)).collect();
    for name in few {
        let run = rig.run_on(Program::Kubectl, &root, &["get", name]);
        assert_eq!(run.code, Some(1), "{name}: {run:?}, but ours knows none");
    }
    rig.control.clear_log();
    for batch in known.chunks(BATCH) {
        let list: Vec<_> = batch.iter().map(|name| name.as_str()).collect();
        let run = rig.run_on(Program::Kubectl, &root, &["get", &list.join(",")]);
        assert_eq!(run.code, Some(0), "{batch:?}: {}", run.stderr);
        let mut theirs: Vec<_> = rig.taken().into_iter().map(|entry| entry.path).collect();
        // It looks for short names in all lists, of which empty ones have no file.
        theirs.retain(|path| Endpoint::parse(path, "").is_none());
        // kubectl asks for each resource once.
        let mut seen = HashSet::new();
        let ours = batch
            .iter()
            .map(|name| mapper.resolve(name).expect("it is known"));
        let ours: Vec<_> = ours
            .map(|mapping| mapping.path(Some("default")))
            .filter(|path| seen.insert(path.clone()))
            .collect();
        if ours != theirs {
            for name in batch {
                rig.control.clear_log();
                rig.run_on(Program::Kubectl, &root, &["get", name]);
                let path = rig.taken().last().map(|entry| entry.path.clone());
                let own = mapper
                    .resolve(name)
                    .expect("it is known")
                    .path(Some("default"));
                assert_eq!(path.as_deref(), Some(&*own), "{name}");
            }
            let differs = ours
                .iter()
                .zip(&theirs)
                .find(|(ours, theirs)| ours != theirs);
            panic!("{differs:?} in {batch:?}");
        }
    }
}

fn mapper(rig: &Rig) -> RestMapper {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let layer = discovery_client::request_defaults::RequestDefaultsLayer::new(
            &rig.server.url().parse().expect("an address"),
        );
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Full<bytes::Bytes>>();
        let client = DiscoveryClient::new(tower::Layer::layer(&layer, client));
        RestMapper::new(&client.discover().await.expect("discovery").snapshot)
    })
}
