//! Credentials, and the servers that get them.

use std::path::PathBuf;

use embedded_apiserver::{Builder, EmbeddedServer};

use crate::program::Home;

const CREDENTIAL: &str = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"let-me-in"}}"#;

/// A server that wants a token, and a kubeconfig for it that has this for the user.
struct Scene {
    home: Home,
    server: EmbeddedServer,
    file: PathBuf,
}

impl Scene {
    fn new(builder: Builder, user: &str) -> Self {
        let (home, server) = (Home::new(), builder.start_in_thread().unwrap());
        let config = server.kubeconfig();
        let (token, none) = ("user:\n    token: \"let-me-in\"\n", "user: {}\n");
        let user = format!("user:\n{user}\n");
        let file = home.path().join("config");
        std::fs::write(&file, config.replace(token, &user).replace(none, &user)).unwrap();
        Self { home, server, file }
    }

    fn run(&self, arguments: &[&str]) -> crate::run::Run {
        let file = self.file.to_str().unwrap();
        self.home
            .run(&[&["--kubeconfig", file], arguments].concat())
    }

    /// The number of runs of a plugin since the last call.
    #[cfg(unix)]
    fn plugin_runs(&self) -> usize {
        let traces = self.home.path().join("traces");
        let text = std::fs::read_to_string(&traces).unwrap_or_default();
        let _ = std::fs::remove_file(traces);
        text.lines().count()
    }

    /// A plugin that leaves a trace of each run, and then does this.
    #[cfg(unix)]
    fn with_plugin(builder: Builder, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;

        let user = "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      \
             command: ./plugin\n      interactiveMode: Never";
        let scene = Self::new(builder, user);
        let plugin = scene.home.path().join("plugin");
        let traces = scene.home.path().join("traces");
        let script = format!("#!/bin/sh\necho run >>'{}'\n{script}\n", traces.display());
        std::fs::write(&plugin, script).unwrap();
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }
}

fn with_tls() -> Builder {
    EmbeddedServer::builder().tls(true).token("let-me-in")
}

#[test]
fn nothing_secret_goes_over_plain_http() {
    for user in [
        "    token: let-me-in\n    as: somebody",
        "    username: me\n    password: let-me-in\n    as: somebody",
        "    tokenFile: /nowhere\n    as: somebody",
    ] {
        let scene = Scene::new(EmbeddedServer::builder(), user);
        scene.run(&["api-resources"]).ok();
        scene.run(&["get", "--raw", "/version"]).ok();
        let log = scene.server.log();
        assert_eq!(log.len(), 3);
        assert!(log.iter().all(|entry| !entry.authorization), "{user}");
        assert!(
            log.iter()
                .all(|entry| entry.header("impersonate-user") == Some("somebody"))
        );
    }
    // Nor to another server than the context's.
    let scene = Scene::new(with_tls(), "    token: let-me-in");
    let other = EmbeddedServer::builder().start_in_thread().unwrap();
    scene.run(&["version", "-s", &other.url()]).ok();
    scene
        .run(&["version", "-s", &other.addr().to_string()])
        .ok();
    assert!(other.log().iter().all(|entry| !entry.authorization));
}

#[test]
fn a_credential_that_is_no_field_value_fails_in_kubectl_s_words() {
    for (user, name) in [
        ("    token: \"s3cr3t\\n\"", "Authorization"),
        ("    token: \"s3cr3t\\0\"", "Authorization"),
        (
            "    token: let-me-in\n    as: \"s3cr3t\\n\"",
            "Impersonate-User",
        ),
        (
            "    token: let-me-in\n    as: a\n    as-user-extra: {scope: [\"s3cr3t\\n\"]}",
            "Impersonate-Extra-Scope",
        ),
    ] {
        let scene = Scene::new(with_tls(), user);
        for command in [
            &["api-resources"][..],
            &["api-versions"],
            &["get", "--raw=/version"],
        ] {
            let run = scene.run(command);
            let message = format!("net/http: invalid header field value for {name:?}");
            assert!(run.failed().ends_with(&message), "{run:?}");
            assert!(!run.stderr.contains("s3cr3t"), "{run:?}");
        }
        assert_eq!(scene.server.counters().total, 0);
    }
}

#[test]
fn a_token_file_may_end_in_white_space() {
    let scene = Scene::new(with_tls(), "    tokenFile: token");
    std::fs::write(scene.home.path().join("token"), "let-me-in \r\n\n").unwrap();
    scene.run(&["version"]).ok();
    assert!(scene.server.log().iter().all(|entry| entry.authorization));
}

