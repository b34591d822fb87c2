//! `explain`: the same output and the same words, to the byte.

use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};

use super::rig::{BOTH, Rig, Wire};

/// A document with all kinds of schemas.
const DOCUMENT: &str = include_str!("explain.json");

/// Arguments of `explain`, a line for each run.
const ARGUMENTS: &str = "
rockets
rocket
Rocket
ROCKETS
rkt
rockets.explain.test
rockets.explain.test.spec
rockets.v1.explain.test
rockets.
rockets.apiVersion
rockets.metadata
rockets.metadata.labels
rockets.metadata.creationTimestamp
rockets.metadata.finalizers
rockets.metadata.ownerReferences
rockets.metadata.ownerReferences.controller
rockets.spec
rkt.spec.stages
rockets.spec.stages.name
rockets.spec.stages.engine
rockets.spec.stages.stages.stages.stages.name
rockets.spec.engine
rockets.spec.engine.fuel
rockets.spec.mode
rockets.spec.colour
rockets.spec.sizes
rockets.spec.fewest
rockets.spec.minAvailable
rockets.spec.minReady
rockets.spec.budget
rockets.spec.limits
rockets.spec.tanks
rockets.spec.tanks.litres
rockets.spec.matrix
rockets.spec.tankLists
rockets.spec.tankLists.of
rockets.spec.anything
rockets.spec.free
rockets.spec.free.x
rockets.spec.closed
rockets.spec.bare
rockets.spec.inline
rockets.spec.inline.b.c
rockets.spec.schema
rockets.spec.schema.not
rockets.spec.schema.properties.not.allOf.items
rockets.spec.direct
rockets.spec.dangling
rockets.spec.text
rockets.spec.old
rockets.spec.docs
rockets.spec.docsUrl
rockets.spec.mixed
rockets.spec.mixed.litres
rockets.spec.mixedWith
rockets.spec.mixedWith.own
rockets.spec.mixedWith.of
rockets.spec.long
rockets.spec.dashed-name
rockets.spec.dotted\\.name
rockets.status
rockets.status.conditions
rockets.status.conditions.status
plains
plains.x
empties
rockets --recursive
rockets -R
rockets --recursive=false
rockets.spec --recursive
rockets.spec.schema --recursive
rockets.spec.stages --recursive
rockets.spec.mixed --recursive
plain --recursive
empties --recursive
rockets --recursive --max-depth=1
rockets --recursive --max-depth=2
rockets --recursive --max-depth=3
rockets --api-version=explain.test/v1
rockets.spec.engine --api-version=explain.test/v1
rockets --api-version=explain.test/v2
rockets --api-version=explain.test/v9
rockets --api-version=v1
rockets --api-version=a/b/c
rockets --api-version=
rockets.explain.test --api-version=explain.test/v1
rockets -o plaintext
rockets -o nonsense
rockets --max-depth=1
rockets --max-depth=-1
rockets.nothing
rockets.spec.nothing
rockets.spec.nothing.at.all
rockets.spec.stages.nothing
rockets.spec.mode.nothing
rockets.spec.nothing --recursive
ghosts
lost
lost.spec
nothings
nothings.spec
nothings --api-version=explain.test/v1
rockets plains
rockets.spec[0]
pods
po
pods.metadata
deployments.apps
deployments.apps.metadata
deploy --recursive
events
events.events.k8s.io
events --api-version=events.k8s.io/v1
hpa
";

fn group() -> Group {
    let resources = [
        Resource::new("rockets", "Rocket").short_names(["rkt"]),
        Resource::new("plains", "Plain").cluster_scoped(),
        Resource::new("empties", "Empty").cluster_scoped(),
        // The document has an operation for it, and no schema.
        Resource::new("ghosts", "Ghost"),
        // The document has nothing of it.
        Resource::new("lost", "Lost"),
    ];
    let version = resources
        .into_iter()
        .fold(Version::new("v1").openapi(DOCUMENT), Version::resource);
    Group::new("explain.test")
        .version(version)
        .version(Version::new("v2").resource(Resource::new("rockets", "Rocket")))
}

#[test]
fn explain() {
    let server = EmbeddedServer::builder().group(group());
    let Some(rig) = Rig::new(Wire::Plain, server) else {
        return;
    };
    let [theirs, ours] = BOTH.map(|program| rig.run(program, &["explain"]));
    assert_eq!(ours, theirs);
    let (mut wrong, mut explained) = (Vec::new(), 0);
    for line in ARGUMENTS.lines().filter(|line| !line.is_empty()) {
        let arguments: Vec<_> = ["explain"].into_iter().chain(line.split(' ')).collect();
        let [theirs, ours] = BOTH.map(|program| rig.run(program, &arguments));
        explained += usize::from(theirs.code == Some(0));
        if ours != theirs {
            wrong.push(format!("{line}:\n  {theirs:?}\n  {ours:?}"));
        }
    }
    assert!(explained > 80, "only {explained} of the arguments");
    assert!(
        wrong.is_empty(),
        "kubectl, then ours:\n{}",
        wrong.join("\n")
    );
}

/// What kubectl has cached, we find, and the other way round: a second run sends the index's request only.
#[test]
fn documents_are_shared_and_asked_for_once() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder().group(group())) else {
        return;
    };
    let root = rig.path("shared");
    for [first, second] in [BOTH, [BOTH[1], BOTH[0]]] {
        let explain = |program| rig.run_on(program, &root, &["explain", "rockets"]);
        explain(first).ok();
        rig.taken();
        explain(second).ok();
        let paths: Vec<_> = rig.taken().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["/openapi/v3"], "{second:?} after {first:?}");
        std::fs::remove_dir_all(&root).expect("nobody uses it");
    }
}
