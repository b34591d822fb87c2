//! The program as kubectl's plugin.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use embedded_apiserver::EmbeddedServer;

use super::rig::{Program, Rig, Run, Wire};

/// Runs kubectl with the program's directory in the `PATH`, and that of the completion script.
fn kubectl(rig: &Rig, arguments: &[&str]) -> Run {
    let program = Path::new(env!("CARGO_BIN_EXE_kubectl-discovery"));
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let own = [program.parent().unwrap().to_owned(), scripts];
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(own.into_iter().chain(env::split_paths(&path))).unwrap();
    let kubeconfig = rig.path("kubeconfig");
    let root = rig.root(Program::Kubectl);
    // kubectl does not pass its own flags to a plugin.
    let variables: [(&str, OsString); 3] = [
        ("PATH", path),
        ("KUBECONFIG", kubeconfig.clone().into()),
        ("KUBECACHEDIR", root.clone().into()),
    ];
    super::run::run(rig.kubectl(), arguments, &rig.path(""), &variables)
}

#[test]
fn kubectl_runs_the_program_as_a_plugin() {
    let Some(rig) = Rig::new(Wire::Tls, EmbeddedServer::builder()) else {
        return;
    };
    let own = rig.run(Program::Kubectl, &["api-resources"]).ok();
    rig.taken();
    let plugin = kubectl(&rig, &["discovery", "api-resources", "--cached"]).ok();
    assert_eq!(plugin, own);
    // On the files that kubectl has written.
    assert!(rig.taken().is_empty());
    assert_eq!(kubectl(&rig, &["discovery", "api-resources"]).ok(), own);
    let failed = kubectl(&rig, &["discovery", "resolve", "nonsense"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
}

#[test]
fn kubectl_completes_the_words_of_the_plugin() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder()) else {
        return;
    };
    let complete = |words: &[&str]| {
        let run = kubectl(&rig, &[&["__complete", "discovery"], words].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stdout
    };
    let commands = complete(&["api-"]);
    assert!(commands.contains("api-resources"), "{commands}");
    assert!(!commands.contains("resolve"), "{commands}");
    assert!(commands.ends_with(":4\n"), "{commands}");
    let commands = complete(&["cache", "pr"]);
    assert!(commands.starts_with("prune"), "{commands}");
    let flags = complete(&["cache", "prune", "--old"]);
    assert!(flags.starts_with("--older-than"), "{flags}");
    let names = complete(&["resolve", "deploy"]);
    assert!(names.starts_with("deployments.apps"), "{names}");
    assert!(complete(&["completion", "z"]).starts_with("zsh"));
}
