//! The same output, to the byte.

use embedded_apiserver::{Builder, EmbeddedServer, Group, Resource, Version};

use super::rig::{BOTH, Program, Rig, Wire};

/// Flags of `api-resources`, a line for each run.
const FLAGS: &str = "
--api-group=apps
--api-group=
--api-group=nothing.test
--namespaced
--namespaced=true
--namespaced=false
--verbs=list
--verbs=list,get,deletecollection
--verbs=list --verbs=bind
--verbs=nothing
--categories=all
--categories=all,widgets
--categories=api-extensions
--categories=nothing
--sort-by=name
--sort-by=kind
--no-headers
--no-headers=false
-o wide
-o name
-o json
-o yaml
-o kyaml
-o wide --no-headers
-o wide --sort-by=kind
-o wide --api-group= --namespaced=false
-o name --sort-by=name --namespaced=false
-o name --sort-by=kind --verbs=watch
-o name --no-headers
-o json --api-group=apps
-o yaml --api-group=batch --namespaced=true
-o kyaml --categories=all
-o json --api-group=nothing.test
-o yaml --api-group=nothing.test
-o kyaml --api-group=nothing.test
-o name --api-group=nothing.test
-o wide --api-group=nothing.test
-o json --sort-by=kind --verbs=create,delete
-o yaml --sort-by=name --no-headers --namespaced=false
--api-group=apps --no-headers --sort-by=kind --verbs=get --categories=all --namespaced
--no-headers --verbs=nothing
";

/// Resources unlike all stock ones: long names, none at all, much of everything.
fn odd() -> [Group; 2] {
    let wide = Resource::new("ünïcödes", "Ünïcöde")
        .short_names(["ü", "üü"])
        .categories(["all", "<odd>", "a&b"])
        .cluster_scoped();
    let silent = Resource::new("silents", "Silent").verbs([]);
    let yaml = Resource::new("trues", "True")
        .singular("true")
        .short_names(["null", "1", "~", "yes"])
        .categories(["- a", "b: c", "#", "'", "\"", " "]);
    let long = Resource::new("a".repeat(80), "A".repeat(80))
        .with_status()
        .with_scale();
    [
        Group::new("odd.test").version(
            Version::new("v1")
                .resource(wide)
                .resource(silent)
                .resource(yaml),
        ),
        Group::new("long-long-long-long-long-long-long-long-long-long.test")
            .version(Version::new("v2alpha10").resource(long.clone()))
            .version(Version::new("v1").resource(long)),
    ]
}

#[test]
fn api_resources() {
    for legacy in [false, true] {
        let server = EmbeddedServer::builder().crds(30).legacy_only(legacy);
        let server = odd().into_iter().fold(server, Builder::group);
        let Some(rig) = Rig::new(Wire::Plain, server) else {
            return;
        };
        let root = rig.root(Program::Kubectl);
        let run = |program, arguments: &[&str]| rig.run_on(program, &root, arguments).ok();
        let [theirs, ours] = BOTH.map(|program| run(program, &["api-resources"]));
        assert_eq!(ours, theirs, "legacy: {legacy}");
        for line in FLAGS.lines().filter(|line| !line.is_empty()) {
            let arguments: Vec<_> = ["api-resources", "--cached"]
                .into_iter()
                .chain(line.split(' '))
                .collect();
            let [theirs, ours] = BOTH.map(|program| run(program, &arguments));
            assert_eq!(ours, theirs, "{line} legacy: {legacy}");
        }
        let [theirs, ours] = BOTH.map(|program| run(program, &["api-versions"]));
        assert_eq!(ours, theirs, "legacy: {legacy}");
    }
}

#[test]
fn servers_without_resources() {
    let acme = |version| Group::new("acme.test").version(version);
    let silent = Resource::new("silents", "Silent").verbs([]);
    let cases = [
        ("no group", None),
        ("an empty version", Some(acme(Version::new("v1")))),
        ("a stale version", Some(acme(Version::new("v1").stale()))),
        (
            "a resource without verbs",
            Some(acme(Version::new("v1").resource(silent))),
        ),
    ];
    let mut wrong = Vec::new();
    for (what, group) in cases {
        for legacy in [false, true] {
            let server = EmbeddedServer::builder().bare().legacy_only(legacy);
            let server = group.iter().cloned().fold(server, Builder::group);
            let Some(rig) = Rig::new(Wire::Plain, server) else {
                return;
            };
            for line in [
                "",
                "-o wide",
                "-o name",
                "-o json",
                "-o yaml",
                "--no-headers",
                "--api-group=apps",
            ] {
                let words = line.split(' ').filter(|word| !word.is_empty());
                let arguments: Vec<_> = ["api-resources"].into_iter().chain(words).collect();
                let [theirs, ours] = BOTH.map(|program| rig.run(program, &arguments));
                if (ours.code, &ours.stdout) != (theirs.code, &theirs.stdout) {
                    wrong.push(format!(
                        "{what}, legacy: {legacy} {line}:\n  {theirs:?}\n  {ours:?}"
                    ));
                }
            }
            let [theirs, ours] = BOTH.map(|program| rig.run(program, &["api-versions"]));
            assert_eq!(
                (ours.code, &ours.stdout),
                (theirs.code, &theirs.stdout),
                "{what}"
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "kubectl, then ours:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn raw() {
    for wire in super::rig::WIRES {
        let Some(rig) = Rig::new(wire, EmbeddedServer::builder()) else {
            return;
        };
        for path in [
            "/api/v1/namespaces/default/secrets/database",
            "/apis",
            "/version",
            "/nothing",
            "/api/v1/namespaces/default/secrets/nothing",
            "/healthz",
            "/apis/../healthz",
            "//healthz",
            "/%61pis?x=%zz&y=a b",
            "/a b{c}",
            "http://other/version",
            "*",
            "version",
            "/%zz",
            ":/version",
        ] {
            rig.control.clear_log();
            let [theirs, ours] = BOTH.map(|program| rig.run(program, &["get", "--raw", path]));
            assert_eq!(
                (ours.code, &ours.stdout),
                (theirs.code, &theirs.stdout),
                "{path}"
            );
            assert_eq!(ours.last_line(), theirs.last_line(), "{path}");
            let asked: Vec<_> = rig.taken().into_iter().map(|entry| entry.target).collect();
            if theirs.code == Some(0) {
                assert_eq!(asked[0], asked[1], "{path}");
            }
        }
        let tree = rig.tree(Program::Ours);
        assert_eq!(tree.names(), [""; 0]);
    }
}