#[cfg(unix)]
#[test]
fn plugins_run_once_and_only_when_a_request_is_sent() {
    // YAML will do, too.
    let yaml =
        "printf 'apiVersion: client.authentication.k8s.io/v1\\nstatus:\\n  token: let-me-in\\n'";
    for script in [format!("echo '{CREDENTIAL}'"), yaml.to_owned()] {
        let scene = Scene::with_plugin(with_tls(), &script);
        scene.run(&["api-resources"]).ok();
        assert_eq!(scene.plugin_runs(), 1);
        assert!(scene.server.log().iter().all(|entry| entry.authorization));
        scene.run(&["api-resources", "--cached"]).ok();
        assert_eq!(scene.plugin_runs(), 0);
    }
    let plain = Scene::with_plugin(EmbeddedServer::builder(), &format!("echo '{CREDENTIAL}'"));
    plain.run(&["api-resources"]).ok();
    assert_eq!(plain.plugin_runs(), 0);
}

#[cfg(unix)]
#[test]
fn a_plugin_that_fails_is_reported_without_its_output() {
    let words = "getting credentials: ";
    let decoding = "decoding stdout: not an ExecCredential";
    let old = CREDENTIAL.replace("io/v1", "io/v1beta1");
    for (script, message) in [
        (
            "echo s3cr3t; echo said >&2; exit 3",
            "failed with exit code 3",
        ),
        ("echo s3cr3t", decoding),
        ("echo '{\"status\":{\"token\":\"s3cr3t\"'", decoding),
        (
            &format!("echo '{old}'"),
            "plugin returned version client.authentication.k8s.io/v1beta1",
        ),
    ] {
        let scene = Scene::with_plugin(with_tls(), script);
        for command in [&["api-resources"][..], &["api-versions"], &["version"]] {
            let run = scene.run(command);
            let line = run.failed();
            assert!(line.contains(words) && line.ends_with(message), "{run:?}");
            assert!(!run.stderr.contains("s3cr3t"), "{run:?}");
            assert_eq!(scene.plugin_runs(), 1, "{command:?}");
            // A plugin's own messages are for the user.
            assert_eq!(run.stderr.contains("said\n"), script.contains("said"));
        }
        assert_eq!(scene.server.counters().total, 0);
    }
    let script = format!(
        "printf %s '{}'",
        CREDENTIAL.replace("let-me-in", "s3cr3t\\n")
    );
    let run = Scene::with_plugin(with_tls(), &script).run(&["version"]);
    let message = "net/http: invalid header field value for \"Authorization\"";
    assert!(run.failed().ends_with(message), "{run:?}");
    assert!(!run.stderr.contains("s3cr3t"), "{run:?}");
    let scene = Scene::new(
        with_tls(),
        "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      \
         command: no-such-plugin\n      interactiveMode: Never\n      installHint: get it",
    );
    let run = scene.run(&["version"]);
    assert!(
        run.stderr
            .contains("exec: executable no-such-plugin not found"),
        "{run:?}"
    );
    assert!(run.failed().ends_with("get it"));
}

/// The user's preferences say which plugins may run, as kubectl's do since 1.35.
#[cfg(unix)]
#[test]
fn plugins_that_are_not_allowed_do_not_run() {
    let scene = Scene::with_plugin(with_tls(), &format!("echo '{CREDENTIAL}'"));
    let kuberc = scene.home.path().join("kuberc");
    let flag = format!("--kuberc={}", kuberc.display());
    let plugin = scene.home.path().join("plugin");
    let head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n";
    let allowlist = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:";
    for (preferences, message) in [
        (
            "credentialPluginPolicy: DenyAll".to_owned(),
            "policy set to \"DenyAll\"",
        ),
        (
            format!("{allowlist} [{{name: plugin}}, {{name: /elsewhere/plugin}}]"),
            "is not permitted by the credential plugin allowlist",
        ),
        (format!("{allowlist} []"), "but allowlist is empty"),
        (
            "credentialPluginPolicy: Odd".into(),
            "unknown plugin policy",
        ),
    ] {
        std::fs::write(&kuberc, format!("{head}{preferences}\n")).unwrap();
        let run = scene.run(&["api-versions", &flag]);
        assert!(run.failed().contains(message), "{run:?}");
        assert_eq!(scene.plugin_runs(), 0, "{preferences}");
    }
    assert_eq!(scene.server.counters().total, 0);
    let allowed = format!("{head}{allowlist} [{{name: {}}}]\n", plugin.display());
    std::fs::write(&kuberc, allowed).unwrap();
    scene.run(&["api-versions", &flag]).ok();
    assert_eq!(scene.plugin_runs(), 1);
    assert!(
        scene
            .run(&["api-versions", "--kuberc=/missing"])
            .failed()
            .contains("open /missing")
    );
}

/// Some clusters give their users certificates of X.509's first version. What a key can't be used for is told in one line.
#[test]
fn client_certificates_are_sent_as_they_are() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli");
    let of = |name: &str| {
        let user = format!(
            "    token: let-me-in\n    client-certificate: {dir}/{name}\n    client-key: {dir}/{name}"
        );
        Scene::new(with_tls(), &user).run(&["api-versions"])
    };
    of("client-v1.pem").ok();
    of("client-p521.pem").ok();
    let run = of("client-k256.pem");
    let message = "with an ECDSA key on P-256, P-384 or P-521, or with an Ed25519 key";
    assert!(run.failed().ends_with(message), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1);
}
